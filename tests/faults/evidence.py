"""What a study leaves behind, and whether one that was killed left the same as one left alone."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from faults.server import read_log


@dataclass(frozen=True)
class Evidence:
    """What a study left behind.

    Attributes:
        rollouts: (candidate, example, number) -> everything of the rollout that is not a time.
        rows: Rows the rollouts were read from.
        written: When each rollout was written, in order, seconds since the epoch.
        openings: Times the sealed test was opened, as (split, roles).
        calls: State of a call -> how many; None without a table of calls.
        points: The report's points without times; None without a report.
        requests: What the server wrote down; None without a server.
    """

    rollouts: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)
    rows: int = 0
    written: list[float] = field(default_factory=list)
    openings: list[tuple[str, str]] = field(default_factory=list)
    calls: dict[str, int] | None = None
    points: Any = None
    requests: list[dict[str, Any]] | None = None


def select(ledger: sqlite3.Connection, query: str) -> list[tuple[Any, ...]] | None:
    """The rows of a query; None while there is no such table."""
    try:
        return ledger.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise


def gather(folder: Path, log: Path | None = None) -> Evidence:
    """Read what a study has left behind so far."""
    report = folder / "frontier.json"
    columns = "candidate, example, number, split, score, failure, parsed, output"
    columns += ", prompt_tokens, completion_tokens, cost, created"
    with tempfile.TemporaryDirectory() as apart:
        # A copy: to open what a killed process left is to repair it, which is for the study to do.
        for file in folder.glob("ledger.db*"):
            shutil.copy(file, apart)
        with closing(sqlite3.connect(Path(apart) / "ledger.db")) as ledger:
            rows = select(ledger, f"SELECT {columns} FROM rollouts ORDER BY created") or []
            openings = select(ledger, "SELECT split, roles FROM openings") or []
            calls = select(ledger, "SELECT state, COUNT(*) FROM calls GROUP BY state")
    return Evidence(
        rollouts={row[:3]: row[3:-1] for row in rows},
        rows=len(rows),
        written=[datetime.fromisoformat(row[-1]).timestamp() for row in rows],
        openings=[(str(split), str(roles)) for split, roles in openings],
        calls=None if calls is None else {str(state): int(count) for state, count in calls},
        points=_timeless(json.loads(report.read_text())["points"]) if report.exists() else None,
        requests=read_log(log) if log else None,
    )


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not key.startswith(("latency", "seconds"))}
        return {key: _timeless(item) for key, item in kept.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def checks(control: Evidence, killed: Evidence) -> dict[str, bool]:
    """What must hold for the killed study to be the one left alone.

    The contents must be equal only where a server answers by the request alone. A local
    engine decodes long replies of several rollouts in one batch, and floating-point sums
    depend on who shares it: another greedy token may win.
    """
    keys, known = killed.rollouts.keys(), control.rollouts.keys()
    found = {
        f"the same rollouts ({len(known - keys)} lacking, {len(keys - known)} more)": keys == known,
        f"no rollout twice ({killed.rows - len(keys)})": killed.rows == len(keys),
        "the test opened once, for the same candidates": len(killed.openings) == 1
        and killed.openings == control.openings,
    }
    if killed.requests is not None:
        same = all(killed.rollouts[key] == control.rollouts[key] for key in keys & known)
        near = killed.points is not None and _rounded(killed.points) == _rounded(control.points)
        found |= {
            "the same content in each": same,
            "the same points in the report": near,
            "the same to the last bit": killed.points == control.points,
        }
    if killed.calls is None:
        return found | {"calls on record (the ledger has no table calls)": False}
    if killed.requests is None or control.requests is None:
        return found
    rows, doubt = sum(killed.calls.values()), in_doubt(killed.calls)
    received, completed = server_counts(killed.requests)
    finished = killed.calls.get("finished", 0)
    new = {r["body"] for r in killed.requests} ^ {r["body"] for r in control.requests}
    return found | {
        "every request received is a call on record": received <= rows,
        "calls never received are all in doubt": rows - received <= doubt,
        "every finished call was answered": finished <= completed,
        "answers without a finished call are all in doubt": completed - finished <= doubt,
        f"the same requests by content ({len(new)} differ)": not new,
    }


def _rounded(value: Any) -> Any:
    """Numbers to nine digits: sums of the same numbers in another order differ in the last ones."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def in_doubt(calls: dict[str, int]) -> int:
    """Calls whose process died before they ended."""
    return calls.get("started", 0) + calls.get("lost", 0)


def server_counts(requests: list[dict[str, Any]]) -> tuple[int, int]:
    """Requests received, and answered to the end."""
    return len(requests), sum(bool(request["complete"]) for request in requests)


def facts(evidence: Evidence) -> dict[str, str]:
    """A study's counts, for the table."""
    found = {"rollouts": str(len(evidence.rollouts)), "test openings": str(len(evidence.openings))}
    if evidence.calls is None:
        found["calls in the ledger"] = "no table `calls`"
    else:
        found["calls in the ledger"] = str(sum(evidence.calls.values()))
        found |= {f"- {state}": str(evidence.calls.get(state, 0)) for state in ("finished", "failed")}
        found["- in doubt"] = str(in_doubt(evidence.calls))
    if evidence.requests is not None:
        received, completed = server_counts(evidence.requests)
        bodies = len({request["body"] for request in evidence.requests})
        found |= {"requests received": str(received), "answered to the end": str(completed)}
        found["different requests"] = str(bodies)
    return found
