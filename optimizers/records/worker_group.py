"""The processes that work on one study: who lives, who leads, what is to be run, and what all have used.

One process leads: it decides what is run, as a process alone would, and posts the rollouts as jobs.
All of them, the leader too, take jobs. Whoever shows no sign of life for as long as a lease is dead:
its jobs are free again, its calls in flight are lost, and another one may lead. Time is the server's,
so that no two machines' clocks are held against each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.dialects.postgresql import insert

from optimizers.records.budget import Budget, Use
from optimizers.records.rows import Call, Phase, Split
from optimizers.records.storage import shown, writing_to
from optimizers.records.tables import calls, flights, jobs, leads, purses, workers

LEASE = 10.0
"""Seconds without a sign of life after which a process counts as dead."""

STUDY = 1
"""The one row of the tables that have one: each study has a schema of its own."""

UNITS = ("calls", "tokens", "dollars")
TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens")

_now = sa.func.extract("epoch", sa.func.clock_timestamp())
_pair = (jobs.c.candidate, jobs.c.example, jobs.c.number)
_flying = sa.select(sa.exists(sa.select(flights.c.call)))
_reserved = [
    sa.select(sa.func.coalesce(sa.func.sum(amount), 0))
    .where(calls.c.id.in_(sa.select(flights.c.call)))
    .scalar_subquery()
    for amount in (sa.literal(1), calls.c.prompt_tokens + calls.c.completion_tokens, calls.c.cost)
]
"""Calls, tokens and dollars of the calls in flight, at their most."""

_purse = sa.select(purses.c.calls, purses.c.tokens, purses.c.dollars)


def _given(column: sa.ColumnElement[Any], name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=column.type)


def _reservation() -> sa.Select[Any]:
    """In one statement: spend the most a call may use, where that fits, and write the call."""
    spent = (
        sa.update(purses)
        .where(*(purses.c[unit] <= sa.bindparam(f"room_{unit}", type_=sa.Float) for unit in UNITS))
        .values({unit: purses.c[unit] + _given(purses.c[unit], f"more_{unit}") for unit in UNITS})
        .returning(purses.c.study)
        .cte("spent")
    )
    columns = [column for column in calls.c if column.name != "id"]
    row = sa.select(*(_given(column, f"call_{column.name}") for column in columns)).select_from(spent)
    new = sa.insert(calls).from_select(columns, row).returning(calls.c.id).cte("new")
    worker = sa.select(new.c.id, _given(flights.c.worker, "worker"))
    flight = sa.insert(flights).from_select([flights.c.call, flights.c.worker], worker).cte("flight")
    return sa.select(new.c.id).add_cte(flight)


def _settlement() -> sa.Update:
    """In one statement: take a call out of flight, write how it ended, and correct what is spent."""
    landed = sa.delete(flights).where(flights.c.call == sa.bindparam("call")).returning(flights.c.call)
    gone = landed.cte("landed")
    changed: dict[str, Any] = {
        # What is not said stays as it was reserved.
        name: sa.func.coalesce(_given(calls.c[name], f"call_{name}"), calls.c[name])
        for name in ("state", "cost", *TOKENS)
    }
    ended = sa.update(calls).where(calls.c.id == gone.c.call).values(**changed, ended=_now).cte("ended")
    spent = {unit: purses.c[unit] + _given(purses.c[unit], f"more_{unit}") for unit in UNITS}
    return sa.update(purses).where(sa.exists(sa.select(gone.c.call))).values(spent).add_cte(ended)


_reserve, _settle = _reservation(), _settlement()


class JobLimits(BaseModel):
    """Under what limits a job's calls are made: what the leader's account says when it posts the job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Phase
    budget: Budget
    calls: float = 0
    tokens: float = 0
    dollars: float = 0.0

    @property
    def held_back(self) -> Use:
        """What the phase must leave untouched for a later one."""
        return Use(self.calls, self.tokens, self.dollars)


class Job(BaseModel):
    """One rollout that is to be run.

    Attributes:
        id: Its number, in the order of posting; None before.
        candidate: The candidate's id.
        example: The example's id.
        number: Rollout number.
        split: Which part of the data the example belongs to.
        model: The candidate's model.
        limits: Its limits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int | None = None
    candidate: str
    example: str
    number: int
    split: Split
    model: str
    limits: JobLimits


class WorkerGroup:
    """One process's membership in the group of a study. Usable from several threads.

    Args:
        engine: The study's tables, from :func:`optimizers.records.storage.server_engine`.
        name: What the process is called where people read of it.
        lease: Seconds without a sign of life after which a process counts as dead.
    """

    def __init__(self, engine: sa.Engine, name: str, lease: float = LEASE) -> None:
        self._engine, self._lease = engine, lease
        self._at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
        with self._begin() as connection:
            empty = {"study": STUDY, "calls": 0, "tokens": 0, "dollars": 0.0}
            connection.execute(insert(purses).on_conflict_do_nothing(), empty)
            joined = sa.insert(workers).values(name=name, last=_now).returning(workers.c.id)
            self.id = int(connection.execute(joined).scalar_one())

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with writing_to(self._engine, shown(self._engine.url)), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _single(self) -> Iterator[sa.Connection]:
        """For one statement: it needs no round trips to begin and to commit."""
        with writing_to(self._engine, shown(self._engine.url)), self._at_once.connect() as connection:
            yield connection

    def beat(self) -> None:
        """Show that this process lives, and clear up after those that do not."""
        with self._begin() as connection:
            mine = sa.update(workers).where(workers.c.id == self.id).values(last=_now)
            if not connection.execute(mine).rowcount:
                # Taken for dead while it only stalled: it joins again, and its earlier jobs are others'.
                connection.execute(sa.insert(workers).values(id=self.id, name="returned", last=_now))
            dead = sa.delete(workers).where(workers.c.last < _now - self._lease).returning(workers.c.id)
            gone = connection.execute(dead).scalars().all()
            if gone:
                _clear(connection, gone)

    def leave(self) -> None:
        """Give back what this process holds: its jobs, its calls in flight, the lead."""
        with self._begin() as connection:
            connection.execute(sa.delete(workers).where(workers.c.id == self.id))
            _clear(connection, [self.id])

    def lead(self) -> bool:
        """Take the lead where nobody holds it; returns whether this process leads.

        What an earlier leader posted and nobody began is taken back: the new one may choose otherwise.
        """
        taken = insert(leads).on_conflict_do_nothing().returning(leads.c.study)
        with self._begin() as connection:
            if connection.execute(taken, {"study": STUDY, "worker": self.id}).scalar() is not None:
                connection.execute(sa.delete(jobs).where(jobs.c.state == "waiting"))
            return connection.execute(sa.select(leads.c.worker)).scalar() == self.id

    def leads(self) -> bool:
        """Whether this process still leads."""
        with self._single() as connection:
            return connection.execute(sa.select(leads.c.worker)).scalar() == self.id

    def members(self) -> list[str]:
        """Names of the processes that live, in the order they joined."""
        with self._single() as connection:
            return list(connection.execute(sa.select(workers.c.name).order_by(workers.c.id)).scalars())

    def post(self, wanted: Sequence[Job]) -> list[int]:
        """Ask for rollouts; one that is asked for already stays as it is. Returns their numbers.

        One that ended before is to be run again: its rollout was withdrawn.
        """
        rows = [
            job.model_dump(exclude={"id", "limits"})
            | {"limits": job.limits.model_dump_json(), "state": "waiting"}
            for job in wanted
        ]
        if not rows:
            return []
        fresh = insert(jobs).values(rows)
        again = fresh.on_conflict_do_update(
            index_elements=list(_pair),
            set_={key: fresh.excluded[key] for key in ("limits", "state")} | {"worker": None, "error": None},
            where=jobs.c.state == "ended",
        )
        pairs = [(row["candidate"], row["example"], row["number"]) for row in rows]
        with self._begin() as connection:
            connection.execute(again)
            found = connection.execute(sa.select(jobs.c.id, *_pair).where(sa.tuple_(*_pair).in_(pairs)))
            known = {(row.candidate, row.example, row.number): row.id for row in found}
        return [known[pair] for pair in pairs]

    def cancel(self, numbers: Collection[int]) -> set[int]:
        """Take back jobs that nobody has taken yet; returns which."""
        waiting = sa.delete(jobs).where(jobs.c.id.in_(numbers), jobs.c.state == "waiting")
        with self._single() as connection:
            return set(connection.execute(waiting.returning(jobs.c.id)).scalars())

    def take(self, room: Mapping[str, int]) -> list[Job]:
        """Take jobs, the oldest first.

        Args:
            room: Model -> how many of its rollouts this process can begin now.
        """
        names, most = [name for name, places in room.items() if places > 0], sum(room.values())
        if not names:
            return []
        waiting = (
            sa.select(jobs)
            .where(jobs.c.state == "waiting", jobs.c.model.in_(names))
            .order_by(jobs.c.id)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        left = dict(room)
        taken = []
        with self._begin() as connection:
            for row in connection.execute(waiting).mappings():
                if left[row["model"]] > 0:
                    left[row["model"]] -= 1
                    taken.append(_job(row))
            if taken:
                mine = sa.update(jobs).where(jobs.c.id.in_([job.id for job in taken]))
                connection.execute(mine.values(state="taken", worker=self.id))
        return taken

    def end(self, number: int, error: str | None = None) -> None:
        """Note that a job was run, its rollout written; or why there is none."""
        ended = sa.update(jobs).where(jobs.c.id == number, jobs.c.worker == self.id)
        with self._single() as connection:
            connection.execute(ended.values(state="ended", error=error))

    def ended(self, numbers: Collection[int]) -> dict[int, str | None]:
        """Of these jobs, those that were run: number -> why it has no rollout, or None."""
        query = sa.select(jobs.c.id, jobs.c.error).where(jobs.c.id.in_(numbers), jobs.c.state == "ended")
        with self._single() as connection:
            return {row.id: row.error for row in connection.execute(query)}

    def reserve(self, call: Call, bound: Use, room: Use) -> int | str | None:
        """Write a call that is about to be sent, if it fits what all have used.

        Args:
            call: The call.
            bound: The most it may use.
            room: The most that may be used without it, of all but time.

        Returns:
            Its number; the unit it would exceed where nobody has a call in flight; None where what is
            in flight may yet make room.
        """
        given = {
            **{f"call_{key}": value for key, value in call.model_dump(exclude={"id"}).items()},
            **{f"more_{unit}": getattr(bound, unit) for unit in UNITS},
            **{f"room_{unit}": getattr(room, unit) for unit in UNITS},
            "worker": self.id,
        }
        with self._single() as connection:
            number = connection.execute(_reserve, given).scalar()
            if number is not None:
                return int(number)
            if connection.execute(_flying).scalar():
                return None
        return replace(self.used(), seconds=0.0).beyond(replace(room, seconds=0.0))

    def settle(self, number: int, bound: Use, use: Use, **changes: Any) -> None:
        """Write how a call ended, and what it used in place of what was reserved.

        Nothing is written where this process was taken for dead: the call is lost, and counts at its most.
        """
        more = use + bound * -1
        given = {"call": number, **{f"more_{unit}": getattr(more, unit) for unit in UNITS}}
        settled = {"cost": None, **dict.fromkeys(TOKENS), **changes}
        with self._single() as connection:
            connection.execute(_settle, given | {f"call_{key}": value for key, value in settled.items()})

    def used(self) -> Use:
        """What all processes together have used, time left out; calls in flight at their most."""
        with self._single() as connection:
            row = connection.execute(_purse).one()
        return Use(row.calls, row.tokens, row.dollars)

    def booked(self) -> Use:
        """What calls that have ended used, time left out."""
        with self._single() as connection:
            row = connection.execute(_purse.add_columns(*_reserved)).one()
        return Use(row[0] - row[3], row[1] - row[4], row[2] - row[5])


def _clear(connection: sa.Connection, gone: Collection[int]) -> None:
    """Free what dead processes held. Their calls in flight count at the most they may have used."""
    connection.execute(sa.delete(leads).where(leads.c.worker.in_(gone)))
    connection.execute(
        sa.update(jobs)
        .where(jobs.c.worker.in_(gone), jobs.c.state == "taken")
        .values(state="waiting", worker=None)
    )
    lost = sa.delete(flights).where(flights.c.worker.in_(gone)).returning(flights.c.call)
    numbers = connection.execute(lost).scalars().all()
    if numbers:
        connection.execute(sa.update(calls).where(calls.c.id.in_(numbers)).values(state="lost", ended=_now))


def _job(row: Mapping[Any, Any]) -> Job:
    known = {key: row[key] for key in ("id", "candidate", "example", "number", "split", "model")}
    return Job(**known, limits=JobLimits.model_validate_json(row["limits"]))
