"""A ledger that is read alone: what is committed is seen, whoever writes, and nothing is left beside it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import bound_by_permissions, candidate, rollouts

from optimizers.errors import StudyError
from optimizers.records.ledger import Ledger
from optimizers.records.read_only import reading

ONE = candidate("local/small", "one")

COUNT = """
import os, sys
from pathlib import Path
from optimizers.records.read_only import reading
path = Path(sys.argv[1])
assert not os.access(path.parent, os.W_OK)
with reading(path) as ledger:
    print(len(ledger.rollouts()), len(ledger.candidates()))
"""


def written(folder: Path) -> Ledger:
    """An open ledger with three rollouts, which stand in its log."""
    folder.mkdir()
    ledger = Ledger.open(folder / "ledger.db")
    ledger.add_candidate(ONE)
    ledger.add(rollouts(ONE, [1.0, 0.0, 1.0], cost=1e-6))
    return ledger


def test_what_a_running_study_has_committed_is_seen_and_nothing_is_left(tmp_path: Path) -> None:
    with written(tmp_path / "s") as ledger, reading(tmp_path / "s/ledger.db") as read:
        assert len(read.rollouts()) == 3
        ledger.add(rollouts(ONE, [0.0] * 4, cost=1e-6))
        assert len(read.rollouts()) == 4
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["ledger.db"]
    with reading(tmp_path / "s/ledger.db") as read:
        assert len(read.rollouts()) == 4
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["ledger.db"]


def test_nothing_can_be_written(tmp_path: Path) -> None:
    written(tmp_path / "s").close()
    with reading(tmp_path / "s/ledger.db") as read, pytest.raises(Exception, match="readonly"):
        read.put("key", "content")


@pytest.mark.parametrize("left", [["ledger.db"], ["ledger.db", "ledger.db-wal"], None])
def test_a_copy_in_a_read_only_folder_is_read_whole(tmp_path: Path, left: list[str] | None) -> None:
    """As a study left it at its end; as one that was killed did, without its shared memory, and with it."""
    ledger, copy = written(tmp_path / "s"), tmp_path / "copy"
    if left == ["ledger.db"]:
        ledger.close()
    copy.mkdir()
    for path in (tmp_path / "s").iterdir():
        if left is None or path.name in left:
            Path(shutil.copy(path, copy)).chmod(0o444)
    ledger.close()
    copy.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(copy / "ledger.db")],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=bound_by_permissions,
    )
    copy.chmod(0o755)
    assert done.stdout == "3 1\n", done.stderr


def test_a_ledger_of_before_a_table_came_is_read_and_stays_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "s").close()
    path = tmp_path / "s/ledger.db"
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE kept")
    with reading(path) as read:
        assert read.get("key") is None
        assert len(read.rollouts()) == 3
    assert "kept" not in {row[0] for row in sqlite3.connect(path).execute("SELECT name FROM sqlite_master")}


def test_a_file_that_is_no_ledger_or_a_newer_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all, but long enough for one" * 20)
    with pytest.raises(StudyError, match="cannot be read") as error, reading(path):
        pass
    assert error.value.where == str(path)
    path.unlink()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(StudyError, match="version 99") as error, reading(path):
        pass
    assert error.value.where == str(path)
