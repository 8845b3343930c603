"""How close evaluation comes to the limit of a slow server: calls in flight on loopback with 200 ms latency.

    python tests/benchmarks/concurrency.py

The server answers every request after 200 ms, however many there are. The ideal time is one round of
200 ms for every full set of calls in flight. `dspy.Evaluate` runs the same program on the same examples
with as many threads. Prints a table for RESULTS.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dspy

from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.measure import Measurer
from optimizers.evaluation.spend import LocalSpend
from optimizers.models.lm import language_model
from optimizers.models.model import Model
from optimizers.models.resolve import model
from optimizers.models.sampling import Sampling
from optimizers.records.budget import Budget
from optimizers.records.ledger import Ledger
from optimizers.search.gc_control import uncollected
from optimizers.search.space.initial_design import default_candidate
from optimizers.search.space.search_space import search_space
from optimizers.task.task import LoadedTask, load_task

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "tests" / "faults" / "server.py"

LATENCY = 0.2
IN_FLIGHT = (1, 16, 64, 256)
ROUNDS, MOST = 20, 1400
"""Rounds of 200 ms per measurement, and most examples."""

SECONDS = 600
"""Time after which the server stops by itself."""


@contextmanager
def server() -> Iterator[str]:
    """The address of a loopback server in a process of its own."""
    command = [sys.executable, str(SERVER), "--latency", str(1000 * LATENCY), "--max-seconds", str(SECONDS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["address"]
    finally:
        process.terminate()
        process.wait()


def ours(task: LoadedTask, served: Model, examples: list[dspy.Example]) -> float:
    """Seconds of Parity's evaluation, the ledger and the gate included."""
    task = replace(task, models=(served,), reference=served)
    candidate = default_candidate(search_space(task), served)
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as ledger:
        measurer = Measurer(task, ledger, BudgetGate(LocalSpend(ledger), Budget()))
        measurer.measure(candidate, examples[:1], "dev", number=1)
        with uncollected():  # as a study is
            start = time.perf_counter()
            rollouts = measurer.measure(candidate, examples, "dev")
            seconds = time.perf_counter() - start
    assert all(rollout.score is not None for rollout in rollouts)
    return seconds


def dspys(task: LoadedTask, served: Model, examples: list[dspy.Example]) -> float:
    """Seconds of `dspy.Evaluate` on the same program."""
    lm = language_model(served, Sampling(max_tokens=60))
    evaluate = dspy.Evaluate(
        devset=examples, metric=task.metric, num_threads=served.concurrency, display_progress=False
    )
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        start = time.perf_counter()
        evaluate(task.program)
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    task = load_task(ROOT / "programs" / "classify.py")
    rows = [*task.dataset.train, *task.dataset.dev, *task.dataset.test]
    print("| in flight | rollouts | ideal, s | Parity, s | share of ideal | dspy.Evaluate, s |")
    print("|---|---|---|---|---|---|")
    with server() as address:
        for in_flight in IN_FLIGHT:
            examples = rows[: min(MOST, in_flight * ROUNDS)]
            served = model("openai/small", api_base=address, price=(0.1, 0.2), concurrency=in_flight)
            ideal = LATENCY * -(-len(examples) // in_flight)
            own, theirs = ours(task, served, examples), dspys(task, served, examples)
            cells = [
                in_flight,
                len(examples),
                f"{ideal:.1f}",
                f"{own:.1f}",
                f"{ideal / own:.2f}",
                f"{theirs:.1f}",
            ]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
