"""The ledger: written once, read back whole, from several threads, after any end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from fakes import candidate, rollouts

from optimizers.errors import LeadershipLost, StudyError
from optimizers.records.candidate import Candidate
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import Parameter
from optimizers.records.rows import Block, TrialRow

ONE = candidate("local/small", "one")


def trial(number: int) -> TrialRow:
    block = Block.of(rollouts(ONE, [1.0, 0.0], cost=1e-6))
    return TrialRow(
        number=number,
        round=1,
        candidate=ONE.id,
        choices={
            Parameter(None, None, "model"): "local/small",
            Parameter("small.1", "steps.0", "demos"): 4,
            Parameter("small", "1.steps.0", "draw", ("balanced",)): 0.7,
            Parameter("small", None, "rendering"): None,
        },
        values=(0.5, 0.001),
        ran=((ONE.id, block), ("other", block)),
        began=datetime(2026, 1, 2, 3, 4, 5, 600),
        ended=datetime(2026, 1, 2, 3, 4, 9),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def test_rows_come_back_as_they_were_written(ledger: Ledger) -> None:
    written = rollouts(ONE, [1.0, None, 0.5], cost=1e-6)
    ledger.add(written)
    assert ledger.rollouts() == written


def test_a_pair_is_written_once_and_never_changed(ledger: Ledger) -> None:
    ledger.add(rollouts(ONE, [1.0], cost=1e-6))
    ledger.add(rollouts(ONE, [0.0], cost=9e-6))
    assert [(r.score, r.cost) for r in ledger.rollouts()] == [(1.0, 1e-6)]


def test_candidates_and_splits_can_be_read_alone(ledger: Ledger) -> None:
    other = candidate("local/small", "other")
    ledger.add_candidate(ONE)
    ledger.add_candidate(ONE)
    ledger.add(rollouts(ONE, [1.0], cost=1e-6) + rollouts(other, [0.0], cost=1e-6))
    ledger.add(rollouts(ONE, [1.0], cost=1e-6, split="test"))
    (found,) = ledger.candidates().values()
    assert found == ledger.candidate(ONE.id) == ONE
    assert found.id == Candidate.model_validate(found.model_dump()).id == ONE.id
    assert len(ledger.rollouts(candidate=ONE.id)) == 2
    assert [r.candidate for r in ledger.rollouts(split="test")] == [ONE.id]


def test_what_could_not_be_committed_is_not_written_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(connection: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(ledger.engine.dialect, "do_commit", busy)
        with pytest.raises(StudyError, match="database is locked"):
            ledger.put("first", "lost")
    assert ledger.get("first") is None
    ledger.put("second", "there")
    assert (ledger.get("first"), ledger.get("second")) == (None, "there")


def test_only_failures_of_the_same_round_are_taken_back(ledger: Ledger) -> None:
    first = rollouts(ONE, [1.0, None], cost=1e-6)
    again = [rollout.model_copy(update={"number": 1}) for rollout in rollouts(ONE, [0.0, None], cost=1e-6)]
    ledger.add([*first, *again])
    ledger.withdraw(ONE.id, ["dev0", "dev1"], 1)
    assert sorted((r.number, r.score) for r in ledger.rollouts() if r.score is not None) == [
        (0, 1.0),
        (1, 0.0),
    ]
    assert [(r.number, r.example) for r in ledger.rollouts() if r.failure] == [(0, "dev1")]


def test_the_test_set_is_opened_once(ledger: Ledger) -> None:
    assert ledger.test_opening() is None
    first = ledger.open_test({ONE.id: ("frontier",)})
    assert ledger.open_test({ONE.id: ("frontier",)}) == first
    with pytest.raises(StudyError, match="opened before"):
        ledger.open_test({"someone else": ("frontier",)})


def test_many_threads_lose_nothing(ledger: Ledger) -> None:
    rows = rollouts(ONE, [1.0] * 200, cost=1e-6)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: ledger.add([row]), rows + rows))
    assert len(ledger.rollouts()) == 200


def test_what_was_written_is_there_when_the_process_is_gone(tmp_path: Path) -> None:
    abandoned = Ledger.open(tmp_path / "ledger.db")
    abandoned.add(rollouts(ONE, [1.0] * 3, cost=1e-6))
    with Ledger.open(tmp_path / "ledger.db") as again:
        assert len(again.rollouts()) == 3


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StudyError, match="cannot be read"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StudyError, match="version 99"):
        Ledger.open(tmp_path / "ledger.db")


def test_trials_come_back_as_they_were_and_all_or_none_are_written(ledger: Ledger) -> None:
    rows = [trial(number) for number in range(3)]
    ledger.add_trials(rows)
    assert ledger.trials() == rows
    with pytest.raises(LeadershipLost):
        ledger.add_trials([trial(3), trial(2)])
    assert len(ledger.trials()) == 3
