"""The overhead of a study of many trials: time per rollout, trial and decision, resume time, memory.

    python tests/benchmarks/overhead.py
    python tests/benchmarks/overhead.py --trials 100 --trials 1000 --examples 60

The engine answers at once, so all time is Parity's and DSPy's. Earlier trials are written into the
study's records as the search would have done; then the search continues from them. Prints a table for
RESULTS.md.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING
from unittest.mock import patch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes import FakeEngine

from optimizers.evaluation.spend import LocalSpend
from optimizers.records.budget import Budget
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.rows import Block, Rollout, TrialRow
from optimizers.records.tracking.mlflow_log import StudyRun
from optimizers.search.blocks import blocks
from optimizers.search.manifest import open_folder
from optimizers.search.optuna_trials import OptunaMirror, sqlite_address
from optimizers.search.rounds import Round
from optimizers.search.search_phase import closed_outputs, restored
from optimizers.search.space.initial_design import FixedChoices, drawn_choices
from optimizers.search.space.search_space import search_space
from optimizers.search.study import open_study
from optimizers.task.data.split import example_id
from optimizers.task.task import LoadedTask, load_task

if TYPE_CHECKING:
    import dspy

    from optimizers.records.candidate import Candidate

PROGRAM = Path(__file__).parents[2] / "programs" / "classify.py"
TRIALS = (100, 1_000, 10_000)
EXAMPLES = 300
"""Dev examples that each earlier trial's candidate ran."""

MEASURED = 12
"""Trials that the search continues for."""

AT_ONCE = 200
"""Trials written together."""


@contextmanager
def instant() -> Iterator[None]:
    """Engines that answer at once."""
    engine = FakeEngine()
    with (
        patch("optimizers.models.lm.llama_engine", lambda model: engine),
        patch("optimizers.search.study.llama_engine", lambda model: engine),
    ):
        yield


def fill(task: LoadedTask, ledger: Ledger, count: int, examples: int) -> None:
    """Write earlier trials into a study's ledger, up to a number of them."""
    have, seen = len(ledger.trials()), set(ledger.candidates())
    if not have:
        ledger.put("round 1", Round(pools={}).model_dump_json())
    space, random = search_space(task), Random(have)
    dev = [example for block in blocks(task.dataset.dev, closed_outputs(task), 0) for example in block]
    for first in range(have, count, AT_ONCE):
        rows: list[Rollout] = []
        trials: list[TrialRow] = []
        for number in range(first, min(count, first + AT_ONCE)):
            while True:
                chooser = FixedChoices(drawn_choices(space, task.models[number % 2].name, random))
                candidate = space.choose(chooser)
                if candidate.id not in seen:
                    break
            seen.add(candidate.id)
            ledger.add_candidate(candidate)
            own = _rollouts(candidate, dev[:examples], random)
            rows += own
            ran = [(candidate.id, Block.of(own[start : start + 10])) for start in range(0, len(own), 10)]
            now = datetime.now()
            trials.append(
                TrialRow(
                    number=number,
                    round=1,
                    candidate=candidate.id,
                    choices=chooser.made,
                    values=(sum(row.score or 0 for row in own) / len(own), 1000 * own[0].cost),
                    ran=tuple(ran),
                    began=now,
                    ended=now + timedelta(seconds=1),
                )
            )
        ledger.add(rows)
        ledger.add_trials(trials)


def _rollouts(candidate: Candidate, examples: list[dspy.Example], random: Random) -> list[Rollout]:
    rate, cost, now = random.random(), 1e-7 * (1 + 9 * random.random()), datetime.now(UTC)
    return [
        Rollout(
            candidate=candidate.id,
            example=example_id(example),
            split="dev",
            score=float(random.random() < rate),
            output={"sentiment": "positive"},
            calls=1,
            prompt_tokens=100,
            completion_tokens=1,
            cost=cost,
            latency=0.1,
            created=now,
        )
        for example in examples
    ]


def continued(task: LoadedTask, folder: StudyFolder) -> dict[str, float]:
    """Resume the study and continue it for some trials: seconds of each part."""
    start = time.perf_counter()
    manifest = folder.read_manifest()
    with (
        folder.lock(),
        Ledger.open(folder.ledger) as ledger,
        StudyRun.open(manifest, folder) as run,
        OptunaMirror(sqlite_address(folder.optuna), manifest.name) as mirror,
    ):
        parts = (task, manifest, folder, ledger, run, mirror, LocalSpend(ledger), lambda progress: None)
        study = open_study(*parts, grow_at=())
        search = restored(study).search
        found = {"resume": time.perf_counter() - start}
        run.recorded = study.trials.done
        decided, kept = [], []
        for _ in range(MEASURED):
            search._seen = None
            start = time.perf_counter()
            search._outlook()
            decided.append(time.perf_counter() - start)
            trials, _ = search.trials(study.trials.done, 1, 0.5)
            start = time.perf_counter()
            study.trials.add(search, trials)
            kept.append(time.perf_counter() - start)
        candidate = trials[-1].own.candidate
        rows = task.dataset.train[:200]
        start = time.perf_counter()
        study.measurer.measure(candidate, rows, "train")
        found["rollout"] = (time.perf_counter() - start) / len(rows)
    return found | {"decision": median(decided), "trial": median(kept)}


def one_size(count: int, examples: int) -> dict[str, float]:
    """Measure a study after some trials: seconds of each part, and megabytes of this process."""
    task = load_task(PROGRAM)
    task = replace(task, models=tuple(model.model_copy(update={"concurrency": 1}) for model in task.models))
    task = replace(task, reference=task.models[-1])
    with tempfile.TemporaryDirectory() as place, instant():
        folder = open_folder(task, Path(place), "s", 0, Budget(trials=count + 1000))
        with Ledger.open(folder.ledger) as ledger:
            fill(task, ledger, count, examples)
        continued(task, folder)  # once before, so that Optuna and MLflow catch up and all imports are done
        found = continued(task, folder)
    return found | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Measure every size in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", action="append", type=int)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--alone", action="store_true", help="one size, in this process")
    options = parser.parse_args()
    if options.alone:
        found = one_size(options.trials[0], options.examples)
        cells = [
            f"{options.trials[0]:,}",
            *(f"{1000 * found[part]:.1f}" for part in ("rollout", "trial", "decision")),
        ]
        print(f"| {' | '.join(cells)} | {found['resume']:.1f} | {found['memory']:,.0f} |", flush=True)
        return
    print(
        "| earlier trials | a rollout, ms | writing a trial, ms | a decision, ms | resume, s | memory, MB |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for count in options.trials or TRIALS:
        sizes = ["--trials", str(count), "--examples", str(options.examples)]
        subprocess.run([sys.executable, __file__, "--alone", *sizes], check=True)


if __name__ == "__main__":
    main()
