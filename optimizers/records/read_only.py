"""A ledger that is only read: in a folder that may be read-only, while a study may be writing it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from optimizers.errors import StudyError
from optimizers.records.ledger import Ledger
from optimizers.records.tables import SCHEMA_VERSION, metadata

BESIDE = ("", "-wal", "-journal")
"""What SQLite keeps next to a file and reads with it: committed rows may be only there."""


@contextmanager
def reading(path: Path) -> Iterator[Ledger]:
    """A ledger to read alone, while the block runs; nothing is added to it or left next to it.

    It is read where it is, as SQLite's write-ahead log allows while a process writes. Where SQLite
    cannot, as it needs files next to it that a read-only folder lacks, a copy of the moment is read. (To
    declare the file immutable would do without, but what is in the log alone would be missing unseen.)

    Args:
        path: The ledger.

    Raises:
        StudyError: The file is missing, cannot be read, or is no ledger, or one of a newer version.
    """
    ledger = _in_place(path)
    if ledger is not None:
        with ledger:
            yield ledger
        return
    with TemporaryDirectory(prefix="parity-") as folder, _copied(path, Path(folder)) as copy:
        yield copy


def _in_place(path: Path) -> Ledger | None:
    """The ledger where it is; None where SQLite cannot read it there, or it has not all tables."""
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.QueuePool)
    try:
        with engine.connect() as connection:
            version = connection.execute(sa.text("PRAGMA user_version")).scalar_one()
            if version == SCHEMA_VERSION and set(sa.inspect(connection).get_table_names()) >= set(
                metadata.tables
            ):
                return Ledger(engine, str(path))
    except sa.exc.DatabaseError:
        pass  # the copy says what is wrong with it, if anything is
    engine.dispose()
    return None


def _connect(path: Path) -> sqlite3.Connection:
    # A connection that may write, and does not, takes its own traces away; one that may not leaves them.
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA busy_timeout = 10000")
    return connection


def _copied(path: Path, folder: Path) -> Ledger:
    copy = folder / path.name
    try:
        for ending in BESIDE:
            if (extra := path.with_name(path.name + ending)).exists():
                shutil.copyfile(extra, copy.with_name(copy.name + ending))
    except OSError as error:
        raise StudyError(
            f"The ledger cannot be read: {error.strerror}",
            where=str(path),
            fix="ask for the right to read it, or for a copy",
        ) from error
    return Ledger.open(copy, of=path)
