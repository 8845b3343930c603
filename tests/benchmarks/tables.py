"""Tables of real rollouts: a full grid of candidates on the same examples, for searches to be replayed on.

    python tests/benchmarks/tables.py
    python tests/benchmarks/tables.py --program programs/rules.py --model local/qwen2.5-coder-0.5b-instruct

Each table is of one task and one model: every combination of a few servings (rendering and technique),
instructions and sets of demos, greedy, on the same dev and test examples. Rollouts are kept in
runs/tables/: the same command continues where it stopped. A finished table is written as Parquet
next to this file; it holds scores, tokens and times, and only hashes of the examples.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from optimizers.evaluation.measure import Measurer
from optimizers.models.resolve import model as resolve_model
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import Choices
from optimizers.search.blocks import blocks
from optimizers.search.space.initial_design import FixedChoices, completed
from optimizers.search.space.search_space import ELABORATE, SEVERAL_CALLS, SearchSpace, search_space
from optimizers.task.signature_fields import fields_of
from optimizers.task.task import LoadedTask, load_task

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model
    from optimizers.records.rows import Rollout, Split

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parent / "tables"

GRID = (
    ("classify", "smollm2-135m-instruct"),
    ("categorize", "smollm2-135m-instruct"),
    ("tweets", "smollm2-135m-instruct"),
    ("classify", "gemma-3-270m"),
    ("categorize", "gemma-3-270m"),
)
"""Program and model of the tables that are kept with the project, in the order they are built."""

DEV, TEST = 100, 100
"""Examples of each split."""

CANDIDATES = 100
"""Fewest combinations of a table; instructions are added until there are as many."""

MOST_DEMOS, SIZES, DRAWS = 24, 3, 3
"""Most demos of one prompt; numbers of demos in addition to none; draws of each number."""

Place = dict[str, Any]
"""Column of a table -> a candidate's place in it."""

INSTRUCTIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("own", {}),
    ("own", {"labels": "criteria", "rule": "rule"}),
    ("task", {"role": "role", "labels": "labels"}),
    ("pseudo-code", {}),
    ("brief", {"rule": "rule-first"}),
    ("own", {"role": "role", "audience": "audience", "principles": "principles"}),
)
"""Instructions and the parts added to each, as different from each other as the space allows."""


def grid(space: SearchSpace, model: Model) -> dict[str, tuple[Place, Choices]]:
    """The combinations of a table.

    Args:
        space: The search space of the task with this one model.
        model: The model.

    Returns:
        Candidate id -> its place in the grid, and the choices of the search space that make it.
    """
    sizes = sorted({0, *_sizes(space, model)})
    demos = [(size, draw) for size in sizes for draw in range(DRAWS if size else 1)]
    ways = list(servings(space, model))
    count = -(-CANDIDATES // (len(ways) * len(demos)))
    found = {}
    for instruction, serving, (size, draw) in product(range(min(count, len(INSTRUCTIONS))), ways, demos):
        place = {"serving": "/".join(serving), "instruction": str(instruction), "demos": size, "draw": draw}
        choices = _choices(space, model, serving, instruction, size, draw)
        found[space.choose(FixedChoices(choices)).id] = (place, choices)
    return found


def servings(space: SearchSpace, model: Model) -> Iterator[tuple[str, str]]:
    """The two plainest renderings with direct answers, and label scoring where it is legal."""
    plainest, *others = space.renderings(model)
    for rendering in (plainest, *others[:1]):
        yield rendering, "direct"
    if "label_scoring" in space.techniques(model, plainest):
        yield plainest, "label_scoring"


def _sizes(space: SearchSpace, model: Model) -> list[int]:
    """Demos per label to choose from: the fewest, the most, and one between."""
    (predictor, *_) = space.predictors.values()
    few = [n for n in predictor.sizes[model.name] if 0 < n * predictor.labels <= MOST_DEMOS]
    return [few[round(place * (len(few) - 1) / (SIZES - 1))] for place in range(SIZES)] if few else []


def _choices(
    space: SearchSpace, model: Model, serving: tuple[str, str], instruction: int, size: int, draw: int
) -> Choices:
    (rendering, technique), (way, parts) = serving, INSTRUCTIONS[instruction]
    values: Choices = {space.parameter(model, None, "rendering"): rendering}
    for name, predictor in space.predictors.items():
        parameter = partial(space.parameter, model, name)
        if technique != "direct":
            values |= {
                parameter("technique"): ELABORATE,
                parameter("elaborate"): SEVERAL_CALLS,
                parameter("calls", rendering): technique,
            }
        known = {part: form for part, form in parts.items() if form in predictor.parts.get(part, ())}
        values[parameter("instruction")] = way
        values |= {parameter(f"part.{part}"): form for part, form in known.items()}
        values |= {parameter("demos"): size, parameter("draw", "balanced"): draw}
    return completed(space, values)


def chosen(task: LoadedTask) -> dict[Split, list[dspy.Example]]:
    """The examples of a table, stratified by label."""
    outputs = list(fields_of(task.program, task.dataset.dev)[2])
    parts: dict[Split, tuple[Sequence[dspy.Example], int]] = {
        "dev": (task.dataset.dev, DEV),
        "test": (task.dataset.test, TEST),
    }
    return {
        split: [example for block in blocks(part, outputs, 0) for example in block][:count]
        for split, (part, count) in parts.items()
    }


def build(program: Path, name: str, folder: Path, tables: Path) -> None:
    """Measure the missing rollouts of a table, and write it.

    Args:
        program: The program file.
        name: The model.
        folder: Where the ledgers are.
        tables: Where the tables are.
    """
    model = resolve_model(name)
    task = load_task(program, models=(model,))
    space = search_space(task)
    combinations, examples = grid(space, model), chosen(task)
    title = f"{task.name}--{model.label}"
    if (tables / f"{title}.parquet").is_file():
        return
    with Ledger.open(folder / f"{title}.db") as ledger:
        measurer = Measurer(task, ledger)
        rows = []
        for number, (place, choices) in enumerate(combinations.values(), 1):
            candidate = space.choose(FixedChoices(choices))
            parts = [measurer.measure(candidate, part, split) for split, part in examples.items()]
            found = [rollout for part in parts for rollout in part]
            rows += [row(place, rollout) for rollout in found]
            mean = fmean(rollout.score or 0.0 for rollout in found)
            seconds = sum(rollout.latency for rollout in found) / model.concurrency
            print(
                f"{title} {number}/{len(combinations)} {candidate.summary}: {mean:.2f}, {seconds:.0f} s",
                flush=True,
            )
    tables.mkdir(exist_ok=True)
    write(rows, tables / f"{title}.parquet")


def row(place: Place, rollout: Rollout) -> dict[str, Any]:
    """One line of a table."""
    return place | {
        "candidate": rollout.candidate,
        "example": rollout.example,
        "split": rollout.split,
        "score": rollout.score,
        "calls": rollout.calls,
        "prompt_tokens": rollout.prompt_tokens,
        "cached_tokens": rollout.cached_tokens,
        "completion_tokens": rollout.completion_tokens,
        "cost": rollout.cost,
        "milliseconds": round(1000 * rollout.latency),
    }


def write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a table, compressed: many values repeat."""
    words = ("serving", "instruction", "candidate", "example", "split")
    kinds = dict.fromkeys(words, pa.string()) | {"score": pa.float32(), "cost": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.int32())) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression="zstd")


def main() -> None:
    """Build the missing tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", type=Path, help="a program file; the kept grid when left out")
    parser.add_argument("--model", help="its model, such as local/gemma-3-270m")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "tables", help="where the ledgers are")
    parser.add_argument("--tables", type=Path, default=TABLES, help="where the tables are written")
    options = parser.parse_args()
    if (options.program is None) != (options.model is None):
        parser.error("--program and --model go together")
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = (
        [(ROOT / "programs" / f"{program}.py", f"local/{model}") for program, model in GRID]
        if options.program is None
        else [(options.program, options.model)]
    )
    for program, model in wanted:
        build(program, model, options.folder, options.tables)


if __name__ == "__main__":
    main()
