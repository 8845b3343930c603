"""Export to DSPy: the program's own JSON, and a manifest of what that JSON leaves out.

DSPy's ``save`` keeps signatures, demos and the language model. It leaves out the adapter, and the fields
and further calls of a technique. The manifest names those, and :func:`load_program` restores all of it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dspy
from pydantic import BaseModel, ConfigDict

from optimizers.errors import ExportError, UserError
from optimizers.export.point import Exported, samples
from optimizers.models.lm import language_model
from optimizers.models.model import Model
from optimizers.prompting.compile import messages_of, running, serve_apart, set_choices
from optimizers.prompting.renderings import rendering
from optimizers.records.candidate import Candidate
from optimizers.task.program_file import find_program
from optimizers.task.task import declared_task

PROGRAM, MANIFEST = "program.json", "manifest.json"


class ExportManifest(BaseModel):
    """What a saved DSPy program needs in addition to its JSON to behave as measured.

    Attributes:
        study: The study it comes from.
        program: The program file, from the project's folder.
        candidate: The candidate, in full.
        model: Its model and price.
        others: Further models that serve some of its predictors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    study: str
    program: str
    candidate: Candidate
    model: Model
    others: tuple[Model, ...] = ()


class ExportedProgram(dspy.Module):  # type: ignore[misc]
    """A loaded export: an ordinary DSPy module that brings its own adapter.

    Args:
        program: The user's module with prompts, demos and language model restored.
        adapter: The rendering it was measured with.
    """

    def __init__(self, program: dspy.Module, adapter: dspy.Adapter) -> None:
        super().__init__()
        self.program = program
        self._adapter = adapter

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """Run the program under its rendering."""
        with running(self.program, self._adapter):
            return self.program(*args, **inputs)

    async def aforward(self, *args: Any, **inputs: Any) -> Any:
        """As a call, with ``await``: the program runs on a thread of its own, as when it was measured."""
        return await asyncio.to_thread(type(self).forward, self, *args, **inputs)


def write_dspy(exported: Exported, folder: Path) -> list[Path]:
    """Write ``program.json`` and ``manifest.json``, and check that loading them restores the program.

    Raises:
        ExportError: The loaded program would send other messages than the measured one.
    """
    program, manifest = folder / PROGRAM, folder / MANIFEST
    candidate = exported.point.candidate
    content = ExportManifest(
        study=exported.manifest.name,
        program=exported.manifest.program,
        candidate=candidate,
        model=exported.model,
        others=tuple(model for model in exported.manifest.models if model.name in candidate.models[1:]),
    )
    exported.compiled.module.save(str(program))
    manifest.write_text(content.model_dump_json(indent=2), encoding="utf-8")
    try:
        _verify(exported, load_program(folder, exported.task.program.deepcopy()))
    except ExportError:
        program.unlink()
        manifest.unlink()
        raise
    return [program, manifest]


def load_program(folder: str | Path, program: dspy.Module | None = None) -> ExportedProgram:
    """Load an export into a module that is ready to call.

    Args:
        folder: The export's folder.
        program: A fresh instance of the user's module; read from the program file if left out.

    Raises:
        UserError: The folder holds no export.
    """
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        raise UserError(
            "There is no export here.",
            where=str(place),
            fix="write one with `optimize export STUDY --to dspy`",
        )
    manifest = ExportManifest.model_validate_json((place / MANIFEST).read_text(encoding="utf-8"))
    if program is None:
        file = find_program(manifest.program, place)
        program = declared_task(file).program.deepcopy()
    models = {model.name: model for model in (manifest.model, *manifest.others)}
    for name, predictor in program.named_predictors():
        set_choices(predictor, manifest.candidate, name, models[manifest.candidate.serving(name).model])
    program.load(str(place / PROGRAM), allow_unsafe_lm_state=True)
    for name, predictor in program.named_predictors():
        serving = manifest.candidate.serving(name)
        # The process's own engine, not a second copy of the weights per saved predictor.
        predictor.lm = language_model(models[serving.model], serving.sampling, measured=False)
    serve_apart(program)
    return ExportedProgram(program, rendering(manifest.candidate.rendering))


def _verify(exported: Exported, loaded: ExportedProgram) -> None:
    adapter = exported.compiled.adapter()
    again = dict(loaded.program.named_predictors())
    for name, predictor in exported.compiled.module.named_predictors():
        restored = again[name]
        for inputs in samples(exported, predictor.signature):
            if messages_of(predictor, inputs, adapter) != messages_of(restored, inputs, loaded._adapter):
                raise ExportError(
                    "The loaded program would send other messages than the measured one.",
                    where=f"{name}: {inputs}",
                )
        if getattr(restored, "technique", None) is not getattr(predictor, "technique", None):
            raise ExportError("The loaded program would not make the calls of its technique.", where=name)
        if restored.lm.kwargs != predictor.lm.kwargs:
            raise ExportError(
                "The loaded program would sample differently from the measured one.", where=name
            )
