"""The task: a program, a metric, data and models, declared in one Python file."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.errors import TaskError, UsageError
from optimizers.task.hashing import metric_hash
from optimizers.task.program_file import project_folder, run_program

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model
    from optimizers.task.data.split import Dataset

Metric = Callable[..., float]
"""``metric(example, prediction, trace=None)`` -> a score in [0, 1]."""

MOST_NAME = 200
"""Characters of a task's name."""

DEFAULT_MODELS = ("local/smollm2-135m-instruct", "local/gemma-3-270m")


@dataclass(frozen=True)
class Task:
    """What to optimize, as a program file declares it.

    Args:
        program: The DSPy module, with the user's own instructions as its signatures' text.
        metric: ``metric(example, prediction, trace=None)`` returning a score in [0, 1].
        data: A path (CSV, TSV, JSON, JSONL, Parquet or a data card), ``hf://owner/name``, or a
            list of ``dspy.Example``; relative paths count from the project's folder.
        models: Model names, :func:`optimizers.model` declarations, or ``dspy.LM`` of models over HTTP.
        reference: Name of the model a smaller one must match; the largest one if left out.
        margin: Quality the user accepts to lose against the reference, in score units.
        group: Column that says which examples belong together, such as an author or a document:
            they stay in one split, and intervals allow for their likeness.
        min_coverage: Share of a candidate's rollouts that must get a score for it to be judged.
        proposer: A model that writes and rewrites instructions, declared like the others; it is not
            searched unless it is among the models too. Without one, instructions are composed.
        models_per_predictor: Whether candidates may serve each predictor with a model of its own.
        name: Name of the task; the program file's name if left out.
    """

    program: dspy.Module
    metric: Metric
    data: str | Path | Sequence[Any]
    models: Sequence[str | Model] = DEFAULT_MODELS
    reference: str | None = None
    margin: float = 0.02
    group: str | None = None
    min_coverage: float = 0.95
    proposer: str | Model | None = None
    models_per_predictor: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse one model where a list of them is meant: its letters are no models.

        Raises:
            TaskError: The models are one model.
            ModelError: A ``dspy.LM`` has what a model cannot carry.
        """
        import dspy

        if isinstance(self.models, (str, dspy.LM)) or hasattr(self.models, "price"):
            name = getattr(self.models, "name", getattr(self.models, "model", self.models))
            raise TaskError("The models are no list.", where="models", fix=f'give models=["{name}"]')
        object.__setattr__(self, "models", tuple(map(_of_lm, self.models or ())))
        object.__setattr__(self, "proposer", _of_lm(self.proposer))


@dataclass(frozen=True)
class LoadedTask:
    """A task with everything resolved: what the search works on.

    Attributes:
        name: The task's name.
        program: The user's module, never modified.
        metric: The user's metric.
        metric_name: What the metric is called in reports.
        models: Every model of the task, resolved and priced.
        reference: The model the others are measured against.
        margin: Non-inferiority margin, in score units.
        dataset: Train, dev and test.
        path: The program file; of a program handed over in code, ``FILE::CLASS``.
        program_hash: Hash of the program file's text; of a program handed over in code, of what decides
            how it behaves.
        metric_hash: Hash of the metric's source.
        min_coverage: Share of rollouts that must get a score for a measurement to count.
        proposer: Writes instructions; None to compose them only.
        models_per_predictor: Whether each predictor may have a model of its own.
    """

    name: str
    program: dspy.Module
    metric: Metric
    metric_name: str
    models: tuple[Model, ...]
    reference: Model
    margin: float
    dataset: Dataset
    path: str
    program_hash: str
    metric_hash: str = ""
    min_coverage: float = 0.95
    proposer: Model | None = None
    models_per_predictor: bool = False

    @property
    def served(self) -> tuple[Model, ...]:
        """Every model that may be called."""
        return self.models if self.proposer is None else tuple(dict.fromkeys([*self.models, self.proposer]))

    @property
    def fingerprint(self) -> str:
        """What must be equal for two studies to be of the same task: program, metric, data, prices."""
        parts = [self.program_hash, self.metric_name, self.metric_hash, self.dataset.fingerprint]
        parts += [f"{self.margin}", f"{self.min_coverage}"]
        parts += sorted(model.model_dump_json() for model in self.models)
        parts += [self.proposer.model_dump_json()] if self.proposer else []
        parts += ["models per predictor"] if self.models_per_predictor else []
        # The usual reference says nothing more: names of studies stay what they were.
        parts += [] if self.reference == _largest(self.models) else [f"reference {self.reference.name}"]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def load_task(
    path: Path,
    *,
    models: Sequence[Model] = (),
    proposer: Model | None = None,
    reference: str | None = None,
    margin: float | None = None,
) -> LoadedTask:
    """Load a program file and resolve everything it declares.

    Args:
        path: The program file.
        models: Models to use in place of the declared ones.
        proposer: A proposer to use in place of the declared one.
        reference: Name of the reference in place of the declared one, with or without what precedes
            its last slash: one of the models, or a declared model, which is then added to ``models``.
        margin: Margin in place of the declared one.

    Raises:
        TaskError: The file is missing, raises on import, or declares no usable task.
        DataError: The data does not fit the program.
        ModelError: A model is unknown.
        PriceError: A model has no known price.
        UsageError: The reference is none of the models.
    """
    path = path.absolute()
    task = _declared(run_program(path), path)
    if reference is not None:
        found = _named(reference, models or tuple(map(_model, task.models)), task)
        models = (*models, found) if models and found not in models else models
        task = replace(task, reference=found.name)
    task = replace(
        task,
        proposer=task.proposer if proposer is None else proposer,
        margin=task.margin if margin is None else margin,
    )
    return resolve(task, base=project_folder(path), source=path, models=models)


def _named(reference: str, models: Sequence[Model], task: Task) -> Model:
    """The model that ``--reference`` names: one of the study's models, else one that the task declares."""
    named = [model for model in models if reference == model.name]
    named = named or [model for model in models if reference == model.label]
    if not named:
        names = [entry.partition(",")[0] if isinstance(entry, str) else entry.name for entry in task.models]
        fits = [reference in (name, name.rpartition("/")[2]) for name in names]
        named = [_model(entry) for entry, fit in zip(task.models, fits, strict=True) if fit]
    if len(named) == 1:
        return named[0]
    raise UsageError(
        f"The reference {reference} is {'several' if named else 'none'} of the models.",
        where="--reference",
        fix=f"one of {', '.join(model.name for model in models)}; --model names others",
    )


def declared_task(path: Path) -> Task:
    """Run a program file and return the task it declares, its data and models not looked at.

    Raises:
        TaskError: The file is missing, raises on import, or declares no task.
    """
    return _declared(run_program(path), path)


def resolve(
    task: Task,
    *,
    base: Path,
    source: Path,
    models: Sequence[Model] = (),
    dataset: Dataset | None = None,
) -> LoadedTask:
    """Resolve a declared task: read its data, look its models up, split.

    Args:
        task: The declaration.
        base: Folder that relative data paths count from.
        source: The program file, for names and messages.
        models: Models to use in place of the declared ones.
        dataset: Data that is split already, in place of the declared one.
    """
    _check(task, source)
    name = task.name or source.stem
    if not name.isprintable() or len(name) > MOST_NAME:
        raise TaskError(
            f"The task's name has {len(name)} characters, or one that cannot be printed.",
            where=f"{source}: name",
            fix=f"give it a name of up to {MOST_NAME} letters, digits and signs",
        )
    resolved = tuple(models) or tuple(_model(entry) for entry in task.models)
    names = [model.name for model in resolved]
    if len(set(names)) < len(names):
        raise TaskError("A model is declared twice.", where=f"{source}: models", fix="name each model once")
    dataset = dataset or _dataset(task, base)
    return LoadedTask(
        name=name,
        program=task.program,
        metric=task.metric,
        metric_name=getattr(task.metric, "__name__", type(task.metric).__name__),
        models=resolved,
        reference=_reference(task, resolved, source, replaced=bool(models)),
        margin=task.margin,
        dataset=dataset,
        path=str(source),
        program_hash=hashlib.sha256(source.read_bytes()).hexdigest()[:16] if source.is_file() else "",
        metric_hash=metric_hash(task.metric),
        min_coverage=task.min_coverage,
        proposer=_proposer(task, source),
        models_per_predictor=task.models_per_predictor,
    )


def _dataset(task: Task, base: Path) -> Dataset:
    from optimizers.task.data.load import load_rows
    from optimizers.task.data.split import make_dataset
    from optimizers.task.data.validate import read_structures
    from optimizers.task.signature_fields import fields_of, structured_outputs, text_columns

    rows = load_rows(task.data, base=base, as_text=text_columns(task.program))
    inputs, outputs, labels = fields_of(task.program, rows.rows)
    return make_dataset(
        read_structures(rows, structured_outputs(task.program, outputs)),
        inputs=inputs,
        outputs=outputs,
        labels=labels,
        sizes=rows.split,
        group=task.group,
        margin=task.margin,
    )


def _declared(module: Any, path: Path) -> Task:
    import dspy

    task = getattr(module, "task", None)
    if isinstance(task, Task):
        return task
    plain = {name: getattr(module, name, None) for name in ("program", "metric", "trainset")}
    if (
        task is None
        and isinstance(plain["program"], dspy.Module)
        and callable(plain["metric"])
        and plain["trainset"]
    ):
        return Task(program=plain["program"], metric=plain["metric"], data=plain["trainset"])
    found = f"; `task` is a {type(task).__name__}" if task is not None else ""
    raise TaskError(
        f"The program file declares no task{found}.",
        where=str(path),
        fix="end it with `task = Task(program=..., metric=..., data=...)`, "
        "or define `program`, `metric` and `trainset`",
    )


def _check(task: Task, source: Path) -> None:
    import dspy

    where = f"{source}: task"
    if not isinstance(task.program, dspy.Module):
        kind = type(task.program).__name__
        raise TaskError(
            f"The task's program is a {kind}.", where=where, fix="give an instance of a dspy.Module"
        )
    if not task.program.named_predictors():
        raise TaskError(
            "The program has no predictor to optimize.", where=where, fix="use dspy.Predict inside it"
        )
    _check_texts(task.program, where)
    if not callable(task.metric):
        raise TaskError(
            "The task's metric cannot be called.", where=where, fix="give metric(example, pred, trace=None)"
        )
    try:
        inspect.signature(task.metric).bind(None, None)
    except TypeError as error:
        raise TaskError(
            f"The task's metric cannot be called with an example and a prediction: {error}.",
            where=where,
            fix="write it as metric(example, pred, trace=None)",
        ) from None
    except ValueError:
        pass  # what C code takes is not always known
    if not task.models:
        raise TaskError(
            "The task names no model.", where=where, fix="give models=[...]; `optimize models` lists some"
        )
    if not 0 <= task.margin < 1:
        raise TaskError(f"The margin {task.margin} is out of range.", where=where, fix="give 0 <= margin < 1")
    if not 0 < task.min_coverage <= 1:
        what = f"The least coverage {task.min_coverage} is out of range."
        raise TaskError(what, where=where, fix="give 0 < min_coverage <= 1")


def _check_texts(program: dspy.Module, where: str) -> None:
    """Refuse instructions that no prompt could be sent with, and no record keep."""
    for name, predictor in program.named_predictors():
        fields = predictor.signature.fields.values()
        told = [str((info.json_schema_extra or {}).get("desc", "")) for info in fields]
        try:
            "\n".join([name, predictor.signature.instructions, *told]).encode()
        except UnicodeEncodeError as error:
            raise TaskError(
                "An instruction or a field's description holds half a character (a lone surrogate).",
                where=f"{where}: {name}",
                fix="write the character whole, or leave it out",
            ) from error


def _of_lm(entry: Any) -> Any:
    """What a ``dspy.LM`` serves, as a model; anything else as it is."""
    import dspy

    from optimizers.models.from_lm import model_of

    return model_of(entry) if isinstance(entry, dspy.LM) else entry


def _model(entry: str | Model) -> Model:
    from optimizers.models.resolve import parse_model

    return parse_model(entry) if isinstance(entry, str) else entry


def _proposer(task: Task, source: Path) -> Model | None:
    if task.proposer is None:
        return None
    proposer = _model(task.proposer)
    if proposer.kind == "base":
        raise TaskError(
            f"The proposer {proposer.name} is a base model, which takes no request.",
            where=f"{source}: proposer",
            fix="name an instruct or a chat model",
        )
    return proposer


def _reference(task: Task, models: Sequence[Model], source: Path, *, replaced: bool) -> Model:
    if task.reference is None:
        return _largest(models)
    for model in models:
        if model.name == task.reference:
            return model
    if replaced:
        return _largest(models)
    names = ", ".join(model.name for model in models)
    raise TaskError(
        f"The reference {task.reference} is not among the models.",
        where=f"{source}: reference",
        fix=f"one of {names}",
    )


def _largest(models: Sequence[Model]) -> Model:
    """The biggest model; where sizes are unknown, the dearest one."""
    return max(models, key=lambda model: (model.price.output, model.size or 0.0))
