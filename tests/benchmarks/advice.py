"""How often the advice was right: searches replayed on the tables, advised on the way, then continued.

    python tests/benchmarks/advice.py
    python tests/benchmarks/advice.py --task classify --seeds 20

A search of 250 calls is advised, then given as many calls again and advised again, up to 2,000 calls, and
ends at 4,000. The search never sees the test examples. The advice sees one half of them, for its verdict;
later gains are measured on the other half.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import optuna

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablations import write_between
from benchmarks.race import HELD_OUT, MARGIN, TABLES, TASKS, read_table, replay_options, run_missing
from benchmarks.replay import PARTS, Replay, Table, parameter
from benchmarks.searchers import continue_search, start_search

from optimizers.errors import BudgetSpent
from optimizers.records.report import Estimate, FrontierReport, Point, Role
from optimizers.results.advice import Advice, Word, advise
from optimizers.results.statistics.forecast import DOUBT, Scored, forecast
from optimizers.results.statistics.intervals import estimate
from optimizers.results.verdict import Contender, compare
from optimizers.search.space.initial_design import FixedChoices
from optimizers.search.space.parts import MODEL

if TYPE_CHECKING:
    from optimizers.records.candidate import Candidate

BEGIN, END = "<!-- advice: begin -->", "<!-- advice: end -->"
CALLS = (250, 500, 1000, 2000)
"""Calls after which advice is given, each twice the one before."""

SEEDS = 50
ROWS = 800
"""Train examples with a right answer: the tables' tasks have more than fine-tuning wants."""

Bought = tuple[int, int, list[float]]
"""Calls used so far, candidate, scores."""


class RecordedReplay(Replay):
    """A replay that records its purchases."""

    def __init__(self, table: Table, budget: int) -> None:
        super().__init__(table, budget)
        self.bought: list[Bought] = []

    def buy(self, candidate: int, examples: Sequence[int]) -> np.ndarray:
        """The same, recorded."""
        scores = super().buy(candidate, examples)
        self.bought.append((self.used, candidate, scores.tolist()))
        return scores


@dataclass(frozen=True)
class Case:
    """One piece of advice, and the later results.

    Attributes:
        word: The advice.
        calls: Calls used so far.
        gain: Predicted gain of as much search again, in score units, for the model the advice is about.
        gained: Measured gain of that model's best, on unseen test examples.
        odds: Predicted probability of a match within the margin after as much again; None for one model.
        matched: Whether there was a match then, on unseen test examples; None for one model.
    """

    word: str
    calls: int
    gain: float
    gained: float
    odds: float | None
    matched: bool | None


def bought_by_search(table: Table, seed: int) -> list[list[Bought]]:
    """The purchases of Parity's search, in order, up to the end of each budget."""
    replay = RecordedReplay(table, 0)
    search = start_search(replay, np.random.default_rng(seed))
    found = []
    for replay.budget in (*CALLS, 2 * CALLS[-1]):
        try:
            for _ in continue_search(search, replay):
                pass
        except BudgetSpent:
            pass
        found.append(list(replay.bought))
    return found


def cases(table: Table, bought: Sequence[Sequence[Bought]], seed: int) -> list[Case]:
    """The advice after each budget, and the later results."""
    order = np.random.default_rng(seed).permutation(table.test.shape[1])
    seen, unseen = np.split(order, [len(order) // 2])
    found = []
    for calls, (before, after) in zip(CALLS, pairwise(bought), strict=True):
        if after[-1][0] < 1.5 * calls:
            continue
        given = advice(table, before, seen)
        about = next(one for one in given.model_forecasts if one.model == _subject(given, table))
        place = table.models.index(about.model)
        ends = [_bests(table, part)[place] for part in (before, after)]
        half = table.test[:, unseen].mean(axis=1)
        matched = None
        if about.will_match is not None:
            reference = _bests(table, before)[len(table.models) - 1]
            matched = bool(half[ends[1]] >= half[reference] - MARGIN)
        found.append(
            Case(
                word=given.word,
                calls=calls,
                gain=about.gain,
                gained=float(half[ends[1]] - half[ends[0]]),
                odds=about.will_match,
                matched=matched,
            )
        )
    return found


def _subject(given: Advice, table: Table) -> str:
    """The small model where there are two, whichever the advice ships."""
    return given.model if len(table.models) == 1 else table.models[0]


def advice(table: Table, bought: Sequence[Bought], seen: np.ndarray) -> Advice:
    """The advice after these purchases, with these test examples."""
    forecasts, final = {}, _final(bought)
    for number, name in enumerate(table.models):
        own = {str(one): scores for one, scores in final.items() if table.model[one] == number}
        steps = [
            Scored(used, str(one), tuple(scores))
            for used, one, scores in bought
            if table.model[one] == number
        ]
        forecasts[name] = forecast(steps, own)
    return advise(_report(table, final, _bests(table, bought), seen), forecasts, rows=ROWS, again="")


def _final(bought: Sequence[Bought]) -> dict[int, list[float]]:
    """All scores of each candidate."""
    found: dict[int, list[float]] = {}
    for _, one, scores in bought:
        found.setdefault(one, []).extend(scores)
    return found


def _bests(table: Table, bought: Sequence[Bought]) -> list[int]:
    """The best candidate of each model, by its mean score shrunk towards the model's mean."""
    final, bests = _final(bought), []
    for number in range(len(table.models)):
        own = {one: scores for one, scores in final.items() if table.model[one] == number}
        mean = np.mean([score for scores in own.values() for score in scores])
        bests.append(max(own, key=lambda one: (sum(own[one]) + DOUBT * mean) / (len(own[one]) + DOUBT)))
    return bests


def _report(
    table: Table, final: dict[int, list[float]], bests: Sequence[int], seen: np.ndarray
) -> FrontierReport:
    """A report with each model's best candidate; the last model is the reference."""
    reference, points = bests[-1], []
    names = {one: _candidate(table, one).id for one in bests}
    rival = _contender(table, reference, seen)
    for number, one in enumerate(bests):
        roles: tuple[Role, ...] = ("frontier", "best")
        compared = None
        if one == reference and len(table.models) > 1:
            roles += ("reference",)
        elif one != reference:
            (compared,) = compare(
                [_contender(table, one, seen)], rival, against=names[reference], margin=MARGIN, min_coverage=0
            )
        points.append(
            Point(
                candidate=_candidate(table, one),
                kind="instruct" if number == 0 else "base",
                roles=roles,
                dev=_estimate(final[one]),
                test=_estimate(table.test[one, seen].tolist()),
                cost=float(table.cost[one]),
                latency=0.0,
                prompt_tokens=0.0,
                completion_tokens=0.0,
                comparison=compared,
            )
        )
    return FrontierReport(
        study="replayed", task=table.task, metric="", reference=table.models[-1], margin=MARGIN,
        points=tuple(points), hypervolume=0.0, trials=0, rollouts=0, seconds=0.0, answer="",
    )  # fmt: skip


def _candidate(table: Table, one: int) -> Candidate:
    model = table.models[table.model[one]]
    chosen = {
        parameter(model, column): value for column, value in table.places[one].items() if column in PARTS
    }
    return table.space.choose(FixedChoices({MODEL: model, **chosen}))


def _estimate(scores: Sequence[float]) -> Estimate:
    return estimate(list(scores), groups=[str(number) for number in range(len(scores))])


def _contender(table: Table, one: int, seen: np.ndarray) -> Contender:
    scores = {str(place): float(table.test[one, place]) for place in seen}
    return Contender(scores=scores, cost=float(table.cost[one]), coverage=1.0, groups={})


def built(task: str) -> tuple[str, ...]:
    """The models of a task that have a table, the smallest first."""
    return tuple(model for model in TASKS[task] if (TABLES / f"{task}--{model}.parquet").exists())


def one_case(task: str, seed: int) -> list[Case]:
    """One search with its advice."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = read_table(task, built(task))
    return cases(table, bought_by_search(table, seed), seed)


def _one(what: tuple[str, int]) -> list[dict[str, Any]]:
    return [vars(case) for case in one_case(*what)]


def _path(folder: Path, task: str, seed: int | str) -> Path:
    return folder / f"{task}--{'+'.join(built(task))}--{seed}.json"


def table_of(found: Sequence[Case]) -> str:
    """A line per number of calls, then one per advice: predicted and measured gain and match."""
    lines = [
        "| advice | times | predicted gain | gain | predicted match | match |",
        "|---" * 6 + "|",
    ]
    groups = {f"after {calls:,} calls": [case for case in found if case.calls == calls] for calls in CALLS}
    groups |= {word: [case for case in found if case.word == word] for word in get_args(Word)}
    for name, own in groups.items():
        if not own:
            continue
        gained = np.array([case.gained for case in own])
        error = gained.std(ddof=1) / np.sqrt(len(gained)) if len(gained) > 1 else float("nan")
        odds = [(case.odds, case.matched) for case in own if case.odds is not None]
        cells = [
            name, f"{len(own)}", f"{np.mean([case.gain for case in own]):+.3f}",
            f"{gained.mean():+.3f} ± {error:.3f}",
            f"{np.mean([given for given, _ in odds]):.2f}" if odds else "",
            f"{np.mean([matched for _, matched in odds]):.2f}" if odds else "",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(folder: Path) -> str:
    """All results, for RESULTS.md."""
    parts = [
        "Parity's search replayed on the tables of the search race. A study gets advice after 250 calls, "
        "then as many calls again, and so on up to 4,000. "
        "Gains are in accuracy, mean and standard error, of the best candidate of the model that the advice "
        "is about (the small one of two), on the half of the test examples that neither search nor advice "
        "saw. Replays share tables and pieces of advice share replays, so they are not independent. "
        f"`match`: within {MARGIN} of the reference's best, on the same half."
    ]
    for task in TASKS:
        paths = sorted(folder.glob(_path(folder, task, "*").name))
        found = [Case(**one) for path in paths for one in json.loads(path.read_text(encoding="utf-8"))]
        if found:
            held_out = ", held out from all development" if task == HELD_OUT else ""
            title = f"{task}, {' and '.join(built(task))}{held_out}, {len(paths)} replays"
            parts += [f"### {title}", table_of(found)]
    return "\n\n".join(parts)


def main() -> None:
    """Run the missing replays, and write all results into RESULTS.md."""
    options = replay_options(__doc__, "advice", SEEDS).parse_args()
    tasks = [task for task in options.task or TASKS if built(task)]
    wanted = {_path(options.folder, *what): what for what in product(tasks, range(options.seeds))}
    run_missing(wanted, _one, options.workers)
    write_between(options.results, BEGIN, END, report(options.folder))


if __name__ == "__main__":
    main()
