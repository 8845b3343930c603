"""A study that several processes share, on a real PostgreSQL server."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import postgres
import pytest
from dspy.lm15 import Request
from fakes import FakeEngine

from optimizers.errors import EngineError, ParityError, StudyError, UsageError
from optimizers.records.budget import Budget
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.search.distributed.shared_study import fetch, run_shared, starting
from optimizers.search.manifest import open_folder
from optimizers.search.progress import Watcher
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask

pytestmark = pytest.mark.skipif(postgres.LACKING is not None, reason=str(postgres.LACKING))


@pytest.fixture
def storage(database_server: str, engines: dict[str, FakeEngine]) -> str:
    return postgres.new_database(database_server)


def started(task: LoadedTask, runs: Path, storage: str, budget: Budget, workers: int = 2) -> StudyFolder:
    with starting(StudyFolder.at(runs, "s"), storage):
        return open_folder(task, runs, "s", 0, budget, workers=workers)


def work(
    task: LoadedTask, folder: StudyFolder, storage: str, watch: Watcher = lambda progress: None
) -> FrontierReport:
    return run_shared(task, folder, storage, watch=watch, helping=lambda rollouts, members: None)


def beside(run: Callable[[], FrontierReport]) -> tuple[threading.Thread, list[FrontierReport | ParityError]]:
    """What runs on a thread of its own, as another machine would."""
    found: list[FrontierReport | ParityError] = []

    def go() -> None:
        try:
            found.append(run())
        except ParityError as error:
            found.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    return thread, found


def answers(report: FrontierReport) -> list[tuple[str, float, int]]:
    return [(p.candidate.id, p.test.mean, p.test.n) for p in report.points if p.test is not None]


def test_two_processes_find_what_one_finds_and_run_nothing_twice(
    task: LoadedTask, tmp_path: Path, storage: str, engines: dict[str, FakeEngine]
) -> None:
    alone = run_study(
        task,
        open_folder(task, tmp_path / "alone", "s", 0, Budget(trials=8), workers=2),
        watch=lambda progress: None,
    )
    for engine in engines.values():
        engine.requests.clear()
    first = started(task, tmp_path / "a", storage, Budget(trials=8))
    second = fetch(tmp_path / "b", "s", storage)
    thread, found = beside(lambda: work(task, second, storage))
    report = work(task, first, storage)
    thread.join()
    assert answers(report) == answers(alone)
    assert found == [report]
    for runs in ("a", "b"):
        with Ledger.open(tmp_path / runs / "s" / "ledger.db") as ledger:
            rollouts = ledger.rollouts()
        assert len(rollouts) == sum(len(engine.requests) for engine in engines.values())
        assert (tmp_path / runs / "s" / "frontier.html").exists()
    keys = Counter((one.candidate, one.example, one.number) for one in rollouts)
    assert set(keys.values()) == {1}


def test_perturbed_examples_are_run_by_all_and_are_the_same_for_all(
    task: LoadedTask, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizers.search.robustness_phase.ROWS", 4)
    asked = {"objectives": ("quality", "cost", "robustness"), "workers": 2}
    alone = run_study(
        task,
        open_folder(task, tmp_path / "alone", "s", 0, Budget(trials=3), **asked),
        watch=lambda progress: None,
    )
    with starting(StudyFolder.at(tmp_path / "a", "s"), storage):
        first = open_folder(task, tmp_path / "a", "s", 0, Budget(trials=3), **asked)
    second = fetch(tmp_path / "b", "s", storage)
    thread, found = beside(lambda: work(task, second, storage))
    report = work(task, first, storage)
    thread.join()
    assert report.robustness == alone.robustness != ()
    assert answers(report) == answers(alone)
    assert found == [report]


def test_a_budget_is_shared_and_never_overshot(task: LoadedTask, tmp_path: Path, storage: str) -> None:
    first = started(task, tmp_path / "a", storage, Budget(calls=500))
    second = fetch(tmp_path / "b", "s", storage)
    thread, found = beside(lambda: work(task, second, storage))
    report = work(task, first, storage)
    thread.join()
    assert found == [report]
    with Ledger.open(first.ledger) as ledger:
        assert 430 < len(ledger.calls()) <= 500
        assert ledger.used().calls == len(ledger.calls())


def test_another_process_leads_on_when_the_leader_goes(
    task: LoadedTask, tmp_path: Path, storage: str
) -> None:
    class Gone(ParityError):
        pass

    def leave(progress: object) -> None:
        if getattr(progress, "trials", 0) >= 3:
            raise Gone("gone")

    first = started(task, tmp_path / "a", storage, Budget(trials=6))
    with pytest.raises(Gone):
        work(task, first, storage, watch=leave)
    second = fetch(tmp_path / "b", "s", storage)
    report = work(task, second, storage)
    assert report.trials == 6
    with Ledger.open(second.ledger) as ledger:
        assert [trial.number for trial in ledger.trials()] == list(range(6))


def test_what_breaks_in_a_worker_is_said_by_the_leader(
    task: LoadedTask, tmp_path: Path, storage: str, engines: dict[str, FakeEngine]
) -> None:
    def down(request: Request) -> None:
        raise RuntimeError("the server is down")

    for engine in engines.values():
        engine.fail = down
    first = started(task, tmp_path / "a", storage, Budget(trials=10))
    with pytest.raises(EngineError, match="Not one of"):
        work(task, first, storage)


def test_a_finished_study_is_had_from_the_storage(task: LoadedTask, tmp_path: Path, storage: str) -> None:
    report = work(task, started(task, tmp_path / "a", storage, Budget(trials=6)), storage)
    assert work(task, fetch(tmp_path / "b", "s", storage), storage) == report


def test_another_task_cannot_join(task: LoadedTask, tmp_path: Path, storage: str) -> None:
    started(task, tmp_path / "a", storage, Budget(trials=6))
    with pytest.raises(StudyError, match="this changed"):
        started(replace(task, margin=0.1), tmp_path / "b", storage, Budget(trials=6))


def test_what_is_not_there_is_named(storage: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no study nothing"):
        fetch(tmp_path, "nothing", storage)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sqlite:///shared.db", "SQLite is one machine's"),
        ("mysql://host/db", "cannot hold a study"),
        ("nonsense", "no address of a database"),
        ("postgresql+nodriver://host/db", "driver"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(address: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        fetch(tmp_path, "s", address)


def test_optunas_own_proxy_reads_the_trials(task: LoadedTask, tmp_path: Path, storage: str) -> None:
    work(task, started(task, tmp_path / "a", storage, Budget(trials=6)), storage)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxied = optuna.storages.get_storage(storage)
    serving = threading.Thread(
        target=optuna.storages.run_grpc_proxy_server,
        args=(proxied,),
        kwargs={"host": "127.0.0.1", "port": port},
        daemon=True,
    )
    serving.start()
    reader = optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port)
    reader.wait_server_ready(timeout=60)
    assert len(optuna.load_study(study_name="s", storage=reader).trials) == 6
    reader.close()
