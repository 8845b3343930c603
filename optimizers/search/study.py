"""A study from its first trial to its report: search, settle, freeze, test, record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from optimizers.errors import StudyError
from optimizers.evaluation.measure import Measurer
from optimizers.frontier.build import build_report
from optimizers.frontier.chart import ChartPoint
from optimizers.frontier.plot import draw_frontier
from optimizers.frontier.report import FrontierReport
from optimizers.frontier.statistics import estimate
from optimizers.models.llama import llama_engine
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.rows import SplitSizes, StudyManifest
from optimizers.search.board import Board, Standing
from optimizers.search.confirm import Frozen, freeze, run_test
from optimizers.search.loop import Search, enqueue_starts, finished, open_study
from optimizers.search.progress import Phase, Progress, Watcher
from optimizers.search.racing import blocks
from optimizers.space import search_space
from optimizers.task import relative_program
from optimizers.tracking.mlflow_log import StudyRun

if TYPE_CHECKING:
    import optuna

    from optimizers.frontier.report import Role
    from optimizers.records.rows import Rollout
    from optimizers.space import SearchSpace
    from optimizers.task import LoadedTask

REFRESH = 0.5
"""Seconds between two looks at a running study."""

VERSIONED = ("prompt-parity", "dspy", "optuna", "litellm", "mlflow", "xllamacpp")


def manifest_of(task: LoadedTask, name: str, seed: int) -> StudyManifest:
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
        models=task.models,
        reference=task.reference.name,
        margin=task.margin,
        seed=seed,
        sizes=SplitSizes(train=len(dataset.train), dev=len(dataset.dev), test=len(dataset.test)),
        duplicates=dataset.duplicates,
        notes=dataset.notes,
        versions={package: version(package) for package in VERSIONED},
        created=datetime.now(UTC),
    )


def open_folder(task: LoadedTask, runs: Path, name: str, seed: int) -> StudyFolder:
    """The study's folder: a new one, or the one to continue.

    Raises:
        StudyError: The name belongs to another task, or to this one before it changed.
    """
    folder = StudyFolder.at(runs, name)
    if not folder.manifest.exists():
        return StudyFolder.create(runs, manifest_of(task, name, seed))
    known = folder.read_manifest()
    if known.fingerprint == task.fingerprint:
        return folder
    raise StudyError(
        f"The study {name} was made for something else: {_difference(known, task)}.",
        where=str(folder.path),
        fix="give another name with --study, or restore what changed",
    )


def _difference(known: StudyManifest, task: LoadedTask) -> str:
    now = {
        "the task": task.name,
        "the program file": task.program_hash,
        "the data": task.dataset.fingerprint,
        "the metric": task.metric_name,
        "the models or their prices": task.models,
        "the margin": task.margin,
    }
    then = {
        "the task": known.task,
        "the program file": known.program_hash,
        "the data": known.data_hash,
        "the metric": known.metric,
        "the models or their prices": known.models,
        "the margin": known.margin,
    }
    changed = [what for what in now if now[what] != then[what]]
    return ", ".join(changed) + " differ" + ("s" if len(changed) == 1 else "")


def run_study(task: LoadedTask, folder: StudyFolder, *, trials: int, watch: Watcher) -> FrontierReport:
    """Run a study, or what is left of it, and write its report.

    Args:
        task: What to optimize.
        folder: The study's folder, from :func:`open_folder`.
        trials: Trials in all, those of earlier runs included. A hard limit.
        watch: Told about every step.

    Returns:
        The report, also written to the folder and to MLflow.

    Raises:
        StudyError: The sealed test is open already and more trials are asked for.
    """
    manifest = folder.read_manifest()
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(folder.ledger))
        study = open_study(folder.optuna, manifest.name, manifest.seed)
        opening = ledger.test_opening()
        if opening is not None and folder.report.exists():
            if finished(study) >= trials:
                return folder.read_report()
            raise StudyError(
                f"The sealed test of {manifest.name} was opened after {finished(study)} trials; "
                "searching on would select with it in sight.",
                where=str(folder.path),
                fix="start a new study: give another --study name",
            )
        run = stack.enter_context(StudyRun.open(manifest, folder))
        return _Session(task, manifest, folder, ledger, study, run, trials, watch).run()


@dataclass
class _Session:
    """One process's work on a study, and what it shows of it."""

    task: LoadedTask
    manifest: StudyManifest
    folder: StudyFolder
    ledger: Ledger
    study: optuna.Study
    tracking: StudyRun
    trials: int
    watch: Watcher
    measurer: Measurer = field(init=False)
    board: Board = field(default_factory=Board)
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    _phase: Phase = "prepare"
    _share: float = 0.0
    _last: float = 0.0

    def run(self) -> FrontierReport:
        self.done = finished(self.study)
        self.measurer = Measurer(self.task, self.ledger, on_rollout=lambda rollout: self.tick())
        self.show("prepare", 0.0)
        space = search_space(self.task)
        for model in self.task.models:
            if model.engine == "llama":
                llama_engine(model).warm_up()
        self.restore()
        opening = self.ledger.test_opening()
        if opening is None:
            self.search(space)
            frozen = freeze(self.board, space, self.task)
            for candidate in frozen.candidates.values():
                self.ledger.add_candidate(candidate)
            self.ledger.open_test(frozen.roles)
        else:
            known = self.ledger.candidates()
            frozen = Frozen({identity: known[identity] for identity in opening.roles}, opening.roles)
        self.show("test", 0.0)
        run_test(
            frozen, self.task.dataset.test, self.measurer, on_share=lambda share: self.show("test", share)
        )
        return self.finish(frozen)

    def restore(self) -> None:
        """Take up what earlier runs of this study measured."""
        for candidate in self.ledger.candidates().values():
            self.board.enter(candidate)
        self.board.add(rollout for rollout in self.ledger.rollouts(split="dev") if rollout.number == 0)
        for trial in self.study.get_trials(deepcopy=False):
            standing = self.board.standings.get(trial.user_attrs.get("candidate", ""))
            if standing is not None and trial.user_attrs.get("eliminated"):
                standing.eliminated = True

    def search(self, space: SearchSpace) -> None:
        """Run the trials that are left, then measure the leaders until they are settled."""
        enqueue_starts(self.study, space, self.manifest.seed)
        outputs = _closed_outputs(space)
        dev = blocks(self.task.dataset.dev, outputs, self.manifest.seed)
        search = Search(self.study, space, self.board, self.measurer, dev)
        while self.done < self.trials:
            self.show("search", self.done / self.trials)
            before, start = self.measurer.spend.rollouts, time.monotonic()
            trial, standing = search.trial()
            self.done += 1
            self.log(trial, standing, self.measurer.spend.rollouts - before, time.monotonic() - start)
        share = 0.0
        while share < 1.0:
            self.show("settle", share)
            share = search.settle()

    def log(self, trial: optuna.Trial, standing: Standing, rollouts: int, seconds: float) -> None:
        """Record a finished trial where people look."""
        self.tracking.trial(
            trial.number,
            standing.candidate,
            estimate(list(standing.scores.values()), failures=standing.n - len(standing.scores)),
            cost=standing.cost,
            rollouts=rollouts,
            seconds=seconds,
            eliminated=standing.eliminated,
        )

    def finish(self, frozen: Frozen) -> FrontierReport:
        """Build the report from the ledger alone, write it, draw it, and hand it to MLflow."""
        rollouts = self.ledger.rollouts()
        report = build_report(
            self.manifest,
            self.ledger.candidates(),
            rollouts,
            roles=_with_searched(frozen.roles, rollouts),
            trials=self.done,
            seconds=time.monotonic() - self.began,
        )
        self.folder.write_report(report)
        draw_frontier(report, self.folder.picture)
        self.tracking.finish(report, self.folder.picture, self.folder.report)
        self.show("done", 1.0)
        return report

    def tick(self) -> None:
        """Show the state again after a rollout, but no oftener than an eye can follow."""
        if time.monotonic() - self._last >= REFRESH:
            self.show(self._phase, self._share)

    def show(self, phase: Phase, share: float) -> None:
        """Tell the watcher where the study stands."""
        self._phase, self._share, self._last = phase, share, time.monotonic()
        spend = self.measurer.spend
        leaders = {standing.candidate.id for standing in self.board.frontier()}
        points = [
            ChartPoint(s.candidate.model, self.board.quality(s), s.cost, s.candidate.id in leaders)
            for s in self.board.measured()
        ]
        self.watch(
            Progress(
                phase=phase,
                trials=self.done,
                budget=self.trials,
                rollouts=spend.rollouts,
                calls=spend.calls,
                tokens=spend.tokens,
                spend=spend.dollars,
                seconds=time.monotonic() - self.began,
                share=share,
                points=tuple(points),
            )
        )


def _closed_outputs(space: SearchSpace) -> Sequence[str]:
    from optimizers.renderings.fields import closed_values

    fields = list(space.predictors.values())[-1].signature.output_fields
    return [name for name, info in fields.items() if closed_values(info.annotation) is not None]


def _with_searched(
    roles: dict[str, tuple[Role, ...]], rollouts: Sequence[Rollout]
) -> dict[str, tuple[Role, ...]]:
    measured = dict.fromkeys(rollout.candidate for rollout in rollouts)
    return {identity: roles.get(identity, ("searched",)) for identity in measured}
