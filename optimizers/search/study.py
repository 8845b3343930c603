"""A study from its first trial to its report: the list of its phases."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from optimizers.errors import BudgetSpent, StudyError
from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.measure import Measurer
from optimizers.evaluation.spend import LocalSpend, SpendTracker
from optimizers.models.llama import llama_engine
from optimizers.models.lm import is_in_metered_call
from optimizers.models.third_party import unpriced_calls
from optimizers.records.budget import Budget, Use
from optimizers.records.folder import StudyFolder
from optimizers.records.json_values import json_value
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.records.rows import ExampleRow, Split, StudyManifest
from optimizers.records.tracking.mlflow_log import StudyRun
from optimizers.results.render.markdown import result_to_markdown
from optimizers.results.summary import report_of
from optimizers.results.view import result_view
from optimizers.search.estimate import held_back, held_back_for_robustness, predict
from optimizers.search.gc_control import uncollected, uninterrupted
from optimizers.search.model.importance import importances_of
from optimizers.search.model.observations import ObservationStore
from optimizers.search.optuna_trials import OptunaMirror, sqlite_address
from optimizers.search.outcome import write_outcome
from optimizers.search.progress import ProgressDisplay, Watcher
from optimizers.search.robustness_phase import run_robustness
from optimizers.search.rounds import GROW_AT, SpaceOf
from optimizers.search.sealed_test import (
    SHORT_TEST_BLOCK,
    TEST_BLOCK,
    SealedTestPlan,
    freeze,
    repeat_sampled,
    run_test,
)
from optimizers.search.search_phase import StudyContext, ordered, restored
from optimizers.search.space.search_space import search_space
from optimizers.search.trial_log import TrialLog
from optimizers.task.data.split import example_id
from optimizers.task.signature_fields import fields_of

if TYPE_CHECKING:
    import dspy

    from optimizers.search.distributed.worker import Worker
    from optimizers.search.space.search_space import SearchSpace
    from optimizers.task.task import LoadedTask


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
            records = (folder, ledger, run, mirror)
            study = open_study(
                task, manifest, *records, LocalSpend(ledger), watch, space_of=space_of, grow_at=grow_at
            )
            report = _run_phases(study)
        # Last: a folder with a report is one of a finished study, which is not continued.
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
        records = (folder, ledger, run, mirror)
        study = open_study(task, manifest, *records, worker.spend, watch, worker=worker)
        report = _run_phases(study)
    folder.write_report(report)
    return report


@uninterrupted()
def open_study(
    task: LoadedTask,
    manifest: StudyManifest,
    folder: StudyFolder,
    ledger: Ledger,
    tracking: StudyRun,
    optuna: OptunaMirror,
    spend: SpendTracker,
    watch: Watcher,
    *,
    worker: Worker | None = None,
    space_of: SpaceOf = search_space,
    grow_at: Sequence[float] = GROW_AT,
) -> StudyContext:
    """Put together what the phases of a study work with.

    Args:
        task: What to optimize.
        manifest: The study's settings.
        folder: The study's folder.
        ledger: Its durable record.
        tracking: Its MLflow run.
        optuna: Its Optuna study.
        spend: What its processes used.
        watch: Told about every step.
        worker: This process's part in a shared study.
        space_of: Gives the space of a round.
        grow_at: Shares of the search after which the pools grow.
    """
    gate = BudgetGate(spend, manifest.budget)
    observations = ObservationStore(manifest.objectives, manifest.min_coverage)
    trials = TrialLog(ledger, optuna, tracking, observations, ledger.trials())
    display = ProgressDisplay(watch, gate, observations, trials.rows, lambda: measurer.fresh)
    measurer = Measurer(task, ledger, gate, on_rollout=lambda rollout: display.tick(), worker=worker)
    parts = (task, manifest, folder, ledger, gate, measurer, observations, trials, display)
    return StudyContext(*parts, space_of=space_of, grow_at=grow_at)


@unpriced_calls(is_in_metered_call)
@uncollected()
def _run_phases(study: StudyContext) -> FrontierReport:
    """Search, decide what is tested, open the sealed test, run perturbed examples, report."""
    study.display.show("prepare", 0.0)
    task, manifest, ledger = study.task, study.manifest, study.ledger
    plain = study.space_of(task, {})
    ledger.add_examples(_example_rows(task))
    prediction = predict(
        task, plain, manifest.budget, objectives=manifest.objectives, robustness=manifest.robustness
    )
    study.folder.write_prediction(prediction)
    for model in task.served:
        if model.engine == "llama":
            llama_engine(model).warm_up()
    opening = ledger.test_opening()
    if opening is None:
        study.gate.held_back = held_back(prediction, manifest.budget)
        restored(study).run()
        plan = _open_test(study, plain)
    else:
        restored(study)
        known = ledger.candidates()
        plan = SealedTestPlan({identity: known[identity] for identity in opening.roles}, opening.roles)
    _sealed_test(study, plan, held_back_for_robustness(prediction, manifest.budget))
    if manifest.robustness:
        _robustness(study, plan)
    return _finish(study, plan)


def _open_test(study: StudyContext, space: SearchSpace) -> SealedTestPlan:
    """Decide what is tested and record that the test set is opened for it."""
    plan = freeze(study.observations, space, study.task)
    for candidate in plan.candidates.values():
        study.ledger.add_candidate(candidate)
    study.ledger.open_test(plan.roles)
    return plan


def _sealed_test(study: StudyContext, plan: SealedTestPlan, kept: Use) -> None:
    """Measure the plan on the sealed test set, as far as the budget goes without what is kept."""
    study.gate.held_back = kept
    study.display.show("test", 0.0)
    workers, budget = study.manifest.workers, study.manifest.budget
    # Points run interleaved on the same examples: what fits the budget is paired.
    with suppress(BudgetSpent):
        examples = _test_examples(study)
        is_limited = budget != Budget(trials=budget.trials)
        run_test(
            plan,
            examples,
            study.measurer,
            block=SHORT_TEST_BLOCK if is_limited else TEST_BLOCK,
            workers=workers,
            on_share=lambda share: study.display.show("test", share),
        )
        repeat_sampled(plan, examples, study.measurer, workers=workers)


def _test_examples(study: StudyContext) -> list[dspy.Example]:
    """The sealed test set in the order in which it is run: every prefix of it has its share of each label."""
    return [example for block in ordered(study, study.task.dataset.test) for example in block]


def _robustness(study: StudyContext, plan: SealedTestPlan) -> None:
    """Run the frontier on perturbed test examples, as far as the budget goes."""
    study.gate.held_back = Use()
    study.display.show("robustness", 0.0)
    with suppress(BudgetSpent):
        run_robustness(
            plan,
            _test_examples(study),
            study.measurer,
            study.manifest.seed,
            workers=study.manifest.workers,
            on_share=lambda share: study.display.show("robustness", share),
        )


def _finish(study: StudyContext, plan: SealedTestPlan) -> FrontierReport:
    """Build the report from the records alone, draw it, and hand it to MLflow."""
    study.gate.touch()
    rollouts = study.ledger.rollouts()
    blocks = ordered(study, study.task.dataset.dev)
    report = report_of(
        study.folder,
        study.ledger,
        rollouts,
        plan.roles,
        trials=study.trials.done,
        importance=importances_of(study.ledger, rollouts, blocks, study.manifest.seed),
    )
    write_outcome(study.task, study.folder, study.ledger, rollouts, report)
    note = result_to_markdown(result_view(report, study.folder.read_manifest()))
    study.trials.tracking.finish(report, [study.folder.picture, study.folder.page], note)
    study.display.show("done", 1.0)
    return report


def _example_rows(task: LoadedTask) -> list[ExampleRow]:
    """The examples a study measures on, as the ledger keeps them."""
    _, outputs, _ = fields_of(task.program, task.dataset.dev)
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
