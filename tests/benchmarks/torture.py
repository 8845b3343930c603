"""Is a study that is killed again and again the same study as one left alone?

Runs a study undisturbed, then the same study killed with SIGKILL at random moments of its life and
started again until it ends, and compares ledgers, reports and the requests that a server received:

    python tests/benchmarks/torture.py --kills 100
    python tests/benchmarks/torture.py --kills 10 --embedded

With ``--embedded`` the models are the real ones that run inside the process, and nothing counts
their calls from outside. Prints tables for RESULTS.md; exits 1 when a check fails.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import server as fault_server
from faults.evidence import Evidence, checks, facts, gather

STUDY = "torture"
ROWS = 240
EARLY = 0.2
"""Share of kills that fall into a process's start, before it sends a request."""

LONGEST_END = 900.0
"""Most seconds of an undisturbed process."""


@dataclass(frozen=True)
class Setup:
    """The study to run: workspace, program, budget in trials, and seed."""

    workspace: Path
    program: str
    budget: int
    seed: int

    def folder(self, run: str) -> Path:
        """The study's folder under the runs of this name."""
        return self.workspace / run / STUDY

    def command(self, run: str) -> list[str]:
        """The command that starts or continues the study."""
        options = {"--budget": self.budget, "--study": STUDY, "--seed": self.seed, "--runs": run}
        words = [str(word) for option in options.items() for word in option]
        return [sys.executable, "-m", "optimizers.cli", self.program, *words]


@dataclass(frozen=True)
class Life:
    """One process of a study: when it began and ended, and its exit code, None when it was killed."""

    began: float
    ended: float
    code: int | None


def live(setup: Setup, run: str, delay: float | None) -> Life:
    """Run the study's command to its end, or kill its process group after some seconds."""
    dropped = ("OPTIMIZE_", "MLFLOW_TRACKING_URI")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    output = setup.workspace / f"{run}.output"
    with output.open("ab") as sink:
        began = time.time()
        process = subprocess.Popen(
            setup.command(run),
            cwd=setup.workspace,
            env=environment,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            process.wait(LONGEST_END if delay is None else delay)
        except subprocess.TimeoutExpired:
            if delay is None:
                raise
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode != 0 and (delay is None or process.returncode != -signal.SIGKILL):
        tail = "\n".join(output.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(f"The study in {setup.workspace / run} failed:\n{tail}")
    return Life(began, time.time(), 0 if process.returncode == 0 else None)


@dataclass
class Pace:
    """Seconds of a study's parts, so that kills can be spread over all of its life.

    Attributes:
        startups: Seconds from a process's start to the first rollout it writes, as seen so far.
        work: Seconds from the first rollout to the last.
        finish: Seconds from the last rollout to the end.
        rollouts: Rollouts of the whole study.
    """

    startups: list[float]
    work: float
    finish: float
    rollouts: int

    @property
    def startup(self) -> float:
        """Seconds the next process is expected to need before its first rollout."""
        return median(self.startups[-7:])

    def delay(self, random: Random, done: int, kills: int) -> float:
        """Seconds to the next kill: each takes its random share of the life that is left.

        Args:
            random: Draws.
            done: Rollouts that are written.
            kills: Kills still to come.
        """
        if random.random() < EARLY:
            return random.uniform(0, self.startup)
        left = max(0.0, 1 - done / self.rollouts) * self.work + self.finish
        # Twice the mean share, so that the remaining kills just use up the life; never past its end.
        return self.startup + random.uniform(0, left * min(1.0, 2 / ((1 - EARLY) * kills)))

    def learn(self, life: Life, delay: float, before: int, found: Evidence) -> str:
        """The part of the study's life that a kill hit; learns how long starting takes."""
        if len(found.written) > before:
            first = min(when for when in found.written if when >= life.began)
            self.startups.append(first - life.began)
        elif delay > self.startup and before < self.rollouts:
            self.startups.append(delay)
        else:
            return "finish" if delay > self.startup else "start"
        if len(found.written) >= self.rollouts:
            return "finish"
        if len(found.written) == before:
            return "start"
        return "test" if found.openings else "search"


def pace_of(life: Life, evidence: Evidence) -> Pace:
    """The pace of an undisturbed study."""
    first, last = evidence.written[0], evidence.written[-1]
    return Pace([first - life.began], last - first, life.ended - last, evidence.rows)


@dataclass
class Server:
    """The fault server in its own process, which no kill of the study reaches."""

    log: Path
    process: subprocess.Popen[str]
    address: str

    @classmethod
    def start(cls, log: Path, latency: float, port: int = 0) -> Server:
        """Start it and wait for its address."""
        options = {"--log": log, "--latency": latency, "--port": port, "--max-seconds": 7200}
        words = [str(word) for option in options.items() for word in option]
        command = [sys.executable, str(Path(fault_server.__file__)), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("The server did not start.")
        return cls(log, process, json.loads(line)["address"])

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.split(":")[2].removesuffix("/v1"))

    def stop(self) -> None:
        """Stop it and wait for its log to be whole."""
        self.process.terminate()
        self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()


def show(studies: dict[str, Evidence]) -> None:
    """Print the studies side by side."""
    columns = {name: facts(evidence) for name, evidence in studies.items()}
    print("\n| | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for fact in next(iter(columns.values())):
        print(f"| {fact} | " + " | ".join(column.get(fact, "") for column in columns.values()) + " |")


def write_server_workspace(workspace: Path, address: str) -> str:
    """A small sentiment task on two served models; returns its program."""
    from fakes import reviews

    (workspace / "pyproject.toml").write_text('[project]\nname = "torture"\nversion = "0"\n')
    template = Path(fault_server.__file__).with_name("sentiment_program.py").read_text()
    program = re.sub(r"^ADDRESS = .*$", f'ADDRESS = "{address}"', template, flags=re.MULTILINE)
    (workspace / "sentiment.py").write_text(program)
    with (workspace / "reviews.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["review", "sentiment"])
        writer.writeheader()
        writer.writerows(reviews(ROWS))
    return "sentiment.py"


def write_embedded_workspace(workspace: Path) -> str:
    """The example workspace with smaller splits; returns its program."""
    from optimizers.cli.init import write_workspace

    write_workspace(workspace)
    card = workspace / "data" / "reviews.toml"
    text = card.read_text().replace("train = 1000", "train = 300").replace("dev = 300", "dev = 40")
    card.write_text(text.replace("test = 400", "test = 40"))
    return "programs/classify.py"


@dataclass
class Torture:
    """One control study, and killed studies until all kills are used."""

    setup: Setup
    kills: int
    deadline: float
    latency: float
    server: Server | None
    parts: Counter[str] = field(default_factory=Counter)

    def run(self) -> bool:
        """Run all and print the tables; return whether every check passed."""
        life = live(self.setup, "control", None)
        control = self.collect("control")
        pace = pace_of(life, control)
        print(
            f"control: {pace.startup:.1f} s to the first rollout, {pace.work:.1f} s to the last of "
            f"{pace.rollouts}, {pace.finish:.1f} s to the end",
            flush=True,
        )
        studies = {"control": control}
        passed: dict[str, bool] = {}
        random = Random(self.setup.seed)
        while self.parts.total() < self.kills and time.time() < self.deadline:
            run = f"killed{len(studies)}"
            self.renew(run)
            self.suffer(run, pace, random)
            studies[run] = self.collect(run)
            passed |= {f"{run}: {what}": ok for what, ok in checks(control, studies[run]).items()}
        show(studies)
        if self.kills:
            fallen = ", ".join(f"{count} in {part}" for part, count in self.parts.most_common())
            print(f"\nkills: {self.parts.total()} of {self.kills}; {fallen}")
        for what, ok in passed.items():
            print(f"{'ok    ' if ok else 'FAILED'} {what}")
        return all(passed.values()) and self.parts.total() >= self.kills

    def suffer(self, run: str, pace: Pace, random: Random) -> None:
        """Kill and restart one study until it ends."""
        folder, done = self.setup.folder(run), 0
        while self.parts.total() < self.kills and time.time() < self.deadline:
            delay = pace.delay(random, done, self.kills - self.parts.total())
            life = live(self.setup, run, delay)
            if life.code is not None:
                print(f"{run} ended before its kill, after {delay:.1f} s", flush=True)
                return
            found = gather(folder)
            part = pace.learn(life, delay, done, found)
            done = found.rows
            self.parts[part] += 1
            print(
                f"kill {self.parts.total()}/{self.kills} of {run} in {part} after {delay:.2f} s: "
                f"{done}/{pace.rollouts} rollouts",
                flush=True,
            )
        live(self.setup, run, None)

    def renew(self, run: str) -> None:
        """A server with an empty log at the same address."""
        if self.server is not None:
            log = self.setup.workspace / f"{run}.jsonl"
            self.server = Server.start(log, self.latency, self.server.port)

    def collect(self, run: str) -> Evidence:
        """Stop the study's server and read all evidence."""
        if self.server is not None:
            self.server.stop()
        return gather(self.setup.folder(run), self.server.log if self.server else None)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="0 runs the control alone")
    parser.add_argument("--budget", type=int, help="trials; 20, or 4 with --embedded")
    parser.add_argument("--seed", type=int, default=0, help="of the studies and of the kills")
    parser.add_argument("--latency", type=float, default=50.0, help="milliseconds before every answer")
    parser.add_argument("--minutes", type=float, default=40.0, help="no kill comes later than this")
    parser.add_argument("--embedded", action="store_true", help="the real models that run in the process")
    options = parser.parse_args()
    workspace = Path(tempfile.mkdtemp(prefix="torture-"))
    server = None if options.embedded else Server.start(workspace / "control.jsonl", options.latency)
    if server is None:
        setup = Setup(workspace, write_embedded_workspace(workspace), options.budget or 4, options.seed)
    else:
        program = write_server_workspace(workspace, server.address)
        setup = Setup(workspace, program, options.budget or 20, options.seed)
    torture = Torture(setup, options.kills, time.time() + 60 * options.minutes, options.latency, server)
    try:
        passed = torture.run()
    finally:
        if torture.server is not None:
            torture.server.stop()
    if passed:
        shutil.rmtree(workspace)
    else:
        print(f"\nEverything is kept in {workspace}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
