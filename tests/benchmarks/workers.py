"""Several processes on one study: their speed-up, and whether killing them does harm.

    python tests/benchmarks/workers.py
    python tests/benchmarks/workers.py --kills 30

Starts a PostgreSQL server and a model server on loopback that answers after 100 ms, and runs one study
with 1, 2 and 4 workers, planned for 4 each time, so that all make the same decisions. With ``--kills``
three workers run it; every few seconds one of them, drawn at random, is killed with SIGKILL and replaced.
Prints tables for RESULTS.md; exits 1 when a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import postgres
from benchmarks.torture import write_server_workspace
from faults.evidence import Evidence, gather

LATENCY, AT_ONCE, PLANNED = 0.1, 2, 4
"""Seconds before every answer; calls that a worker has in flight; workers that each study is planned for."""

SECONDS = 1800.0
"""Time after which a study has failed, and the model server stops by itself."""

SERVER = Path(__file__).parents[1] / "faults" / "server.py"


@dataclass(frozen=True)
class Place:
    """Where the studies run.

    Attributes:
        workspace: Folder with the program.
        storage: Address of the database.
        log: The model server's log of requests.
    """

    workspace: Path
    storage: str
    log: Path

    def start(self, study: str, number: int, budget: str) -> subprocess.Popen[bytes]:
        """Start a worker; the first one makes the study."""
        options = [
            "--budget",
            budget,
            "--study",
            study,
            "--runs",
            f"{study}-{number}",
            "--storage",
            self.storage,
        ]
        command = [
            sys.executable,
            "-m",
            "optimizers.cli",
            "program.py",
            *options,
            "--workers",
            str(PLANNED),
        ]
        dropped = ("OPTIMIZE_", "MLFLOW_TRACKING_URI")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        with (self.workspace / f"{study}-{number}.output").open("wb") as sink:
            return subprocess.Popen(
                command, cwd=self.workspace, env=environment, stdout=sink, stderr=sink, start_new_session=True
            )

    def folder(self, study: str, number: int) -> Path:
        """A worker's study folder."""
        return self.workspace / f"{study}-{number}" / study


def wait_for(place: Place, study: str, running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all workers have ended well."""
    for process in running:
        if process.wait(SECONDS):
            output = "\n".join(path.read_text()[-2000:] for path in place.workspace.glob(f"{study}-*.output"))
            raise SystemExit(f"A worker of {study} failed:\n{output}")


def requests(place: Place) -> int:
    """Requests that the model server has had."""
    return sum('"body"' in line for line in place.log.read_text().splitlines())


def run_workers(place: Place, workers: int, budget: str) -> tuple[Evidence, float, int]:
    """Run a study with some workers: its evidence, seconds from first to last rollout, and requests."""
    study, before = f"workers{workers}", requests(place)
    running = [place.start(study, 0, budget)]
    time.sleep(1.0)  # The first one makes the study.
    running += [place.start(study, number, budget) for number in range(1, workers)]
    wait_for(place, study, running)
    left = gather(place.folder(study, 0))
    return left, left.written[-1] - left.written[0], requests(place) - before


def run_killed(place: Place, kills: int, budget: str, seed: int) -> tuple[Evidence, int, int]:
    """Run a study with three workers, killing one again and again: its evidence, kills and requests."""
    study, random, before = "killed", Random(seed), requests(place)
    running = {number: place.start(study, number, budget) for number in range(3)}
    killed = 0
    while killed < kills:
        time.sleep(random.uniform(3, 9))
        if all(process.poll() is not None for process in running.values()):
            break
        number = random.choice(list(running))
        os.killpg(running[number].pid, signal.SIGKILL)
        running.pop(number).wait()
        killed += 1
        running[2 + killed] = place.start(study, 2 + killed, budget)
    wait_for(place, study, list(running.values()))
    return gather(place.folder(study, max(running))), killed, requests(place) - before


def main() -> None:
    """Run the studies and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="kill workers so many times instead")
    parser.add_argument("--budget", default="40")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if postgres.LACKING:
        raise SystemExit(postgres.LACKING)
    with tempfile.TemporaryDirectory() as folder, postgres.server() as database:
        workspace, log = Path(folder), Path(folder) / "requests.jsonl"
        log.touch()
        command = [sys.executable, str(SERVER), "--latency", str(1000 * LATENCY), "--log", str(log)]
        served = subprocess.Popen(
            [*command, "--max-seconds", str(4 * SECONDS)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert served.stdout is not None
            write_server_workspace(workspace, json.loads(served.stdout.readline())["address"])
            program = next(workspace.glob("*.py"))
            text = re.sub(r"(size=[\d.]+)", rf"\1, concurrency={AT_ONCE}", program.read_text())
            (workspace / "program.py").write_text(text)
            place = Place(workspace, postgres.new_database(database), log)
            fine = report_kills(place, options) if options.kills else report_speed(place, options.budget)
        finally:
            served.terminate()
            served.wait()
    sys.exit(0 if fine else 1)


def report_speed(place: Place, budget: str) -> bool:
    """Print the speed-ups; return whether all studies are the same and nothing ran twice."""
    print("| workers | rollouts | requests | seconds | speed-up | same frontier |\n|---|---|---|---|---|---|")
    alone: tuple[Evidence, float, int] | None = None
    fine = True
    for workers in (1, 2, 4):
        left, seconds, sent = run_workers(place, workers, budget)
        alone = alone or (left, seconds, sent)
        same = left.points == alone[0].points and left.rollouts == alone[0].rollouts
        fine = fine and same and sent == len(left.rollouts)
        speed = alone[1] / seconds
        print(
            f"| {workers} | {len(left.rollouts)} | {sent} | {seconds:.1f} | {speed:.2f} | {same} |",
            flush=True,
        )
    return fine


def report_kills(place: Place, options: argparse.Namespace) -> bool:
    """Print the study with killed workers; return whether it is complete."""
    alone, _, _ = run_workers(place, 1, options.budget)
    left, killed, sent = run_killed(place, options.kills, options.budget, options.seed)
    calls = left.calls or {}
    found = {
        "kills": killed,
        "rollouts": len(left.rollouts),
        "rows of them": left.rows,
        "requests": sent,
        "calls in the ledger": sum(calls.values()),
        "of them lost": calls.get("lost", 0),
        "same rollouts as undisturbed": left.rollouts == alone.rollouts,
        "same frontier as undisturbed": left.points == alone.points,
    }
    print("| | |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value} |")
    return left.rows == len(left.rollouts) and sum(calls.values()) >= sent and left.points is not None


if __name__ == "__main__":
    main()
