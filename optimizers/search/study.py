"""A study from its first trial to its report: search, settle, freeze, test, record."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from optimizers.errors import BudgetError, BudgetSpent, StudyError
from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.measure import Measurer
from optimizers.evaluation.spend import LocalSpend, SpendTracker
from optimizers.models.llama import llama_engine
from optimizers.prompting.proposals.pools import Pools, joined
from optimizers.records.budget import USED, Budget, Use
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import is_legacy
from optimizers.records.report import FrontierReport
from optimizers.records.rows import Phase, StudyManifest, TrialRow, round_key
from optimizers.records.tracking.mlflow_log import StudyRun
from optimizers.results.render.markdown import result_to_markdown
from optimizers.results.render.text_chart import ChartPoint
from optimizers.results.statistics.intervals import estimate
from optimizers.results.summary import report_of
from optimizers.results.view import result_view
from optimizers.search.blocks import blocks
from optimizers.search.bootstrap_proposals import BootstrapProposals
from optimizers.search.estimate import held_back, held_back_for_robustness, predict
from optimizers.search.example_rows import example_rows
from optimizers.search.gc_control import uncollected, uninterrupted
from optimizers.search.loop import SEARCH_SHARE, Search, Trial
from optimizers.search.model.importance import importances_of
from optimizers.search.model.observations import CandidateStats, ObservationStore
from optimizers.search.model.selection import scarcest_unit
from optimizers.search.optuna_trials import OptunaMirror, sqlite_address
from optimizers.search.outcome import write_outcome
from optimizers.search.progress import Progress, Watcher
from optimizers.search.robustness_phase import perturbed_dev, run_robustness
from optimizers.search.rounds import GROW_AT, Round, SpaceOf, first_round, later_round, proposal_shares
from optimizers.search.sealed_test import (
    SHORT_TEST_BLOCK,
    TEST_BLOCK,
    SealedTestPlan,
    freeze,
    repeat_sampled,
    run_test,
)
from optimizers.search.space.search_space import search_space
from optimizers.search.warm_start import prompts_of
from optimizers.task.data.split import example_id
from optimizers.task.fields import fields_of

if TYPE_CHECKING:
    import dspy

    from optimizers.search.distributed.worker import Worker
    from optimizers.search.space.search_space import SearchSpace
    from optimizers.task.task import LoadedTask

REFRESH = 0.5
"""Seconds between two looks at a running study."""


def run_study(
    task: LoadedTask,
    folder: StudyFolder,
    *,
    watch: Watcher,
    space_of: SpaceOf = search_space,
    grow_at: Sequence[float] = GROW_AT,
) -> FrontierReport:
    """Run a study, or what is left of it, and write its report.

    Args:
        task: What to optimize.
        folder: The study's folder, from :func:`open_folder`; its manifest holds the budget.
        watch: Told about every step.
        space_of: Gives the space of a round; one that leaves a part out shows what that is worth.
        grow_at: Shares of the search after which the pools grow.

    Returns:
        The report, also written to the folder and to MLflow.

    Raises:
        StudyError: Another process runs the study, or a database keeps it.
        BudgetError: The budget ends before anything is measured.
    """
    manifest = folder.read_manifest()
    if folder.storage.is_file() and not folder.report.exists():
        kept = folder.storage.read_text(encoding="utf-8").strip()
        raise StudyError(
            f"The study {manifest.name} is kept in a database, {kept}; alone, it would begin anew.",
            where=str(folder.path),
            fix=f"optimize worker {manifest.name} --storage URL, or the same command with --storage URL",
        )
    with folder.lock(), Ledger.open(folder.ledger) as ledger:
        if folder.report.exists():
            found = folder.read_report()
            if found.robustness or not manifest.robustness:
                return found
        with (
            StudyRun.open(manifest, folder) as run,
            OptunaMirror(sqlite_address(folder.optuna), manifest.name) as mirror,
        ):
            parts = (task, manifest, folder, ledger, run, mirror, watch, LocalSpend(ledger))
            report = _Session(*parts, space_of=space_of, grow_at=grow_at).run()
        # Last: a folder with a report is one of a finished study, of which nothing is to be made any more.
        folder.write_report(report)
        return report


def lead_study(
    task: LoadedTask, folder: StudyFolder, ledger: Ledger, worker: Worker, storage: str, *, watch: Watcher
) -> FrontierReport:
    """Lead a study that several processes share, or what is left of it, and write its report.

    Args:
        task: What to optimize.
        folder: The study's folder on this machine.
        ledger: The ledger that the processes share.
        worker: This process's part in running the rollouts.
        storage: Address of the database that the processes share; Optuna keeps its trials there too.
        watch: Told about every step.

    Raises:
        LeadershipLost: This process was taken for dead.
        BudgetError: The budget ends before anything is measured.
    """
    manifest = folder.read_manifest()
    with StudyRun.open(manifest, folder) as run, OptunaMirror(storage, manifest.name) as mirror:
        parts = (task, manifest, folder, ledger, run, mirror, watch, worker.spend)
        report = _Session(*parts, worker=worker).run()
    folder.write_report(report)
    return report


@dataclass
class _Session:
    """One process's work on a study, and what it shows of it."""

    task: LoadedTask
    manifest: StudyManifest
    folder: StudyFolder
    ledger: Ledger
    tracking: StudyRun
    optuna: OptunaMirror
    watch: Watcher
    spend: SpendTracker
    worker: Worker | None = None
    space_of: SpaceOf = search_space
    grow_at: Sequence[float] = GROW_AT
    gate: BudgetGate = field(init=False)
    measurer: Measurer = field(init=False)
    observations: ObservationStore = field(init=False)
    bootstrap: BootstrapProposals = field(init=False)
    trials: list[TrialRow] = field(init=False)
    began: float = field(default_factory=time.monotonic)
    pools: Pools = field(default_factory=dict)
    _phase: Phase = "prepare"
    _share: float = 0.0
    _last: float = 0.0
    _entered: float = field(default_factory=time.monotonic)

    @uninterrupted()
    def __post_init__(self) -> None:
        self.gate = BudgetGate(self.spend, self.manifest.budget)
        self.measurer = Measurer(
            self.task, self.ledger, self.gate, on_rollout=lambda rollout: self.tick(), worker=self.worker
        )
        self.observations = ObservationStore(self.manifest.objectives, self.manifest.min_coverage)
        self.trials = self.ledger.trials()
        if any(is_legacy(trial.choices) for trial in self.trials):
            name = self.manifest.name
            raise StudyError(
                f"The unfinished study {name} was begun by version 0.1, which recorded choices otherwise.",
                where=str(self.folder.path),
                fix="start a new study with another --study name",
            )
        self.bootstrap = BootstrapProposals(
            self.task, self.measurer, self.manifest.seed, self.manifest.workers
        )

    @uncollected()
    def run(self) -> FrontierReport:
        self.show("prepare", 0.0)
        plain = self.space_of(self.task, {})
        self.ledger.add_examples(example_rows(self.task))
        prediction = predict(
            self.task,
            plain,
            self.manifest.budget,
            objectives=self.manifest.objectives,
            robustness=self.manifest.robustness,
        )
        self.folder.write_prediction(prediction)
        for model in self.task.served:
            if model.engine == "llama":
                llama_engine(model).warm_up()
        opening = self.ledger.test_opening()
        if opening is None:
            self.gate.held_back = held_back(prediction, self.manifest.budget)
            self.search()
            plan = self.freeze(plain)
        else:
            self.restored()
            known = self.ledger.candidates()
            plan = SealedTestPlan({identity: known[identity] for identity in opening.roles}, opening.roles)
        self.test(plan, held_back_for_robustness(prediction, self.manifest.budget))
        if self.manifest.robustness:
            self.robustness(plan)
        return self.finish(plan)

    @uninterrupted()
    def restored(self) -> Search:
        """The search as earlier processes left it: their finished trials, gone through again."""
        dev = self.ordered(self.task.dataset.dev)
        unit, workers = scarcest_unit(self.manifest.budget), self.manifest.workers
        perturbed = {}
        if "robustness" in self.manifest.objectives:
            perturbed = perturbed_dev(
                self.measurer, [one for block in dev for one in block], self.manifest.seed
            )
        search = Search(self.observations, self.measurer, dev, self.manifest.seed, unit, workers, perturbed)
        known = self.ledger.candidates()
        while (record := self.ledger.get(round_key(search.round + 1))) is not None:
            self.begin(search, Round.model_validate_json(record))
            for trial in [one for one in self.trials if one.round == search.round]:
                stats = search.replay(trial, known)
                if trial.number >= self.tracking.recorded:
                    self.log(trial, stats)
        return search

    def ordered(self, part: Sequence[dspy.Example]) -> list[tuple[dspy.Example, ...]]:
        """A part of the data in blocks, whatever order its rows were given in."""
        return blocks(sorted(part, key=example_id), _closed_outputs(self.task), self.manifest.seed)

    def begin(self, search: Search, found: Round) -> None:
        """Begin a round: from then on what was found can be chosen."""
        number = search.round + 1
        self.pools = joined(self.pools, found.pools)
        space = self.space_of(self.task, self.pools)
        self.optuna.open_round(number, self.trials, space, self.observations)
        search.begin(space, found.starts, sum(trial.round < number for trial in self.trials))

    def grow(self, search: Search) -> None:
        """Let the pools grow by what is found now, and begin the next round."""
        number = search.round + 1
        self.show("propose", 0.0)
        if number == 1:
            earlier = self.manifest.started_from
            study = None if earlier is None else StudyFolder.load(self.folder.path.parent, earlier)
            prompts = [] if study is None else prompts_of(study.read_report())
            found = first_round(self.bootstrap, self.space_of, prompts)
        else:
            found = later_round(self.bootstrap, self.space_of, self.pools, search, self.observations, number)
        self.ledger.put(round_key(number), found.model_dump_json())
        self.begin(search, found)

    def is_due(self, search: Search) -> bool:
        """Whether a new round's time has come: the last one's starts are tried, and its share is searched.

        Or nothing is left to run in the round.
        """
        number = search.round
        if number == 0:
            return True
        tried = self.done - search.began >= len(search.starts)
        shares = proposal_shares(self.bootstrap, self.grow_at)
        if not tried or number > len(shares):
            return False
        return search.is_idle or self.progress() >= shares[number - 1]

    def search(self) -> None:
        """Run the trials that the budget holds, then measure the leaders until they are settled."""
        search = self.restored()
        try:
            while self.progress() < 1.0 or self.is_empty_handed:
                if self.is_due(search):
                    self.grow(search)
                if search.is_idle:
                    break
                self.show("search", self.progress())
                finished, spent = search.trials(self.done, self.left(search), self.progress())
                self.keep(search, finished)
                if spent is not None:
                    raise spent
            share = 0.0
            while share < 1.0:
                closing = (self.spent() - SEARCH_SHARE) / (1 - SEARCH_SHARE)
                self.show("refine", min(0.99, max(0.0, share, closing)))
                share = search.refine(is_paid=self.manifest.budget.trials is None)
        except BudgetSpent:
            if not self.observations.measured_subset():
                raise BudgetError(
                    f"The budget of {self.manifest.budget} ends before one candidate is measured.",
                    where="--budget",
                    fix="see what a study needs: optimize estimate PROGRAM --budget ...",
                ) from None

    def left(self, search: Search) -> int | None:
        """Trials until the next round, or the last of the budget; None where trials have no limit."""
        trials = self.manifest.budget.trials
        if trials is None:
            return None
        shares = (*proposal_shares(self.bootstrap, self.grow_at)[search.round - 1 :], 1.0)
        ends = (math.ceil(share * trials - 1e-9) for share in shares)
        return next((end for end in ends if end > self.done), trials) - self.done

    def keep(self, search: Search, finished: Sequence[Trial]) -> None:
        """Write trials that ran together down: in the ledger, for Optuna, and for MLflow."""
        rows = [
            TrialRow(
                number=number,
                round=search.round,
                candidate=trial.own.candidate.id,
                choices=dict(trial.chooser.made),
                values=tuple(self.observations.objective_values(trial.own)) if trial.own.scored else (),
                ran=trial.blocks,
                began=trial.began,
                ended=datetime.now(),
            )
            for number, trial in enumerate(finished, self.done)
        ]
        self.ledger.add_trials(rows)
        self.trials += rows
        for row, trial in zip(rows, finished, strict=True):
            self.optuna.add(search.space, row)
            self.log(row, trial.own)

    @property
    def done(self) -> int:
        """Finished trials."""
        return len(self.trials)

    def progress(self) -> float:
        """Share of the trials that is done, by the scarcest unit; some of it is set aside for the leaders."""
        trials = self.manifest.budget.trials
        return max(self.done / trials if trials else 0.0, self.spent() / SEARCH_SHARE)

    @property
    def is_empty_handed(self) -> bool:
        """Whether nothing was measured that could be measured further, and trials are not what ends it."""
        trials = self.manifest.budget.trials
        return (trials is None or self.done < trials) and not self.observations.measured_subset()

    def spent(self) -> float:
        """Share of what may be spent that is, what the test is to have left aside."""
        budget, kept = self.manifest.budget, self.gate.held_back
        limits: dict[str, float | None] = {unit: getattr(budget, unit) for unit in USED}
        room = {unit: limit - getattr(kept, unit) for unit, limit in limits.items() if limit is not None}
        return self.gate.used.share_of(budget.model_copy(update=room))

    def freeze(self, space: SearchSpace) -> SealedTestPlan:
        """Decide what is tested and record that the test set is opened for it."""
        plan = freeze(self.observations, space, self.task)
        for candidate in plan.candidates.values():
            self.ledger.add_candidate(candidate)
        self.ledger.open_test(plan.roles)
        return plan

    def test(self, plan: SealedTestPlan, kept: Use) -> None:
        """Measure what was plan on the sealed test set, as far as the budget goes beside what is kept."""
        self.gate.held_back = kept
        self.show("test", 0.0)
        # Points are measured in turns on the same examples: what fits the budget is paired.
        with suppress(BudgetSpent):
            # In an order of which every beginning is like the whole: some points run only a part.
            examples = self.test_examples()
            is_limited = self.manifest.budget != Budget(trials=self.manifest.budget.trials)
            run_test(
                plan,
                examples,
                self.measurer,
                block=SHORT_TEST_BLOCK if is_limited else TEST_BLOCK,
                workers=self.manifest.workers,
                on_share=lambda share: self.show("test", share),
            )
            repeat_sampled(plan, examples, self.measurer, workers=self.manifest.workers)

    def test_examples(self) -> list[dspy.Example]:
        """The sealed test set in the order in which it is run."""
        return [example for block in self.ordered(self.task.dataset.test) for example in block]

    def robustness(self, plan: SealedTestPlan) -> None:
        """Run the frontier on perturbed test examples, as far as the budget goes."""
        self.gate.held_back = Use()
        self.show("robustness", 0.0)
        with suppress(BudgetSpent):
            run_robustness(
                plan,
                self.test_examples(),
                self.measurer,
                self.manifest.seed,
                workers=self.manifest.workers,
                on_share=lambda share: self.show("robustness", share),
            )

    def log(self, trial: TrialRow, stats: CandidateStats) -> None:
        """Record a finished trial where people look."""
        self.tracking.trial(
            trial.number,
            stats.candidate,
            estimate(stats.scores, failures=stats.n - stats.scored),
            cost=stats.cost,
            rollouts=trial.rollouts,
            seconds=(trial.ended - trial.began).total_seconds(),
        )

    def finish(self, plan: SealedTestPlan) -> FrontierReport:
        """Build the report from the records alone, draw it, and hand it to MLflow."""
        self.gate.touch()
        rollouts = self.ledger.rollouts()
        report = report_of(
            self.folder,
            self.ledger,
            rollouts,
            plan.roles,
            trials=self.done,
            importance=importances_of(
                self.ledger, rollouts, self.ordered(self.task.dataset.dev), self.manifest.seed
            ),
        )
        write_outcome(self.task, self.folder, self.ledger, rollouts, report)
        note = result_to_markdown(result_view(report, self.folder.read_manifest()))
        self.tracking.finish(report, [self.folder.picture, self.folder.page], note)
        self.show("done", 1.0)
        return report

    def tick(self) -> None:
        """Show the state again after a rollout, but no oftener than an eye can follow."""
        if time.monotonic() - self._last >= REFRESH:
            self.show(self._phase, self._share)

    def show(self, phase: Phase, share: float) -> None:
        """Tell the watcher where the study stands."""
        now = time.monotonic()
        if phase != self._phase:
            self._entered = now
        self._phase, self._share, self._last = phase, share, now
        self.gate.phase = phase
        leaders = {stats.candidate.id for stats in self.observations.frontier()}
        points = [
            ChartPoint(
                s.candidate.label, self.observations.objective_values(s)[0], s.cost, s.candidate.id in leaders
            )
            for s in self.observations.measured_subset()
        ]
        self.watch(
            Progress(
                phase=phase,
                trials=self.done,
                budget=self.manifest.budget,
                used=self.gate.booked,
                rollouts=self.measurer.fresh,
                seconds=now - self.began,
                phase_seconds=now - self._entered,
                share=share,
                points=tuple(points),
            )
        )


def _closed_outputs(task: LoadedTask) -> Sequence[str]:
    return list(fields_of(task.program, task.dataset.dev)[2])
