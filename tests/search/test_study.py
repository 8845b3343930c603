"""A whole study on fake models: the search finds what is there, keeps its budget, resumes, seals the test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dspy.lm15 import Request
from fakes import FakeEngine

from optimizers.errors import EngineError, StudyError
from optimizers.frontier.report import FrontierReport
from optimizers.records.ledger import Ledger
from optimizers.search.loop import open_study
from optimizers.search.progress import Progress
from optimizers.search.study import open_folder, run_study
from optimizers.task import LoadedTask


def study(
    task: LoadedTask, runs: Path, *, trials: int, name: str = "s", seen: list[Progress] | None = None
) -> FrontierReport:
    folder = open_folder(task, runs, name, seed=0)
    watch = seen.append if seen is not None else lambda progress: None
    return run_study(task, folder, trials=trials, watch=watch)


@pytest.fixture
def runs(tmp_path: Path, engines: dict[str, FakeEngine]) -> Path:
    return tmp_path / "runs"


def test_a_study_finds_demos_and_reports_what_it_measured(task: LoadedTask, runs: Path) -> None:
    seen: list[Progress] = []
    report = study(task, runs, trials=25, seen=seen)
    assert report.trials == 25
    assert [point.cost for point in report.points] == sorted(point.cost for point in report.points)
    best = {p.candidate.model: p for p in report.with_role("best")}
    default = {p.candidate.model: p for p in report.with_role("default")}
    assert best["local/small"].dev.mean > 0.7
    assert set(best) == set(default) == {"local/small", "local/large"}
    assert all(p.test is not None and p.test.n > 50 for p in report.with_role("frontier"))
    assert len(report.with_role("reference")) == 1
    assert {progress.phase for progress in seen} == {"prepare", "search", "settle", "test", "done"}
    assert (runs / "s" / "frontier.png").stat().st_size > 10_000
    assert FrontierReport.model_validate_json((runs / "s" / "frontier.json").read_text()) == report


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


def test_more_trials_after_the_test_was_opened_are_refused(task: LoadedTask, runs: Path) -> None:
    study(task, runs, trials=8)
    with pytest.raises(StudyError, match="sealed test"):
        study(task, runs, trials=9)


def test_an_interrupted_study_goes_on_without_repeating_a_rollout(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine]
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.trials == 5:
            raise KeyboardInterrupt

    folder = open_folder(task, runs, "s", seed=0)
    with pytest.raises(KeyboardInterrupt):
        run_study(task, folder, trials=12, watch=interrupt)
    with Ledger.open(folder.ledger) as ledger:
        assert ledger.rollouts()
    report = study(task, runs, trials=12)
    assert report.trials == 12
    calls = sum(len(engine.requests) for engine in engines.values())
    assert calls == report.rollouts


def test_a_start_that_was_interrupted_is_run_again(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine]
) -> None:
    def interrupt(request: Request) -> None:
        if len(engines["local/large"].requests) == 25:
            raise KeyboardInterrupt

    engines["local/large"].fail = interrupt
    folder = open_folder(task, runs, "s", seed=0)
    with pytest.raises(KeyboardInterrupt):
        run_study(task, folder, trials=40, watch=lambda progress: None)
    engines["local/large"].fail = lambda request: None
    study(task, runs, trials=40)
    records = open_study(folder.optuna, "s", seed=0).get_trials(deepcopy=False)
    (cut,) = [trial for trial in records if trial.state.name == "FAIL"]
    assert cut.params in [trial.params for trial in records if trial.state.name == "COMPLETE"]


def test_a_name_taken_by_another_task_is_refused_and_says_what_differs(task: LoadedTask, runs: Path) -> None:
    study(task, runs, trials=6)
    with pytest.raises(StudyError, match="the program file"):
        open_folder(replace(task, program_hash="f" * 16), runs, "s", seed=0)


def test_a_server_that_is_down_stops_the_study_and_keeps_what_was_measured(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dspy.lm15 import ServerError

    monkeypatch.setattr("dspy.clients.execution._delay", lambda exc, attempt: 0.0)

    def down(request: Request) -> None:
        if len(engines["local/large"].requests) > 60:
            raise ServerError("gone")

    engines["local/large"].fail = down
    with pytest.raises(EngineError, match="run the same command again"):
        study(task, runs, trials=30)
    engines["local/large"].fail = lambda request: None
    assert study(task, runs, trials=30).trials == 30
