"""Ablations of the search space: studies without one part against studies of the full space, at equal calls.

    python tests/benchmarks/ablations.py
    python tests/benchmarks/ablations.py --task classify --space full --space demos --seeds 5

All studies of a task have the same models, data and budget in calls, the sealed test included; a
study of a narrowed space is paired with the full one of the same seed. Studies are kept in
runs/ablations/: the same command continues where it stopped. Seed 0 of every space comes first, and
RESULTS.md is written after each study, so that an interrupted run has a table too.

Replies of local models are cached across studies: every call is counted, but requests that two studies
share take their time once and get the same reply to the last token.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING
from unittest.mock import patch

from optimizers.cli.console import pull_weights
from optimizers.cli.live import watching
from optimizers.models.llama import LlamaEngine
from optimizers.models.resolve import model as resolve_model
from optimizers.records.budget import Budget
from optimizers.records.folder import StudyFolder, list_studies
from optimizers.results.statistics.pareto import hypervolume
from optimizers.search.manifest import open_folder
from optimizers.search.rounds import GROW_AT
from optimizers.search.space.initial_design import DEFAULT_RENDERING
from optimizers.search.space.search_space import SearchSpace, search_space
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask, load_task

if TYPE_CHECKING:
    from dspy.lm15 import Request, Response

    from optimizers.models.model import Model
    from optimizers.prompting.proposals.pools import Pools
    from optimizers.records.report import FrontierReport

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "RESULTS.md"
BEGIN, END = "<!-- ablations: begin -->", "<!-- ablations: end -->"

TASKS = ("categorize", "classify")
CALLS, SEEDS = 1500, 3

TEST_ROWS = 60
"""Examples of the sealed test: few enough for the half of a budget that is held back for it, so that all
points are tested on the same ones."""

PROPOSER = "local/qwen2.5-coder-0.5b-instruct"
FULL = "full"


class PlainlyRendered(SearchSpace):
    """A space with each model's default rendering alone."""

    @classmethod
    def of(cls, space: SearchSpace) -> PlainlyRendered:
        """The same space with default renderings."""
        return cls(**{one.name: getattr(space, one.name) for one in fields(space) if one.init})

    def renderings(self, model: Model) -> tuple[str, ...]:
        """The model's default rendering alone."""
        return (DEFAULT_RENDERING[model.kind],)


def without_demos(space: SearchSpace) -> SearchSpace:
    """The space with no demos at all."""
    predictors = {
        name: replace(predictor, sizes=dict.fromkeys(predictor.sizes, (0,)))
        for name, predictor in space.predictors.items()
    }
    return replace(space, predictors=predictors)


@dataclass(frozen=True)
class Variant:
    """A space to compare with the full one.

    Attributes:
        title: The part it lacks or adds.
        narrowed: Removes a part from a space.
        grow_at: Shares of the search after which a new round begins.
        proposer: Model that writes instructions.
    """

    title: str
    narrowed: Callable[[SearchSpace], SearchSpace] = lambda space: space
    grow_at: Sequence[float] = GROW_AT
    proposer: str | None = None

    def space(self, task: LoadedTask, pools: Pools) -> SearchSpace:
        """The space of a round."""
        return self.narrowed(search_space(task, pools))


VARIANTS: Mapping[str, Variant] = {
    FULL: Variant("the full space"),
    # Without a proposer, later rounds only bring demos.
    "demos": Variant("no demos, so no rounds", without_demos, grow_at=()),
    "techniques": Variant("no techniques but `direct`", lambda space: replace(space, allowed=())),
    "parts": Variant("the user's own words only", lambda space: replace(space, parts=False)),
    "sampling": Variant("greedy where a technique can be", lambda space: replace(space, sampling=False)),
    "rounds": Variant("no rounds", grow_at=()),
    "strategies": Variant(
        "labelled demos drawn in balance only", lambda space: replace(space, strategies=("balanced",))
    ),
    "proposer": Variant("and a proposer (Qwen2.5-Coder 0.5B)", proposer=PROPOSER),
    "renderings": Variant("default renderings only", PlainlyRendered.of),
}


@dataclass(frozen=True)
class Outcome:
    """A study's result on the sealed test.

    Attributes:
        points: Test quality and serving cost (US dollars a rollout) of each frontier point.
        best: Test quality of the candidate that was best on dev.
        smallest: The same for the smallest model; None where it was not measured.
        calls: Calls of the study.
        trials: Trials of the study.
    """

    points: tuple[tuple[float, float], ...]
    best: float
    smallest: float | None
    calls: float
    trials: int

    @classmethod
    def of(cls, report: FrontierReport) -> Outcome:
        """The result in a report. Points are chosen on dev, so test scores are free of selection bias."""
        tested = [(point, point.test.mean) for point in report.points if point.test and point.test.n]
        bests = [(point, quality) for point, quality in tested if "best" in point.roles]
        size = min(point.size or 0.0 for point in report.points)
        return cls(
            points=tuple((quality, point.cost) for point, quality in tested if "frontier" in point.roles),
            best=max(bests, key=lambda one: one[0].dev.mean)[1],
            smallest=next((quality for point, quality in bests if (point.size or 0.0) == size), None),
            calls=report.spend.total.calls if report.spend else 0.0,
            trials=report.trials,
        )


@dataclass(frozen=True)
class Group:
    """All studies of one task at one number of calls.

    Attributes:
        task: The task's name.
        calls: The budget.
        outcomes: Name of the space -> seed -> outcome.
    """

    task: str
    calls: int
    outcomes: dict[str, dict[int, Outcome]] = field(default_factory=dict)

    def covered(self) -> dict[str, dict[int, float]]:
        """Hypervolumes from one reference point: quality 0 and the highest cost of any frontier point."""
        costs = [
            cost for by_seed in self.outcomes.values() for one in by_seed.values() for _, cost in one.points
        ]
        return {
            name: {
                seed: hypervolume(
                    [quality for quality, _ in one.points],
                    [cost for _, cost in one.points],
                    best_cost=min(costs),
                    worst_cost=max(costs) * 1.1,
                )
                for seed, one in by_seed.items()
            }
            for name, by_seed in self.outcomes.items()
        }


def cached(
    complete: Callable[[LlamaEngine, Request], Response],
) -> Callable[[LlamaEngine, Request], Response]:
    """An engine's method that repeats its reply to a request it had before.

    Replies sampled without a seed are not cached: two requests want two samples.
    """
    replies: dict[bytes, Response] = {}

    def answer(engine: LlamaEngine, request: Request) -> Response:
        if request.config.temperature and request.config.seed is None:
            return complete(engine, request)
        key = sha256(f"{engine.name}\n{request!r}".encode()).digest()
        if key not in replies:
            replies[key] = complete(engine, request)
        return replies[key]

    return answer


def run(task: LoadedTask, name: str, seed: int, calls: int, runs: Path) -> None:
    """Run or continue one study."""
    variant = VARIANTS[name]
    if variant.proposer:
        task = replace(task, proposer=resolve_model(variant.proposer))
    study = f"{task.name}--{name}--{calls}--{seed}"
    folder = open_folder(task, runs, study, seed, Budget(calls=calls))
    if folder.report.exists():
        return
    pull_weights(task.served)
    with watching(study) as watch:
        report = run_study(task, folder, watch=watch, space_of=variant.space, grow_at=variant.grow_at)
    print(f"{study}: {report.trials} trials, {report.seconds:.0f} s. {report.answer}", flush=True)


def groups_of(runs: Path) -> list[Group]:
    """All finished studies, spaces in their order."""
    found: dict[tuple[str, int], dict[str, dict[int, Outcome]]] = defaultdict(lambda: defaultdict(dict))
    for study in list_studies(runs):
        folder = StudyFolder.at(runs, study)
        if folder.report.exists():
            task, name, calls, seed = study.split("--")
            found[task, int(calls)][name][int(seed)] = Outcome.of(folder.read_report())
    return [
        Group(task, calls, {name: outcomes[name] for name in VARIANTS if name in outcomes})
        for (task, calls), outcomes in sorted(found.items())
    ]


def table(group: Group) -> str:
    """A line per space: means over seeds, and paired differences to the full space with their range."""
    outcomes = group.outcomes
    columns: dict[str, dict[str, dict[int, float]]] = {
        "hypervolume": group.covered(),
        "best": {name: {seed: one.best for seed, one in of.items()} for name, of in outcomes.items()},
        "smallest model's best": {
            name: {seed: one.smallest for seed, one in of.items() if one.smallest is not None}
            for name, of in outcomes.items()
        },
    }
    heads = [head for name in columns for head in (name, "to the full space")]
    lines = [
        f"| space | seeds | {' | '.join(heads)} | calls | trials |",
        "|---" * (4 + len(heads)) + "|",
    ]
    for name, by_seed in outcomes.items():
        cells = [VARIANTS[name].title, str(len(by_seed))]
        for column in columns.values():
            cells.append(_ranged(list(column[name].values()), ".3f"))
            cells.append("" if name == FULL else _ranged(_differences(column, name), "+.3f"))
        cells += [f"{fmean(one.calls for one in by_seed.values()):.0f}"]
        cells += [f"{fmean(one.trials for one in by_seed.values()):.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _differences(column: Mapping[str, Mapping[int, float]], name: str) -> list[float]:
    """A space's values less the full space's, by seed, where both are there."""
    full = column.get(FULL, {})
    return [value - full[seed] for seed, value in column[name].items() if seed in full]


def _ranged(values: Sequence[float], form: str) -> str:
    """Mean and range."""
    if len(values) < 2:
        return "".join(f"{value:{form}}" for value in values)
    return f"{fmean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def reading(group: Group) -> str:
    """The finding from the hypervolumes, in two sentences."""
    covered = group.covered()
    found = {name: _differences(covered, name) for name in covered if name != FULL}
    paired = {VARIANTS[name].title: values for name, values in found.items() if len(values) > 1}
    if not paired:
        return "No space has two seeds yet. One pair of studies says nothing about a part of the space."
    below = [title for title, values in paired.items() if max(values) < 0]
    above = [title for title, values in paired.items() if min(values) > 0]
    chance = sum(0.5 ** len(values) for values in paired.values())
    seeds = min(len(values) for values in paired.values())
    full = list(covered[FULL].values())
    return (
        f"The hypervolume was smaller than the full space's in every seed with: {_listed(below)}; "
        f"larger with: {_listed(above)}. "
        f"By chance alone about {chance:.1f} of these {len(paired)} would be on each side. "
        f"With {seeds} seeds {'this is weak evidence, and' if seeds < 5 else ''} a difference within the "
        f"full space's own range, {min(full):.3f} to {max(full):.3f}, is no finding."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def report(groups: Sequence[Group]) -> str:
    """All results, for RESULTS.md."""
    parts = [
        f"Both embedded models, the first {TEST_ROWS} examples of the sealed test. Hypervolume is the share "
        "of the plane of test quality and log serving cost that the frontier covers, from quality 0 and the "
        "dearest frontier point of all studies in the table to the cheapest. `best` is the candidate that "
        "was best on dev, scored on the test. Means over seeds, in brackets the lowest and the highest; "
        "differences are paired by seed. Requests that two studies share got the same reply."
    ]
    for group in groups:
        parts += [f"### {group.task}, {group.calls} calls a study", table(group), reading(group)]
    return "\n\n".join(parts)


def write_between(path: Path, begin: str, end: str, text: str) -> None:
    """Replace the text between two markers of a file.

    Raises:
        SystemExit: The file lacks a marker.
    """
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} has no {begin} ... {end}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Run the missing studies, and write all results into RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS, help="only this program; repeatable")
    parser.add_argument("--space", action="append", choices=VARIANTS, help="only this one; repeatable")
    parser.add_argument("--calls", type=int, default=CALLS, help="budget of a study")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="studies of each space")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "runs" / "ablations", help="where studies are kept"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file with the markers to write between"
    )
    options = parser.parse_args()
    tasks = []
    for name in options.task or TASKS:
        task = load_task(ROOT / "programs" / f"{name}.py")
        tasks.append(replace(task, dataset=replace(task.dataset, test=task.dataset.test[:TEST_ROWS])))
    with patch.object(LlamaEngine, "complete", cached(LlamaEngine.complete)):
        for seed, task in product(range(options.seeds), tasks):
            for name in options.space or VARIANTS:
                run(task, name, seed, options.calls, options.folder)
                write_between(options.results, BEGIN, END, report(groups_of(options.folder)))


if __name__ == "__main__":
    main()
