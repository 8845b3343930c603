"""The ledger: every rollout of a study, written before anything counts it.

SQLite in write-ahead mode through SQLAlchemy. A (candidate, example, number) is written
once: a second row for it is left out, so a rollout can never be counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from optimizers.candidate import Candidate
from optimizers.errors import StudyError
from optimizers.frontier.report import Role
from optimizers.records.rows import Rollout, Split

SCHEMA_VERSION = 1

_tables = sa.MetaData()
_candidates = sa.Table(
    "candidates",
    _tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)
_rollouts = sa.Table(
    "rollouts",
    _tables,
    sa.Column("candidate", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("split", sa.String, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("failure", sa.String),
    sa.Column("parsed", sa.Boolean, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("cost", sa.Float, nullable=False),
    sa.Column("latency", sa.Float, nullable=False),
    sa.Column("created", sa.String, nullable=False),
)
_openings = sa.Table(
    "openings",
    _tables,
    sa.Column("split", sa.String, primary_key=True),
    sa.Column("opened", sa.String, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
)


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
    """A study's rollouts, candidates and the opening of its test. Usable from several threads."""

    def __init__(self, engine: sa.Engine, path: Path) -> None:
        self._engine, self._path = engine, path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a ledger, made when missing.

        Raises:
            StudyError: The file is no ledger, or one of a newer version.
        """
        engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(engine, "connect", _configure)
        try:
            with engine.begin() as connection:
                version = connection.execute(sa.text("PRAGMA user_version")).scalar_one()
                if version > SCHEMA_VERSION:
                    raise StudyError(
                        f"The ledger has version {version}; this Parity reads version {SCHEMA_VERSION}.",
                        where=str(path),
                        fix="update prompt-parity",
                    )
                _tables.create_all(connection)
                connection.execute(sa.text(f"PRAGMA user_version = {SCHEMA_VERSION}"))
        except sa.exc.DatabaseError as error:
            raise StudyError(
                f"The ledger cannot be read: {error.orig}",
                where=str(path),
                fix="restore the file, or start a new study with --study NAME",
            ) from error
        return cls(engine, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def add_candidate(self, candidate: Candidate) -> None:
        """Write a candidate, unless it is known."""
        row = {"id": candidate.id, "content": candidate.model_dump_json()}
        with self._engine.begin() as connection:
            connection.execute(insert(_candidates).on_conflict_do_nothing(), row)

    def add(self, rollouts: Sequence[Rollout]) -> None:
        """Write rollouts in one transaction; pairs that are known stay as they are."""
        if not rollouts:
            return
        with self._engine.begin() as connection:
            connection.execute(
                insert(_rollouts).on_conflict_do_nothing(), [_row(rollout) for rollout in rollouts]
            )

    def candidates(self) -> dict[str, Candidate]:
        """Candidate id -> candidate."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_candidates.c.id, _candidates.c.content)).all()
        return {row.id: Candidate.model_validate_json(row.content) for row in rows}

    def rollouts(self, *, candidate: str | None = None, split: Split | None = None) -> list[Rollout]:
        """Rollouts in the order they were written.

        Args:
            candidate: Only this candidate's.
            split: Only this split's.
        """
        query = sa.select(_rollouts).order_by(sa.text("rowid"))
        if candidate is not None:
            query = query.where(_rollouts.c.candidate == candidate)
        if split is not None:
            query = query.where(_rollouts.c.split == split)
        with self._engine.connect() as connection:
            return [_rollout(row) for row in connection.execute(query).mappings()]

    def open_test(self, roles: Mapping[str, tuple[Role, ...]]) -> Opening:
        """Record that the sealed test set is opened for these candidates.

        Raises:
            StudyError: It was opened before, for others.
        """
        content = json.dumps({identity: list(found) for identity, found in sorted(roles.items())})
        row = {"split": "test", "opened": datetime.now(UTC).isoformat(), "roles": content}
        with self._engine.begin() as connection:
            connection.execute(insert(_openings).on_conflict_do_nothing(), row)
        opening = self.test_opening()
        if opening is None or opening.roles != dict(roles):
            raise StudyError(
                "The sealed test set was opened before, for other candidates.", where=str(self._path)
            )
        return opening

    def test_opening(self) -> Opening | None:
        """When and for whom the test set was opened, or None while it is sealed."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_openings).where(_openings.c.split == "test")).first()
        if row is None:
            return None
        return Opening(
            row.opened, {identity: tuple(found) for identity, found in json.loads(row.roles).items()}
        )


def _configure(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.close()


def _row(rollout: Rollout) -> dict[str, Any]:
    row = rollout.model_dump()
    return {**row, "output": json.dumps(row["output"]), "created": rollout.created.isoformat()}


def _rollout(row: Mapping[Any, Any]) -> Rollout:
    return Rollout.model_validate({**row, "output": json.loads(row["output"])})
