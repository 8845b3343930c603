"""Where models take many calls at once, blocks run together: as many as they take, and no more."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from dspy.lm15 import Request
from dspy.utils.exceptions import ContextWindowExceededError, LMServerError
from fakes import FakeEngine, interrupt

from optimizers.errors import EngineError
from optimizers.prompting.proposals.pools import Pools
from optimizers.records.budget import Budget
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.search.manifest import open_folder
from optimizers.search.space.search_space import SearchSpace, search_space
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask

AT_ONCE = 24


@dataclass
class InFlight:
    """Counts the calls that are under way at the same time."""

    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1


@pytest.fixture
def wide(task: LoadedTask, engines: dict[str, FakeEngine]) -> LoadedTask:
    models = tuple(model.model_copy(update={"concurrency": AT_ONCE}) for model in task.models)
    return replace(task, models=models, reference=models[1])


def study(task: LoadedTask, runs: Path, name: str = "s", **limits: int) -> FrontierReport:
    folder = open_folder(task, runs, name, 0, Budget(**limits))
    return run_study(task, folder, watch=lambda progress: None)


def test_blocks_run_together_and_no_more_calls_at_once_than_a_model_takes(
    wide: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    counts = {}
    for name, engine in engines.items():
        engine.fail = counts[name] = InFlight()
    report = study(wide, tmp_path, trials=17)
    assert report.trials == 17
    assert all(10 < count.most <= AT_ONCE for count in counts.values())


def test_the_same_blocks_run_however_long_each_takes(
    wide: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    def ran(name: str) -> list[tuple[str, str]]:
        study(wide, tmp_path, name, trials=14)
        with Ledger.open(tmp_path / name / "ledger.db") as ledger:
            return sorted((rollout.candidate, rollout.example) for rollout in ledger.rollouts(split="dev"))

    first = ran("first")
    engines["local/small"].fail = InFlight()
    assert ran("second") == first


@pytest.mark.parametrize("calls", [60, 333])
def test_blocks_that_were_cut_together_are_taken_up_again(
    wide: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path, calls: int
) -> None:
    interrupt(engines, at=calls)
    with pytest.raises(KeyboardInterrupt):
        study(wide, tmp_path, trials=12)
    with Ledger.open(tmp_path / "s" / "ledger.db") as ledger:
        before = {(rollout.candidate, rollout.example) for rollout in ledger.rollouts()}
    report = study(wide, tmp_path, trials=12)
    assert report.trials == 12
    assert len(before) >= calls - AT_ONCE
    with Ledger.open(tmp_path / "s" / "ledger.db") as ledger:
        rows = [(rollout.candidate, rollout.example, rollout.number) for rollout in ledger.rollouts()]
    assert len(set(rows)) == len(rows)
    assert before <= {row[:2] for row in rows}


def test_a_budget_holds_for_blocks_that_run_together(wide: LoadedTask, tmp_path: Path) -> None:
    report = study(wide, tmp_path, calls=600)
    assert report.spend is not None
    assert 300 < report.spend.total.calls <= 600
    assert report.spend.by_phase["test"] > 100


def test_the_end_of_a_budget_goes_to_the_leaders(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    report = study(task, tmp_path, calls=900)
    assert report.spend is not None
    with Ledger.open(tmp_path / "s" / "ledger.db") as ledger:
        rows = ledger.rollouts(split="dev")
    first = {rollout.candidate: place for place, rollout in reversed(list(enumerate(rows)))}
    # No candidate is new once the leaders' share has begun.
    assert max(first.values()) < 0.85 * len(rows)
    assert min(point.dev.n for point in report.with_role("best")) >= 30


def test_limits_beside_trials_are_not_used_up(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    alone = study(task, tmp_path, "alone", trials=6)
    limited = study(task, tmp_path, "limited", trials=6, calls=20_000)
    assert alone.spend is not None
    assert limited.spend is not None
    assert limited.spend.total.calls == alone.spend.total.calls


def test_each_models_best_runs_half_of_the_dev_set_where_trials_are_limited(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    report = study(task, tmp_path, trials=6)
    assert all(point.dev.n >= len(task.dataset.dev) / 2 for point in report.with_role("best"))


def test_no_trial_is_spent_on_other_choices_for_a_candidate_that_was_tried(
    task: LoadedTask, engines: dict[str, FakeEngine], quick: None, tmp_path: Path
) -> None:
    def nearest(task: LoadedTask, pools: Pools) -> SearchSpace:
        # Of 4 demos per label and 8 as many are shown where there are no more.
        return replace(search_space(task, pools), parts=False, sampling=False, strategies=("nearest",))

    dataset = replace(task.dataset, dev=task.dataset.dev[:10])
    small = replace(task, models=task.models[:1], reference=task.models[0], dataset=dataset)
    folder = open_folder(small, tmp_path, "s", 2, Budget(trials=50))
    run_study(small, folder, watch=lambda progress: None, space_of=nearest)
    with Ledger.open(folder.ledger) as ledger:
        trials = ledger.trials()
    assert len({trial.candidate for trial in trials}) == len(trials) == 50
    assert all(trial.ran for trial in trials)


@pytest.mark.parametrize("limits", [{"trials": 500}, {"calls": 20_000}])
def test_a_search_ends_when_there_is_nothing_left_to_run(
    task: LoadedTask, engines: dict[str, FakeEngine], quick: None, tmp_path: Path, limits: dict[str, int]
) -> None:
    def tiny(task: LoadedTask, pools: Pools) -> SearchSpace:
        space = search_space(task, pools)
        predictors = {
            name: replace(predictor, sizes=dict.fromkeys(predictor.sizes, (0,)))
            for name, predictor in space.predictors.items()
        }
        return replace(space, predictors=predictors, allowed=(), parts=False, sampling=False)

    dataset = replace(task.dataset, dev=task.dataset.dev[:20])
    small = replace(task, models=task.models[:1], reference=task.models[0], dataset=dataset)
    folder = open_folder(small, tmp_path, "s", 0, Budget(**limits))
    report = run_study(small, folder, watch=lambda progress: None, space_of=tiny)
    assert 3 <= report.trials < 60
    assert all(point.dev.n == 20 for point in report.with_role("best"))
    with Ledger.open(folder.ledger) as ledger:
        rows = ledger.rollouts(split="dev")
    assert len(rows) == 20 * len({row.candidate for row in rows})


def test_a_candidate_that_never_fits_the_context_is_run_no_further(
    task: LoadedTask, engines: dict[str, FakeEngine], quick: None, tmp_path: Path
) -> None:
    def overflow(request: Request) -> None:
        if sum(len(message.text or "") for message in request.messages) > 2_000:
            raise ContextWindowExceededError(message="too long")

    for engine in engines.values():
        engine.fail = overflow
    folder = open_folder(task, tmp_path, "s", 0, Budget(trials=16))
    run_study(task, folder, watch=lambda progress: None)
    with Ledger.open(folder.ledger) as ledger:
        rows = ledger.rollouts(split="dev")
    scored = {rollout.candidate for rollout in rows if rollout.score is not None}
    lost = Counter(rollout.candidate for rollout in rows if rollout.candidate not in scored)
    assert lost
    assert max(lost.values()) == 10


def test_an_outage_spoils_none_of_the_blocks_that_ran_together(
    wide: LoadedTask,
    engines: dict[str, FakeEngine],
    quick: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, lock, refused = Counter[str](), threading.Lock(), threading.Event()

    def fail(request: Request) -> None:
        with lock:
            served[request.model] += 1
            number, total = served[request.model], served.total()
        if total <= 10:
            return  # the first block, which runs alone
        if "small" in request.model:
            if number > 13:
                refused.set()
                raise LMServerError("down")
        else:
            refused.wait(5)
            raise LMServerError("down")

    monkeypatch.setattr("optimizers.models.lm._wait", lambda error: 0.0)
    for engine in engines.values():
        engine.fail = fail
    folder = open_folder(wide, tmp_path, "s", 0, Budget(trials=20))
    with pytest.raises(EngineError, match="Not one of"):
        run_study(wide, folder, watch=lambda progress: None)
    with Ledger.open(folder.ledger) as ledger:
        assert {rollout.failure for rollout in ledger.rollouts()} == {None}


def test_a_search_that_is_interrupted_begins_nothing_more(
    task: LoadedTask, engines: dict[str, FakeEngine], quick: None, tmp_path: Path
) -> None:
    begun = []

    def slow(request: Request) -> None:
        begun.append(request)
        if len(begun) == 25:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(0.05)

    for engine in engines.values():
        engine.fail = slow
    models = tuple(model.model_copy(update={"concurrency": 1}) for model in task.models)
    one_at_a_time = replace(task, models=models, reference=models[1])
    # Who starts the tests in the background has this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            study(one_at_a_time, tmp_path, trials=8)
    finally:
        signal.signal(signal.SIGINT, before)
    known = len(begun)
    time.sleep(0.3)
    assert len(begun) == known <= 27
