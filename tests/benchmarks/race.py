"""How many calls each search needs: replayed on the tables of tests/benchmarks/tables, many seeds each.

    python tests/benchmarks/race.py
    python tests/benchmarks/race.py --task classify --seeds 20 --searcher Parity --searcher TPE

All searchers have the same candidates, examples and calls. After every purchase a searcher yields
the candidates it would return; they are scored on test examples that no searcher sees. One task
is held out from all development of the search. Runs are kept in runs/race/; RESULTS.md gets the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablations import write_between
from benchmarks.replay import Run, Table, frontier, play
from benchmarks.searchers import SEARCHERS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "RESULTS.md"
TABLES = Path(__file__).parent / "tables"
BEGIN, END = "<!-- race: begin -->", "<!-- race: end -->"

SMALL, LARGE = "smollm2-135m-instruct", "gemma-3-270m"
TASKS = {"classify": (SMALL, LARGE), "categorize": (SMALL, LARGE), "tweets": (SMALL,)}
HELD_OUT = "tweets"
"""The task that was used for no decision about the search."""

OURS = "Parity"
CALLS, SEEDS = 3000, 100
STEP = 20
"""Calls between two points of a curve."""

MARGIN = 0.02
"""Quality that a small model may fall short by."""


@dataclass(frozen=True)
class Result:
    """The result of one searcher on one task with one seed.

    Attributes:
        curve: Share of the reachable hypervolume, after each step of calls.
        regret: Test quality of the best candidate less that of the returned one that is best on dev.
        answer: Whether it is right about the small model matching the large one; None for one model.
    """

    curve: tuple[float, ...]
    regret: float
    answer: bool | None

    @classmethod
    def of(cls, run: Run, table: Table) -> Result:
        """The result of a run."""
        reach = table.covered(range(len(table.places)))
        quality = table.test.mean(axis=1)
        best = max(run.chosen, key=lambda one: table.dev[one].mean())
        return cls(
            curve=tuple(run.at(calls) / reach for calls in range(STEP, CALLS + 1, STEP)),
            regret=float(quality.max() - quality[best]),
            answer=_answer(run, table),
        )


def _answer(run: Run, table: Table) -> bool | None:
    """Whether the returned bests of both models compare as the true bests do."""
    if len(table.models) < 2:
        return None
    test, dev = table.test.mean(axis=1), table.dev.mean(axis=1)
    truth = [((dev + test) / 2)[table.model == model].max() for model in (0, 1)]
    found = []
    for model in (0, 1):
        own = [one for one in run.chosen if table.model[one] == model]
        found.append(max((test[one] for one in own), default=0.0))
    return bool((found[0] >= found[1] - MARGIN) == (truth[0] >= truth[1] - MARGIN))


def one_run(task: str, name: str, seed: int) -> Result:
    """Play one search."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = read_table(task)
    return Result.of(play(SEARCHERS[name], table, CALLS, seed), table)


def read_table(task: str, models: Sequence[str] | None = None) -> Table:
    """The rollouts of a task's models, or of some of them."""
    return Table.read(task, {model: TABLES / f"{task}--{model}.parquet" for model in models or TASKS[task]})


def all_known(table: Table) -> tuple[int, Result]:
    """The result of knowing every dev score, an upper bound for any search on these dev examples.

    Returns:
        The calls that all dev scores take, and the result of the frontier by them.
    """
    quality = dict(enumerate(table.dev.mean(axis=1).tolist()))
    chosen = frontier(table, quality)
    calls = int(table.calls.sum()) * table.dev.shape[1]
    covered = np.array([table.covered(chosen)])
    return calls, Result.of(Run(np.array([0]), covered, tuple(chosen)), table)


def run_all(tasks: Sequence[str], names: Sequence[str], seeds: int, folder: Path, workers: int) -> None:
    """Run the missing replays."""
    wanted = {_path(folder, *what): what for what in product(tasks, names, range(seeds))}
    run_missing(wanted, _one, workers)


def run_missing(wanted: Mapping[Path, Any], play: Callable[[Any], Any], workers: int) -> None:
    """Run what has no file yet, and keep each result as JSON.

    Args:
        wanted: File -> argument for ``play``.
        play: Runs one and returns JSON values; must be importable, as it runs in other processes.
        workers: Processes.
    """
    left = {path: what for path, what in wanted.items() if not path.exists()}
    with ProcessPoolExecutor(workers) as pool:
        for path, result in zip(left, pool.map(play, left.values()), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result), encoding="utf-8")


def _one(what: tuple[str, str, int]) -> dict[str, Any]:
    return vars(one_run(*what))


def _path(folder: Path, task: str, name: str, seed: int) -> Path:
    return folder / f"{task}--{name}--{seed}.json"


def results_of(folder: Path, task: str) -> dict[str, list[Result]]:
    """All results of a task by searcher."""
    found: dict[str, list[Result]] = {}
    for name in SEARCHERS:
        paths = sorted(folder.glob(f"{task}--{name}--*.json"))
        kept = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if kept:
            found[name] = [Result(tuple(one["curve"]), one["regret"], one["answer"]) for one in kept]
    return found


def median_curve(results: Iterable[Result]) -> np.ndarray:
    """The median over seeds, at each step of calls."""
    return np.median([result.curve for result in results], axis=0)


def calls_to(curve: np.ndarray, level: float) -> int | None:
    """Calls after which a curve is first at a level.

    It may fall below it again: what is chosen on dev alone can turn out worse on test.
    """
    there = np.flatnonzero(curve >= level - 1e-12)
    return (int(there[0]) + 1) * STEP if len(there) else None


def table_of(results: dict[str, list[Result]], ceiling: tuple[int, Result]) -> str:
    """A line per searcher.

    Args:
        results: Searcher -> its runs.
        ceiling: What :func:`all_known` found.
    """
    curves = {name: median_curve(own) for name, own in results.items()}
    peers = {name: curve for name, curve in curves.items() if name != OURS}
    target = max(curve[-1] for curve in peers.values())
    best = min(peers, key=lambda name: calls_to(peers[name], target) or 2 * CALLS)
    marks = (300, 1000, CALLS)
    lines = [
        f"| search | seeds | {' | '.join(f'{calls:,} calls' for calls in marks)} | area | to {target:.3f} "
        "| regret | small against large |",
        "|---" * (7 + len(marks)) + "|",
    ]
    for name, own in results.items():
        at = [f"{curves[name][calls // STEP - 1]:.3f}" for calls in marks]
        ends = np.array([result.curve[-1] for result in own])
        at[-1] += f" ({np.quantile(ends, 0.1):.3f}-{np.quantile(ends, 0.9):.3f})"
        area = np.mean([np.mean(result.curve) for result in own])
        reached = calls_to(curves[name], target)
        answers = [result.answer for result in own if result.answer is not None]
        right = f"{np.mean(answers):.0%} right" if answers else ""
        regret = np.mean([result.regret for result in own])
        cells = [name, str(len(own)), *at, f"{area:.3f}", f"{reached:,}" if reached else "never"]
        lines.append(f"| {' | '.join(cells)} | {regret:.3f} | {right} |")
    calls, known = ceiling
    answer = "" if known.answer is None else "right" if known.answer else "wrong"
    lines.append(
        f"| every dev score known, {calls:,} calls | |{' |' * (len(marks) - 1)} {known.curve[-1]:.3f} | | "
        f"| {known.regret:.3f} | {answer} |"
    )
    ours, theirs = calls_to(curves[OURS], target), calls_to(curves[best], target)
    said = "Parity never gets there."
    if ours and theirs:
        said = (
            f"Parity gets there with {ours:,} calls: {ours / theirs:.2f} of the {theirs:,} after which "
            f"{best} does, {ours / CALLS:.2f} of all {CALLS:,}."
        )
    lines += ["", f"The best peer's final median is {target:.3f} ({best}). {said}"]
    return "\n".join(lines)


def report(folder: Path) -> str:
    """All results, for RESULTS.md."""
    parts = [
        "Replayed on real rollouts: every candidate of a grid on 100 dev and 100 test examples. A searcher "
        "buys dev rollouts and returns a frontier. The table gives the test hypervolume of that frontier as "
        "a share of the hypervolume of all candidates, median over seeds (in brackets the 10th and the 90th "
        "percentile). `area` is its mean over the calls. `regret` is the test quality of the best candidate "
        "less that of the returned one that is best on dev; with 100 examples it is above 0 even when all "
        "dev scores are known (the last line). `small against large`: whether the returned bests of both "
        f"models compare, within {MARGIN}, as the true bests do."
    ]
    for task, models in TASKS.items():
        results = results_of(folder, task)
        if OURS in results and len(results) > 1:
            held_out = ", held out from all development" if task == HELD_OUT else ""
            parts += [
                f"### {task}, {' and '.join(models)}{held_out}",
                table_of(results, all_known(read_table(task))),
            ]
    return "\n\n".join(parts)


def replay_options(description: str | None, name: str, seeds: int) -> argparse.ArgumentParser:
    """The options that every benchmark on the tables has.

    Args:
        description: Its description.
        name: Its folder in runs/.
        seeds: Default number of replays of each task.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS, help="only this task; repeatable")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / name, help="where replays are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that gets the tables")
    return parser


def main() -> None:
    """Run the missing replays, and write all results into RESULTS.md."""
    parser = replay_options(__doc__, "race", SEEDS)
    parser.add_argument("--searcher", action="append", choices=SEARCHERS, help="only this one; repeatable")
    options = parser.parse_args()
    tasks = [
        task
        for task in options.task or TASKS
        if all((TABLES / f"{task}--{model}.parquet").exists() for model in TASKS[task])
    ]
    run_all(tasks, options.searcher or list(SEARCHERS), options.seeds, options.folder, options.workers)
    write_between(options.results, BEGIN, END, report(options.folder))


if __name__ == "__main__":
    main()
