"""A compiled program as a self-contained MLflow model, checked before it is registered.

The model is code and JSON, no pickle: MLflow's ``dspy`` flavour would keep DSPy's settings as one, and
would lose what a technique adds. It holds

- ``artifacts/program``: the ``dspy`` export, the user's program file and the modules of its project that it
  imports, in the same folders;
- ``code/optimizers``: this package as it measured, so that serving needs no package index with this version;
- ``mlflow_served.py``, which MLflow runs, and ``requirements.txt``: what those import, at the versions here.

Weights are not included. An embedded model finds or downloads them where it is served; weights at a path
must be there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.errors import ExportError
from optimizers.export.behaviour import behaviour
from optimizers.export.point import Exported, samples
from optimizers.export.program_sources import pinned_requirements, sources_of
from optimizers.export.targets.dspy_program import write_dspy
from optimizers.prompting.renderings.fields import closed_values, without_none
from optimizers.records.json_values import json_value
from optimizers.task.program_file import find_program
from optimizers.task.signature_fields import fields_of

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

SERVED = Path(__file__).with_name("mlflow_served.py")
SECONDS = 300
"""Most time that another process may take to load the model."""

MARK = "# Imports start at this folder.\n"

_LOAD = """
import json, sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1]).unwrap_python_model()
from optimizers.export.behaviour import behaviour
with open(sys.argv[2], encoding="utf-8") as file:
    asked = json.load(file)
found = behaviour(model.program.program, model.program._adapter, asked)
with open(sys.argv[3], "w", encoding="utf-8") as file:
    json.dump(found, file)
"""


def save_model(exported: Exported, folder: Path) -> Path:
    """Write the model's folder, and check in another process that it alone behaves as measured.

    Args:
        exported: What to write.
        folder: An empty folder to work in.

    Returns:
        The model's folder, inside it.

    Raises:
        ExportError: The model does not load from its own files, or would send or read otherwise.
        TaskError: The program file is gone.
    """
    import mlflow

    assert exported.folder is not None
    program = find_program(exported.manifest.program, exported.folder.path).resolve()
    project = program.parents[len(Path(exported.manifest.program).parts) - 1]
    sources, bundle, model = sources_of(program, project), folder / "program", folder / "model"
    bundle.mkdir()
    write_dspy(exported, bundle)
    (bundle / "pyproject.toml").write_text(MARK, encoding="utf-8")
    for file in sources.files:
        copied = bundle / file.relative_to(project)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
    outputs = answers_of(exported)
    mlflow.pyfunc.save_model(
        str(model),
        python_model=str(SERVED),
        artifacts={"program": str(bundle)},
        code_paths=[str(Path(__file__).parents[1])],
        model_config={"outputs": list(outputs)},
        signature=_signature(exported, outputs),
        input_example=[example_of(exported)],
        pip_requirements=pinned_requirements(sources.packages),
    )
    _verify(exported, model, folder)
    return model


def example_of(exported: Exported) -> dict[str, Any]:
    """Inputs of the first train example, as JSON values."""
    return {name: json_value(value) for name, value in exported.task.dataset.train[0].inputs().items()}


def answers_of(exported: Exported) -> dict[str, Any]:
    """The program's outputs, each with its type."""
    _, names, _ = fields_of(exported.task.program, exported.task.dataset.train)
    types = {
        name: info.annotation
        for _, predictor in exported.task.program.named_predictors()
        for name, info in predictor.signature.output_fields.items()
    }
    return {name: types.get(name, Any) for name in names}


def _signature(exported: Exported, outputs: dict[str, Any]) -> ModelSignature:
    """Input types by the data: MLflow would convert a value of another type to the column's."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema

    plain = {str: DataType.string, bool: DataType.boolean, int: DataType.long}
    any_type = AnyType()  # type: ignore[no-untyped-call]

    def asked(name: str) -> ColSpec:
        kinds = {type(example.get(name)) for example in exported.task.dataset.train}
        kind = plain.get(next(iter(kinds)), any_type) if len(kinds) == 1 else any_type
        return ColSpec(kind, name, required=type(None) not in kinds)

    def answered(name: str, annotation: Any) -> ColSpec:
        inner, _ = without_none(annotation)
        literal = closed_values(inner) is not None and inner is not bool
        kind = DataType.string if literal else (plain | {float: DataType.double}).get(inner, any_type)
        return ColSpec(kind, name, required=False)

    return ModelSignature(
        inputs=Schema([asked(name) for name in example_of(exported)]),
        outputs=Schema([answered(*output) for output in outputs.items()]),
    )


def _verify(exported: Exported, model: Path, folder: Path) -> None:
    compiled = exported.compiled
    asked = {
        name: [json_value(inputs) for inputs in samples(exported, predictor.signature)]
        for name, predictor in compiled.module.named_predictors()
    }
    questions, answers = folder / "asked.json", folder / "found.json"
    questions.write_text(json.dumps(asked), encoding="utf-8")
    # Nothing of the project may be found but what is in the model.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOAD, str(model), str(questions), str(answers)],
        cwd=folder,
        env=environment | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ExportError(
            f"The model does not load from its own files: {done.stderr.strip()[-400:]}",
            where=exported.manifest.program,
            fix="modules of the project that the program imports travel with it; files that it reads do not",
        )
    found = json.loads(answers.read_text(encoding="utf-8"))
    measured = json.loads(json.dumps(behaviour(compiled.module, compiled.adapter(), asked)))
    for name, wanted in measured.items():
        for what, value in wanted.items():
            if found[name][what] != value:
                raise ExportError(
                    f"The loaded model would not have the {what} that were measured.",
                    where=f"{name}: {str(found[name][what])[:200]}",
                )
