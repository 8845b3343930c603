"""What a study is about when it begins, and whether it may go on when it is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from optimizers.errors import StudyError
from optimizers.models.llama import with_real_size
from optimizers.models.model import Model
from optimizers.records.budget import Budget, Use
from optimizers.records.folder import StudyFolder, plain_name
from optimizers.records.rows import Objective, SplitSizes, StudyManifest
from optimizers.task.program_file import relative_program

if TYPE_CHECKING:
    from optimizers.task.task import LoadedTask

UNCOMPARED = frozenset({"replicas", "rpm", "tpm", "quantization", "weights"})
"""What may change of a model while a study runs: its servers and how fast they are asked; and what follows
from its name, and was not always on record."""

VERSIONED = ("prompt-parity", "dspy", "optuna", "litellm", "mlflow", "xllamacpp")


def manifest_of(
    task: LoadedTask,
    name: str,
    seed: int,
    budget: Budget,
    objectives: Sequence[Objective],
    started_from: str | None = None,
    workers: int = 1,
    robustness: bool = False,
) -> StudyManifest:
    """The manifest of a study of this task that starts now."""
    dataset = task.dataset
    return StudyManifest(
        name=name,
        task=task.name,
        program=relative_program(task.path),
        fingerprint=task.fingerprint,
        program_hash=task.program_hash,
        data_hash=dataset.fingerprint,
        metric=task.metric_name,
        metric_hash=task.metric_hash,
        budget=budget,
        objectives=tuple(objectives),
        min_coverage=task.min_coverage,
        models=tuple(map(with_real_size, task.models)),
        reference=task.reference.name,
        margin=task.margin,
        seed=seed,
        sizes=SplitSizes(train=len(dataset.train), dev=len(dataset.dev), test=len(dataset.test)),
        duplicates=dataset.duplicates,
        near_duplicates=dataset.near_duplicates,
        leaks_removed=dataset.leaks_removed,
        notes=dataset.notes,
        started_from=started_from,
        proposer=task.proposer,
        workers=workers,
        robustness=robustness or "robustness" in objectives,
        versions={package: version(package) for package in VERSIONED},
        created=datetime.now(UTC),
    )


def default_name(task: LoadedTask, seed: int, started_from: str | None = None) -> str:
    """The name of a study that is given none: the same for the same task, seed and beginning."""
    name = f"{plain_name(task.name)}-{task.fingerprint[:6]}" + (f"-seed{seed}" if seed else "")
    return f"{name}-from-{started_from.rsplit('-', 1)[-1]}" if started_from else name


def open_folder(
    task: LoadedTask,
    runs: Path,
    name: str,
    seed: int,
    budget: Budget,
    objectives: Sequence[Objective] = ("quality", "cost"),
    started_from: str | None = None,
    workers: int | None = None,
    robustness: bool = False,
) -> StudyFolder:
    """The study's folder: a new one, or the one to continue, with the budget it has from now on.

    A finished study may yet be asked what its frontier stands.

    Raises:
        StudyError: The name belongs to another task, or to this one before it changed; the study
            is finished and the budget asks for more; or the study to start from is not finished.
    """
    folder = StudyFolder.at(runs, name)
    if not folder.manifest.exists():
        if started_from is not None:
            StudyFolder.load(runs, started_from).read_report()
        return StudyFolder.create(
            runs,
            manifest_of(task, name, seed, budget, objectives, started_from, workers or 1, robustness),
        )
    known = folder.read_manifest()
    changes = differences(known, task, seed, objectives)
    if started_from not in (None, known.started_from):
        changes.append(f"the study it begins with ({known.started_from or 'none'} then, {started_from} now)")
    if changes:
        raise StudyError(
            f"The study {name} cannot go on, because this changed: {'; '.join(changes)}.",
            where=str(folder.path),
            fix="give another name with --study to start anew, or restore what changed",
        )
    update: dict[str, object] = {"robustness": robustness or known.robustness}
    if folder.report.exists():
        _check_finished(folder, budget)
    else:
        update |= {"budget": budget, "workers": workers or known.workers}
    changed = known.model_copy(update=update)
    if changed != known:
        folder.write_manifest(changed)
    return folder


def _check_finished(folder: StudyFolder, budget: Budget) -> None:
    """Refuse a budget under which a finished study would search on."""
    report = folder.read_report()
    spent = Use(**report.spend.total.model_dump()) if report.spend else Use()
    trials_left = budget.trials is None or report.trials < budget.trials
    if str(budget) == report.budget or not trials_left or spent.share_of(budget) >= 1:
        return
    name = folder.path.name
    raise StudyError(
        f"The study {name} is finished, with a budget of {report.budget}: its sealed test was opened after "
        f"{report.trials} trials, and searching on would select with it in sight.",
        where=str(folder.path),
        fix="start a new study with another --study name, which may begin with this one's prompts: "
        f"--from {name}; or see what was found: optimize frontier {name}",
    )


def differences(
    known: StudyManifest, task: LoadedTask, seed: int, objectives: Sequence[Objective]
) -> list[str]:
    """What keeps a study from going on: each thing that changed since it began, then and now."""
    pairs: dict[str, tuple[object, object]] = {
        "the task": (known.task, task.name),
        "the program file": (known.program_hash, task.program_hash),
        "the data": (known.data_hash, task.dataset.fingerprint),
        "the metric's name": (known.metric, task.metric_name),
        "the metric's source": (known.metric_hash, task.metric_hash),
        "the reference": (known.reference, task.reference.name),
        "the margin": (known.margin, task.margin),
        "the least coverage": (known.min_coverage, task.min_coverage),
        "the proposer": (_name(known.proposer), _name(task.proposer)),
        "the seed": (known.seed, seed),
        "the objectives": (",".join(known.objectives), ",".join(objectives)),
    }
    then, now = ({model.name: model for model in models} for models in (known.models, task.models))
    for name in sorted(then.keys() | now.keys()):
        if name not in then or name not in now:
            pairs[f"the model {name}"] = ("there", "absent") if name in then else ("absent", "there")
            continue
        for part in (one for one in type(then[name]).model_fields if one not in UNCOMPARED):
            pairs[f"the {part} of {name}"] = (_plain(then[name], part), _plain(now[name], part))
    return [f"{what} ({old} then, {new} now)" for what, (old, new) in pairs.items() if old != new]


def _name(model: Model | None) -> str | None:
    return model.name if model is not None else None


def _plain(model: Model, part: str) -> object:
    value = getattr(model, part)
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "nothing"
    return f"{value.input:g}/{value.output:g} USD per million tokens" if part == "price" else value
