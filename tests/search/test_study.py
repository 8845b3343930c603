"""A whole study on fake models: the search finds what is there, keeps its budget, resumes, seals the test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from dspy.lm15 import Request
from fakes import FakeEngine, interrupt

from optimizers.errors import BudgetError, EngineError, StudyError
from optimizers.models.model import Price
from optimizers.records.budget import USED, Budget
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import choices_from_json
from optimizers.records.report import FrontierReport
from optimizers.records.rows import round_key
from optimizers.search.manifest import open_folder
from optimizers.search.optuna_trials import sqlite_address
from optimizers.search.progress import Progress, Watcher
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask


def study(
    task: LoadedTask,
    runs: Path,
    *,
    trials: int | None = None,
    name: str = "s",
    watch: Watcher = lambda progress: None,
    **limits: float,
) -> FrontierReport:
    folder = open_folder(task, runs, name, 0, Budget(trials=trials, **limits))
    return run_study(task, folder, watch=watch)


def keys(runs: Path, name: str = "s") -> list[tuple[str, str, int]]:
    with Ledger.open(runs / name / "ledger.db") as ledger:
        return sorted((r.candidate, r.example, r.number) for r in ledger.rollouts())


@pytest.fixture
def runs(tmp_path: Path, engines: dict[str, FakeEngine]) -> Path:
    return tmp_path / "runs"


def test_what_is_shown_as_used_never_falls(
    task: LoadedTask, runs: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizers.search.progress.REFRESH", 0.0)
    seen: list[Progress] = []
    study(task, runs, trials=3, watch=seen.append)
    for unit in USED:
        amounts = [getattr(progress.used, unit) for progress in seen]
        assert amounts == sorted(amounts), unit
    assert seen[-1].used.calls > 100


def test_a_study_finds_demos_and_reports_what_it_measured(task: LoadedTask, runs: Path) -> None:
    seen: list[Progress] = []
    report = study(task, runs, trials=25, watch=seen.append)
    assert report.trials == 25
    assert [point.cost for point in report.points] == sorted(point.cost for point in report.points)
    best = {p.candidate.model: p for p in report.with_role("best")}
    default = {p.candidate.model: p for p in report.with_role("default")}
    assert best["local/small"].dev.mean > 0.7
    assert set(best) == set(default) == {"local/small", "local/large"}
    assert all(p.test is not None and p.test.n > 50 for p in report.with_role("frontier"))
    assert len(report.with_role("reference")) == 1
    assert {one.model for one in report.importance} == {None, "local/small", "local/large"}
    page = (runs / "s" / "frontier.html").read_text(encoding="utf-8")
    assert all(point.candidate.id in page for point in report.with_role("frontier"))
    assert task.dataset.dev[0]["review"] in page
    assert {progress.phase for progress in seen} == {
        "prepare",
        "propose",
        "search",
        "refine",
        "test",
        "done",
    }
    assert (runs / "s" / "frontier.png").stat().st_size > 10_000
    assert FrontierReport.model_validate_json((runs / "s" / "frontier.json").read_text()) == report


def test_every_model_gets_its_share_of_the_candidates(task: LoadedTask, runs: Path) -> None:
    report = study(task, runs, trials=24)
    tried = [point.candidate.model for point in report.points]
    assert min(tried.count(model) for model in ("local/small", "local/large")) >= 0.3 * len(tried)


def test_the_test_set_is_not_touched_before_the_frontier_is_frozen(task: LoadedTask, runs: Path) -> None:
    study(task, runs, trials=8)
    with Ledger.open(runs / "s" / "ledger.db") as ledger:
        opening = ledger.test_opening()
        assert opening is not None
        tested = ledger.rollouts(split="test")
        assert {rollout.candidate for rollout in tested} == set(opening.roles)
        last_dev = max(rollout.created for rollout in ledger.rollouts(split="dev"))
        assert min(rollout.created for rollout in tested) >= last_dev


def test_the_same_command_again_shows_the_result_and_calls_no_model(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine]
) -> None:
    first = study(task, runs, trials=8)
    calls = sum(len(engine.requests) for engine in engines.values())
    again = study(task, runs, trials=8)
    assert sum(len(engine.requests) for engine in engines.values()) == calls
    assert again.points == first.points


def test_the_same_command_shows_the_result_where_another_limit_than_trials_ended_the_search(
    task: LoadedTask, runs: Path
) -> None:
    first = study(task, runs, trials=500, calls=900)
    assert first.trials < 500
    assert study(task, runs, trials=500, calls=900).points == first.points


@pytest.mark.parametrize("limits", [{"trials": 9}, {"calls": 100_000}])
def test_a_larger_budget_after_the_test_was_opened_is_refused(
    task: LoadedTask, runs: Path, limits: dict[str, int]
) -> None:
    study(task, runs, trials=8)
    before = (runs / "s" / "study.json").read_text()
    with pytest.raises(StudyError, match="sealed test"):
        study(task, runs, **limits)
    assert (runs / "s" / "study.json").read_text() == before


@pytest.mark.parametrize("calls", [1, 143, 391, 560])
def test_a_study_cut_anywhere_goes_on_as_if_it_had_not_been(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine], calls: int
) -> None:
    undisturbed = study(task, runs, trials=12, name="whole")
    for engine in engines.values():
        engine.requests.clear()
    interrupt(engines, at=calls)
    with pytest.raises(KeyboardInterrupt):
        study(task, runs, trials=12)
    report = study(task, runs, trials=12)
    assert keys(runs) == keys(runs, "whole")
    assert report.points == undisturbed.points or {p.candidate.id for p in report.with_role("frontier")} == {
        p.candidate.id for p in undisturbed.with_role("frontier")
    }
    # Every answered call became a rollout; the one that was cut ran again.
    assert sum(len(engine.requests) for engine in engines.values()) == len(keys(runs)) + 1


@pytest.mark.parametrize("calls", [1, 391])
def test_an_unfinished_study_of_version_0_1_is_refused_before_and_after_its_first_trial(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine], calls: int
) -> None:
    interrupt(engines, at=calls)
    with pytest.raises(KeyboardInterrupt):
        study(task, runs, trials=12)
    with Ledger.open(runs / "s" / "ledger.db") as ledger:
        assert bool(ledger.trials()) == (calls > 1)
        found = json.loads(ledger.get(round_key(1)) or "")
        found["starts"] = [
            {str(parameter): value for parameter, value in choices_from_json(start).items()}
            for start in found["starts"]
        ]
        ledger.replace(round_key(1), json.dumps(found))
    requests = sum(len(engine.requests) for engine in engines.values())
    with pytest.raises(StudyError, match=r"begun by version 0\.1"):
        study(task, runs, trials=12)
    assert sum(len(engine.requests) for engine in engines.values()) == requests


def test_a_study_is_run_by_one_process_at_a_time(task: LoadedTask, runs: Path) -> None:
    def intrude(progress: Progress) -> None:
        if progress.phase == "search":
            study(task, runs, trials=8)

    with pytest.raises(StudyError, match="another process"):
        study(task, runs, trials=8, watch=intrude)


@pytest.mark.parametrize("limits", [{"calls": 500}, {"tokens": 30_000}, {"dollars": 0.006}])
def test_no_budget_is_overshot_and_the_test_gets_its_share(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine], limits: dict[str, float]
) -> None:
    report = study(task, runs, **limits)
    assert report.spend is not None
    used = report.spend.total
    for unit, limit in limits.items():
        assert 0.5 * limit < getattr(used, unit) <= limit
    assert used.calls == sum(len(engine.requests) for engine in engines.values())
    assert report.spend.by_phase["test"] > 0.2 * used.calls
    assert all(point.test is not None and point.test.n >= 20 for point in report.with_role("frontier"))


@pytest.mark.parametrize("trials", [None, 5])
def test_a_budget_too_small_to_measure_anything_says_so_every_time(
    task: LoadedTask, runs: Path, trials: int | None
) -> None:
    for _ in range(2):
        with pytest.raises(BudgetError, match="before one candidate"):
            study(task, runs, trials=trials, calls=5)


def test_a_bigger_budget_takes_up_a_study_whose_test_is_sealed(task: LoadedTask, runs: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.trials == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(task, runs, trials=6, watch=interrupt)
    assert study(task, runs, trials=9).trials == 9


def test_latency_can_be_an_objective(task: LoadedTask, runs: Path) -> None:
    folder = open_folder(task, runs, "s", 0, Budget(trials=8), ("quality", "cost", "latency"))
    report = run_study(task, folder, watch=lambda progress: None)
    assert all(point.latency > 0 for point in report.with_role("frontier"))


def test_quality_alone_can_be_the_objective(task: LoadedTask, runs: Path) -> None:
    folder = open_folder(task, runs, "s", 0, Budget(trials=12), ("quality",))
    report = run_study(task, folder, watch=lambda progress: None)
    (winner,) = report.with_role("frontier")
    assert winner.dev.mean == max(point.dev.mean for point in report.with_role("best"))
    mirror = optuna.load_study(study_name="s", storage=sqlite_address(folder.optuna))
    assert mirror.best_trial.values == [max(trial.value or 0.0 for trial in mirror.get_trials())]


def test_a_name_taken_by_another_task_is_refused_and_says_what_differs(task: LoadedTask, runs: Path) -> None:
    study(task, runs, trials=6)
    with pytest.raises(StudyError, match="the program file"):
        study(replace(task, program_hash="f" * 16), runs, trials=6)


def test_a_price_that_changed_is_named_with_both_values(task: LoadedTask, runs: Path) -> None:
    study(task, runs, trials=6)
    dearer = task.models[0].model_copy(update={"price": Price(input=7, output=9, source="declared")})
    with pytest.raises(StudyError, match=r"price of local/small \(0.01/0.02 .* then, 7/9 .* now\)"):
        study(replace(task, models=(dearer, task.models[1])), runs, trials=6)


def test_a_server_that_is_down_stops_the_study_and_keeps_what_was_measured(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dspy.lm15 import ServerError

    monkeypatch.setattr("optimizers.models.lm._wait", lambda error: 0.0)

    def down(request: Request) -> None:
        if len(engines["local/large"].requests) > 60:
            raise ServerError("gone")

    engines["local/large"].fail = down
    with pytest.raises(EngineError, match="run the same command again"):
        study(task, runs, trials=30)
    engines["local/large"].fail = lambda request: None
    report = study(task, runs, trials=30)
    assert report.trials == 30
    assert all(point.dev.failures == 0 for point in report.points)


def test_a_dev_set_that_ends_in_a_short_block_comes_to_an_end(task: LoadedTask, runs: Path) -> None:
    few = replace(task.dataset, dev=task.dataset.dev[:15])
    report = study(replace(task, dataset=few), runs, trials=3)
    assert max(point.dev.n for point in report.points) == 15


def test_a_study_that_a_database_keeps_does_not_begin_anew_without_it(task: LoadedTask, runs: Path) -> None:
    folder = open_folder(task, runs, "s", 0, Budget(trials=3))
    folder.storage.write_text("postgresql://me:***@there/db\n")
    with pytest.raises(StudyError, match="kept in a database, postgresql") as error:
        run_study(task, folder, watch=lambda progress: None)
    assert "--storage" in str(error.value.fix)
    assert not folder.ledger.exists()
