"""A study from its first trial to its report: search, settle, freeze, test, record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from optimizers.budget import Budget, Use
from optimizers.data import json_value
from optimizers.errors import BudgetError, BudgetSpent, StudyError
from optimizers.evaluation.account import Account
from optimizers.evaluation.measure import Measurer
from optimizers.frontier.chart import ChartPoint
from optimizers.frontier.plot import draw_frontier
from optimizers.frontier.report import FrontierReport
from optimizers.frontier.statistics import estimate
from optimizers.models.llama import llama_engine
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.rows import ExampleRow, Phase, Split, StudyManifest
from optimizers.records.summary import report_of
from optimizers.search.board import Board, Standing
from optimizers.search.confirm import SHORT_TEST_BLOCK, TEST_BLOCK, Frozen, freeze, repeat_sampled, run_test
from optimizers.search.estimate import held_back, predict
from optimizers.search.loop import Search, finished, open_study
from optimizers.search.progress import Progress, Watcher
from optimizers.search.racing import blocks
from optimizers.space import search_space
from optimizers.splits import example_id
from optimizers.task import fields_of
from optimizers.tracking.mlflow_log import StudyRun

if TYPE_CHECKING:
    import dspy
    import optuna

    from optimizers.space import SearchSpace
    from optimizers.task import LoadedTask

REFRESH = 0.5
"""Seconds between two looks at a running study."""


def run_study(task: LoadedTask, folder: StudyFolder, *, watch: Watcher) -> FrontierReport:
    """Run a study, or what is left of it, and write its report.

    Args:
        task: What to optimize.
        folder: The study's folder, from :func:`open_folder`; its manifest holds the budget.
        watch: Told about every step.

    Returns:
        The report, also written to the folder and to MLflow.

    Raises:
        StudyError: Another process runs the study; or its sealed test is open already and the
            budget asks for more trials.
        BudgetError: The budget ends before anything is measured.
    """
    manifest = folder.read_manifest()
    with ExitStack() as stack:
        stack.enter_context(folder.lock())
        ledger = stack.enter_context(Ledger.open(folder.ledger))
        study = open_study(folder.optuna, manifest.name, manifest.objectives)
        done = len(finished(study))
        if ledger.test_opening() is not None and folder.report.exists():
            if done >= (manifest.budget.trials or 0):
                return folder.read_report()
            raise StudyError(
                f"The sealed test of {manifest.name} was opened after {done} trials; "
                "searching on would select with it in sight.",
                where=str(folder.path),
                fix="start a new study: give another --study name",
            )
        run = stack.enter_context(StudyRun.open(manifest, folder))
        return _Session(task, manifest, folder, ledger, study, run, watch).run()


@dataclass
class _Session:
    """One process's work on a study, and what it shows of it."""

    task: LoadedTask
    manifest: StudyManifest
    folder: StudyFolder
    ledger: Ledger
    study: optuna.Study
    tracking: StudyRun
    watch: Watcher
    account: Account = field(init=False)
    measurer: Measurer = field(init=False)
    board: Board = field(init=False)
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    _phase: Phase = "prepare"
    _share: float = 0.0
    _last: float = 0.0

    def __post_init__(self) -> None:
        self.account = Account(self.ledger, self.manifest.budget)
        self.measurer = Measurer(self.task, self.ledger, self.account, on_rollout=lambda rollout: self.tick())
        self.board = Board(self.manifest.objectives, self.manifest.min_coverage)

    def run(self) -> FrontierReport:
        self.show("prepare", 0.0)
        space = search_space(self.task)
        self.ledger.add_examples(example_rows(self.task))
        prediction = predict(self.task, space, self.manifest.budget)
        self.folder.write_prediction(prediction)
        for model in self.task.models:
            if model.engine == "llama":
                llama_engine(model).warm_up()
        search = self.restored(space)
        opening = self.ledger.test_opening()
        if opening is None:
            self.account.held_back = held_back(prediction, self.manifest.budget)
            self.search(search)
            frozen = self.freeze(space)
        else:
            known = self.ledger.candidates()
            frozen = Frozen({identity: known[identity] for identity in opening.roles}, opening.roles)
        self.test(frozen)
        return self.finish(frozen)

    def restored(self, space: SearchSpace) -> Search:
        """The search as earlier processes left it: their finished trials, gone through again."""
        dev = blocks(self.task.dataset.dev, _closed_outputs(space), self.manifest.seed)
        search = Search(self.study, space, self.board, self.measurer, dev, self.manifest.seed)
        known = self.ledger.candidates()
        for trial in finished(self.study):
            standing = search.replay(known[trial.user_attrs["candidate"]])
            self.done += 1
            if trial.number not in self.tracking.known:
                self.log(trial.number, standing, trial.user_attrs["rollouts"], trial.duration)
        return search

    def search(self, search: Search) -> None:
        """Run the trials that the budget holds, then measure the leaders until they are settled."""
        try:
            while self.manifest.budget.trials is None or self.done < self.manifest.budget.trials:
                self.show("search", self.progress())
                before, start = self.measurer.fresh, time.monotonic()
                trial, standing = search.trial(self.done)
                self.done += 1
                spent = timedelta(seconds=time.monotonic() - start)
                self.log(trial.number, standing, self.measurer.fresh - before, spent)
            share = 0.0
            while share < 1.0:
                self.show("settle", share)
                share = search.settle()
        except BudgetSpent:
            if not self.board.measured():
                raise BudgetError(
                    f"The budget of {self.manifest.budget} ends before one candidate is measured.",
                    where="--budget",
                    fix="see what a study needs: optimize estimate PROGRAM --budget ...",
                ) from None

    def progress(self) -> float:
        """Share of the search that is done, by its scarcest unit."""
        budget = self.manifest.budget
        trials = self.done / budget.trials if budget.trials else 0.0
        return max(trials, (self.account.used + self.account.held_back).share_of(budget))

    def freeze(self, space: SearchSpace) -> Frozen:
        """Decide what is tested and record that the test set is opened for it."""
        frozen = freeze(self.board, space, self.task)
        for candidate in frozen.candidates.values():
            self.ledger.add_candidate(candidate)
        self.ledger.open_test(frozen.roles)
        return frozen

    def test(self, frozen: Frozen) -> None:
        """Measure what was frozen on the sealed test set, as far as the budget goes."""
        self.account.held_back = Use()
        self.show("test", 0.0)
        # Points are measured in turns on the same examples: what fits the budget is paired.
        with suppress(BudgetSpent):
            examples, budget = self.task.dataset.test, self.manifest.budget
            run_test(
                frozen,
                examples,
                self.measurer,
                block=TEST_BLOCK if budget == Budget(trials=budget.trials) else SHORT_TEST_BLOCK,
                on_share=lambda share: self.show("test", share),
            )
            repeat_sampled(frozen, examples, self.measurer)

    def log(self, number: int, standing: Standing, rollouts: int, spent: timedelta | None) -> None:
        """Record a finished trial where people look."""
        self.tracking.trial(
            number,
            standing.candidate,
            estimate(list(standing.scores.values()), failures=standing.n - len(standing.scores)),
            cost=standing.cost,
            rollouts=rollouts,
            seconds=spent.total_seconds() if spent else 0.0,
            eliminated=standing.eliminated,
        )

    def finish(self, frozen: Frozen) -> FrontierReport:
        """Build the report from the records alone, write it, draw it, and hand it to MLflow."""
        self.account.touch()
        report = report_of(self.folder, self.ledger, frozen.roles, trials=self.done)
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
        self.account.phase = phase
        leaders = {standing.candidate.id for standing in self.board.frontier()}
        points = [
            ChartPoint(s.candidate.model, self.board.quality(s), s.cost, s.candidate.id in leaders)
            for s in self.board.measured()
        ]
        self.watch(
            Progress(
                phase=phase,
                trials=self.done,
                budget=self.manifest.budget,
                used=self.account.used,
                rollouts=self.measurer.fresh,
                seconds=time.monotonic() - self.began,
                share=share,
                points=tuple(points),
            )
        )


def _closed_outputs(space: SearchSpace) -> Sequence[str]:
    from optimizers.renderings.fields import closed_values

    fields = list(space.predictors.values())[-1].signature.output_fields
    return [name for name, info in fields.items() if closed_values(info.annotation) is not None]


def example_rows(task: LoadedTask) -> list[ExampleRow]:
    """The examples a study measures on, as the ledger keeps them."""
    _, outputs, _ = fields_of(task.program)
    parts: dict[Split, Sequence[dspy.Example]] = {"dev": task.dataset.dev, "test": task.dataset.test}
    return [
        ExampleRow(
            id=example_id(example),
            split=split,
            group=task.dataset.groups.get(example_id(example)),
            inputs={name: json_value(value) for name, value in example.inputs().items()},
            gold={name: json_value(example[name]) for name in outputs},
        )
        for split, part in parts.items()
        for example in part
    ]
