"""The ledger: every rollout and every call of a study, written before anything counts it.

SQLite in write-ahead mode or PostgreSQL, through SQLAlchemy. A (candidate, example, number) is written
once: a second row for it is left out, so a rollout can never be counted twice. A call is
written with the most it may use before it is sent, and with what it used when it ends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from optimizers.errors import LeadershipLost, StudyError
from optimizers.records import tables
from optimizers.records.budget import Use
from optimizers.records.candidate import Candidate
from optimizers.records.report import Role
from optimizers.records.rows import Call, ExampleRow, Rollout, Split, Trace, TrialRow
from optimizers.records.storage import reading_from, server_engine, shown, sqlite_engine, writing_to

# Said once: to put a statement together takes longer than to run it, and these run for every call.
_start_call = sa.insert(tables.calls).returning(tables.calls.c.id)
_end_call = sa.update(tables.calls).where(tables.calls.c.id == sa.bindparam("number"))
_touch = sa.update(tables.sessions).where(tables.sessions.c.id == sa.bindparam("session"))


@dataclass(frozen=True)
class Opening:
    """The record that the sealed test set was opened.

    Attributes:
        opened: When, ISO 8601 in UTC.
        roles: Candidate id -> why it is tested.
    """

    opened: str
    roles: dict[str, tuple[Role, ...]]


class Ledger:
    """A study's rollouts, calls, candidates and the opening of its test. Usable from several threads."""

    def __init__(self, engine: sa.Engine, where: str) -> None:
        self.engine, self._where = engine, where
        self._is_file = engine.dialect.name == "sqlite"
        # SQLite takes one writer at a time: threads queue here rather than at its busy timeout, and share
        # a connection, as taking one from the pool costs more than a call's row.
        self._writing = threading.Lock() if self._is_file else nullcontext()
        self._writer: sa.Connection | None = None
        kind = sqlite.insert if self._is_file else postgresql.insert
        self._new = {table: kind(table).on_conflict_do_nothing() for table in tables.metadata.sorted_tables}

    @classmethod
    def open(cls, path: Path, *, of: Path | None = None) -> Self:
        """Open a ledger in a file, made when missing.

        Args:
            path: Its file.
            of: The ledger that the file is a copy of, if it is one: what messages name.

        Raises:
            StudyError: The file is no ledger, or one of a newer version.
        """
        return cls(sqlite_engine(path, of=of), str(of or path))

    @classmethod
    def connect(cls, url: str, study: str, *, create: bool = False) -> Self:
        """Open a study's ledger on a database server.

        Args:
            url: SQLAlchemy's address of the database.
            study: The study's name.
            create: Whether to make it when missing.

        Raises:
            UsageError: The address cannot be used.
            StudyError: There is no such study.
            StorageError: The server does not answer.
        """
        engine = server_engine(url, study, create=create)
        return cls(engine, shown(engine.url))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file, or the connections."""
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        self.engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with writing_to(self.engine, self._where), self._writing, self._begin() as connection:
            yield connection

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """A transaction, on the one connection that a file is written by."""
        if not self._is_file:
            with self.engine.begin() as connection:
                yield connection
            return
        if self._writer is None:
            self._writer = self.engine.connect()
        try:
            with self._writer.begin():
                yield self._writer
        except BaseException:
            # Whatever it was, no half of a transaction stays open for the next one to write.
            self._writer.close()
            self._writer = None
            raise

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """A connection to read by; rows are taken apart inside, as a damaged file may hold anything."""
        with reading_from(self.engine, self._where), self.engine.connect() as connection:
            yield connection

    def add_candidate(self, candidate: Candidate) -> None:
        """Write a candidate, unless it is known."""
        row = {"id": candidate.id, "content": candidate.model_dump_json()}
        with self._write() as connection:
            connection.execute(self._new[tables.candidates], row)

    def add(self, rollouts: Sequence[Rollout]) -> None:
        """Write rollouts in one transaction; pairs that are known stay as they are."""
        if not rollouts:
            return
        traces = [
            {
                "candidate": rollout.candidate,
                "example": rollout.example,
                "number": rollout.number,
                "content": rollout.trace.model_dump_json(),
            }
            for rollout in rollouts
            if rollout.trace is not None
        ]
        with self._write() as connection:
            connection.execute(self._new[tables.rollouts], [_row(rollout) for rollout in rollouts])
            if traces:
                connection.execute(self._new[tables.traces], traces)

    def add_trials(self, trials: Sequence[TrialRow]) -> None:
        """Write finished trials that ran together, all or none: who resumes decides as if undisturbed.

        Raises:
            LeadershipLost: Another process wrote trials of these numbers.
        """
        rows = [{"number": trial.number, "content": trial.model_dump_json()} for trial in trials]
        if rows:
            with self._write() as connection:
                try:
                    connection.execute(sa.insert(tables.trials), rows)
                except sa.exc.IntegrityError:
                    raise LeadershipLost from None

    def trials(self) -> list[TrialRow]:
        """Every finished trial, in order."""
        with self._read() as connection:
            rows = connection.execute(
                sa.select(tables.trials.c.content).order_by(tables.trials.c.number)
            ).scalars()
            return [TrialRow.model_validate_json(content) for content in rows]

    def put(self, key: str, content: str) -> None:
        """Write the outcome of a piece of work that is not to be done twice, unless it is known."""
        with self._write() as connection:
            connection.execute(self._new[tables.kept], {"key": key, "content": content})

    def replace(self, key: str, content: str) -> None:
        """Write the value of a key anew."""
        with self._write() as connection:
            connection.execute(sa.delete(tables.kept).where(tables.kept.c.key == key))
            connection.execute(self._new[tables.kept], {"key": key, "content": content})

    def get(self, key: str) -> str | None:
        """The outcome of a piece of work, or None where it was not done to its end."""
        with self._read() as connection:
            found = connection.execute(
                sa.select(tables.kept.c.content).where(tables.kept.c.key == key)
            ).scalar()
            return None if found is None else str(found)

    def withdraw(self, candidate: str, examples: Sequence[str], number: int) -> None:
        """Take back failures that say nothing of the candidate: the server was down, or a key was wrong."""
        table = tables.rollouts.c
        theirs = sa.and_(table.candidate == candidate, table.example.in_(examples), table.number == number)
        taken = sa.and_(theirs, table.failure.is_not(None))
        same = sa.and_(
            *(tables.rollouts.c[key] == tables.traces.c[key] for key in ("candidate", "example", "number"))
        )
        with self._write() as connection:
            # A trace that stayed would be taken for that of the run to come.
            connection.execute(sa.delete(tables.traces).where(sa.exists().where(same, taken)))
            connection.execute(sa.delete(tables.rollouts).where(taken))

    def add_examples(self, examples: Sequence[ExampleRow]) -> None:
        """Write the examples a study measures on, unless they are known."""
        rows = [
            {**row.model_dump(), "inputs": json.dumps(row.inputs), "gold": json.dumps(row.gold)}
            for row in examples
        ]
        with self._write() as connection:
            connection.execute(self._new[tables.examples], rows)

    def examples(self) -> dict[str, ExampleRow]:
        """Example id -> example, of dev and test."""
        with self._read() as connection:
            rows = connection.execute(sa.select(tables.examples)).mappings().all()
            return {
                row["id"]: ExampleRow.model_validate(
                    {**row, "inputs": json.loads(row["inputs"]), "gold": json.loads(row["gold"])}
                )
                for row in rows
            }

    def lose_calls(self, now: float) -> None:
        """Note that calls without an end are ``lost``, their process dead: they keep their most."""
        table = tables.calls
        with self._write() as connection:
            connection.execute(
                sa.update(table).where(table.c.state == "started").values(state="lost", ended=now)
            )

    def begin_session(self, now: float) -> int:
        """Note that a process starts to work on the study; returns its number."""
        with self._write() as connection:
            added = sa.insert(tables.sessions).values(began=now, last=now).returning(tables.sessions.c.id)
            return int(connection.execute(added).scalar_one())

    def start_call(self, call: Call) -> int:
        """Write a call that is about to be sent, with the most it may use; returns its number."""
        with self._write() as connection:
            return int(connection.execute(_start_call, call.model_dump(exclude={"id"})).scalar_one())

    def end_call(self, number: int, ended: float, **changes: Any) -> None:
        """Write how a call ended: its state and what it used."""
        with self._write() as connection:
            connection.execute(_end_call, {"number": number, "ended": ended, **changes})

    def touch(self, session: int, now: float) -> None:
        """Show that a session lives."""
        with self._write() as connection:
            connection.execute(_touch, {"session": session, "last": now})

    def calls(self) -> list[Call]:
        """Every call sent, in order."""
        with self._read() as connection:
            rows = connection.execute(sa.select(tables.calls).order_by(tables.calls.c.id)).mappings()
            return [Call.model_validate(dict(row)) for row in rows]

    def used(self) -> Use:
        """What all processes together have used so far; calls without an end count at their most."""
        tokens = tables.calls.c.prompt_tokens + tables.calls.c.completion_tokens
        totals = sa.select(
            sa.func.count(), sa.func.sum(tokens), sa.func.sum(tables.calls.c.cost)
        ).select_from(tables.calls)
        with self._read() as connection:
            calls, spent, dollars = connection.execute(totals).one()
            seconds = connection.execute(
                sa.select(sa.func.sum(tables.sessions.c.last - tables.sessions.c.began))
            ).scalar()
            return Use(calls=calls, tokens=spent or 0, dollars=dollars or 0.0, seconds=seconds or 0.0)

    def count_calls(self, column: Literal["phase", "state"]) -> dict[str, int]:
        """Calls by phase or by state."""
        query = sa.select(tables.calls.c[column], sa.func.count()).group_by(tables.calls.c[column])
        with self._read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def candidates(self) -> dict[str, Candidate]:
        """Candidate id -> candidate."""
        with self._read() as connection:
            rows = connection.execute(sa.select(tables.candidates.c.id, tables.candidates.c.content)).all()
            return {row.id: Candidate.from_record(row.id, row.content) for row in rows}

    def candidate(self, identity: str) -> Candidate:
        """The candidate of an id that is known."""
        table = tables.candidates.c
        with self._read() as connection:
            found = connection.execute(sa.select(table.content).where(table.id == identity)).scalar_one()
            return Candidate.from_record(identity, found)

    def rollouts(self, *, candidate: str | None = None, split: Split | None = None) -> list[Rollout]:
        """Rollouts in the order they were written.

        Args:
            candidate: Only this candidate's.
            split: Only this split's.
        """
        same = sa.and_(
            *(tables.rollouts.c[key] == tables.traces.c[key] for key in ("candidate", "example", "number"))
        )
        query = (
            sa.select(tables.rollouts, tables.traces.c.content.label("trace"))
            .outerjoin(tables.traces, same)
            .order_by(sa.text("rollouts.rowid") if self._is_file else tables.rollouts.c.created)
        )
        if candidate is not None:
            query = query.where(tables.rollouts.c.candidate == candidate)
        if split is not None:
            query = query.where(tables.rollouts.c.split == split)
        with self._read() as connection:
            return [_rollout(row) for row in connection.execute(query).mappings()]

    def open_test(self, roles: Mapping[str, tuple[Role, ...]]) -> Opening:
        """Record that the sealed test set is opened for these candidates.

        Raises:
            StudyError: It was opened before, for others.
        """
        content = json.dumps({identity: list(found) for identity, found in sorted(roles.items())})
        row = {"split": "test", "opened": datetime.now(UTC).isoformat(), "roles": content}
        with self._write() as connection:
            connection.execute(self._new[tables.openings], row)
        opening = self.test_opening()
        if opening is None or opening.roles != dict(roles):
            raise StudyError(
                "The sealed test set was opened before, for other candidates.", where=self._where
            )
        return opening

    def test_opening(self) -> Opening | None:
        """When and for whom the test set was opened, or None while it is sealed."""
        with self._read() as connection:
            row = connection.execute(
                sa.select(tables.openings).where(tables.openings.c.split == "test")
            ).first()
            if row is None:
                return None
            roles = json.loads(row.roles)
            return Opening(row.opened, {identity: tuple(found) for identity, found in roles.items()})


def _row(rollout: Rollout) -> dict[str, Any]:
    row = rollout.model_dump(exclude={"trace"})
    return {**row, "output": json.dumps(row["output"]), "created": rollout.created.isoformat()}


def _rollout(row: Mapping[Any, Any]) -> Rollout:
    trace = None if row["trace"] is None else Trace.model_validate_json(row["trace"])
    return Rollout.model_validate({**row, "output": json.loads(row["output"]), "trace": trace})
