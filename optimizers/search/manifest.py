"""What a study is about when it begins, and whether it may go on when it is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from optimizers.errors import StudyError
from optimizers.models.llama import with_real_size
from optimizers.records.budget import Budget, Use
from optimizers.records.fingerprint import changes, study_fingerprint
from optimizers.records.folder import StudyFolder, plain_name
from optimizers.records.rows import Objective, SplitSizes, StudyManifest
from optimizers.task.hashing import task_fingerprint
from optimizers.task.program_file import relative_program

if TYPE_CHECKING:
    from optimizers.task.task import LoadedTask

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

    A finished study can still be given the robustness phase.

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
    now = task_fingerprint(task, seed, objectives)
    changed_parts = [str(one) for one in changes(study_fingerprint(known), now)]
    if started_from not in (None, known.started_from):
        changed_parts.append(
            f"the study it begins with ({known.started_from or 'none'} then, {started_from} now)"
        )
    if changed_parts:
        raise StudyError(
            f"The study {name} cannot go on, because this changed: {'; '.join(changed_parts)}.",
            where=str(folder.path),
            fix="give another name with --study to start anew, or restore what changed",
        )
    update: dict[str, object] = {"robustness": robustness or known.robustness}
    if folder.report.exists():
        _check_finished(folder, known.budget, budget)
    else:
        update |= {"budget": budget, "workers": workers or known.workers}
    changed = known.model_copy(update=update)
    if changed != known:
        folder.write_manifest(changed)
    return folder


def _check_finished(folder: StudyFolder, known: Budget, budget: Budget) -> None:
    """Refuse a budget under which a finished study would search on."""
    report = folder.read_report()
    spent = Use(**report.spend.total.model_dump()) if report.spend else Use()
    trials_left = budget.trials is None or report.trials < budget.trials
    if budget == known or not trials_left or spent.share_of(budget) >= 1:
        return
    name = folder.path.name
    raise StudyError(
        f"The study {name} is finished, with a budget of {report.budget}: its sealed test was opened after "
        f"{report.trials} trials, and searching on would select with it in sight.",
        where=str(folder.path),
        fix="start a new study with another --study name, which may begin with this one's prompts: "
        f"--from {name}; or see what was found: optimize frontier {name}",
    )
