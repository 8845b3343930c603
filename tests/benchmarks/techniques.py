"""Quality, serving cost, calls and unparsed replies of each technique, by model and task.

    python tests/benchmarks/techniques.py
    python tests/benchmarks/techniques.py --task classify --model qwen2.5-coder-0.5b-instruct

Every legal technique runs under the plainest rendering of a model, with the user's own instruction,
once without demos and once with one per label, always on the same dev examples, balanced over labels,
so that all rows of a table are paired. Rollouts are kept in runs/techniques/: the same command continues
where it stopped. Each run writes the results so far, of all tasks and models, into RESULTS.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablations import write_between

from optimizers.evaluation.measure import Measurer
from optimizers.models.catalogue import CATALOGUE
from optimizers.models.model import Model
from optimizers.models.resolve import model as resolve_model
from optimizers.models.sampling import Sampling
from optimizers.prompting.proposals.demos import balanced_output, labelled_demos
from optimizers.prompting.renderings import renderings_for
from optimizers.prompting.renderings.constraints import most_characters
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.technique import Technique
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.records.rows import Rollout
from optimizers.results.statistics.intervals import estimate
from optimizers.results.statistics.paired import paired_difference
from optimizers.search.space.search_space import search_space
from optimizers.task.data.split import example_id
from optimizers.task.task import LoadedTask, load_task

if TYPE_CHECKING:
    import dspy

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "RESULTS.md"
BEGIN, END = "<!-- techniques: begin -->", "<!-- techniques: end -->"

TASKS = ("classify", "categorize", "rules")
MODELS = tuple(name.rsplit("/", 1)[-1] for name in sorted(CATALOGUE, key=lambda name: CATALOGUE[name].size))
DEMOS = (0, 1)
"""Demos per label."""

NAMES = {0: "Without demos", 1: "With one demo per label"}

EXAMPLES, FEWEST = 40, 8
"""Most dev examples of a row, and fewest: a technique that is too slow for these gets no row."""

ROW_SECONDS = 30.0
"""Time a row may take before it gets fewer examples."""

READ_SECONDS, CALL_SECONDS, WRITE_SECONDS = 0.6, 0.15, 0.025
"""Rough seconds on 2 cores per billion parameters: for an example's own prompt, a call, a generated token."""

TEMPERATURE = 0.7
"""Temperature of techniques that vote; the others are greedy."""


@dataclass(frozen=True)
class Row:
    """One technique of one model on one task.

    Attributes:
        task: The program's name.
        model: The model's short name.
        technique: The technique's name.
        demos: Demos per label.
        rollouts: Example -> its rollout.
    """

    task: str
    model: str
    technique: str
    demos: int
    rollouts: dict[str, Rollout]

    @property
    def scores(self) -> dict[str, float]:
        """Example -> score, failures left out."""
        return {key: one.score for key, one in self.rollouts.items() if one.score is not None}

    @property
    def cost(self) -> float:
        """US dollars to serve 1,000 rollouts."""
        return 1000 * fmean(one.cost for one in self.rollouts.values())


@dataclass(frozen=True)
class Difference:
    """Scores of one or several rows compared with answering directly on the same examples.

    Attributes:
        mean: Ours less theirs.
        low: Lower end of the 95% interval.
        high: Upper end.
        ours: Our mean score on these examples.
        n: Examples.
        multiple: Our serving cost over theirs; of several rows the geometric mean.
    """

    mean: float
    low: float
    high: float
    ours: float
    n: int
    multiple: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[Row, Row]]) -> Difference:
        """The difference over all examples that the rows of each pair share."""
        ours: list[float] = []
        theirs: list[float] = []
        ratios = []
        for row, direct in pairs:
            both = [key for key in row.scores if key in direct.scores]
            ours += [row.scores[key] for key in both]
            theirs += [direct.scores[key] for key in both]
            ratios.append(fmean(row.rollouts[k].cost / direct.rollouts[k].cost for k in both))
        mean, low, high = paired_difference(ours, theirs)
        return cls(mean, low, high, fmean(ours), len(ours), math.exp(fmean(map(math.log, ratios))))

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        text = f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"
        return f"**{text}**" if self.clear else text


def candidates(task: LoadedTask, model: Model) -> Iterator[tuple[Candidate, int]]:
    """The candidates of one task and one model, each with its number of examples."""
    ((predictor, space),) = search_space(task).predictors.items()
    rendering = renderings_for(model.kind)[0]
    for name in search_space(task).techniques(model, rendering):
        technique = TECHNIQUES[name]
        sampling = Sampling(
            temperature=TEMPERATURE if technique.sampling == "needed" else 0.0,
            max_tokens=technique.reply_tokens(space.signature)[0],
        )
        count = examples_for(technique, model, space.signature)
        if count < FEWEST:
            continue
        for per_label in DEMOS:
            prompt = PredictorPrompt(
                instruction=space.signature.instructions,
                demos=labelled_demos(space.pools, space.signature, per_label=per_label, seed=0),
                demos_name=f"{per_label} per label",
            )
            yield (
                Candidate(
                    model=model.name,
                    rendering=rendering,
                    technique=name,
                    predictors={predictor: prompt},
                    sampling=sampling,
                ),
                count,
            )


def examples_for(technique: Technique, model: Model, signature: type[dspy.Signature]) -> int:
    """Number of examples of a row; a thought is assumed to be a third of its maximum length."""
    first = next(iter(technique.transform(signature).output_fields.values()))
    thought = (most_characters(first) or 0) / 12 if technique.reasons else 0
    each = CALL_SECONDS + WRITE_SECONDS * thought
    seconds = (READ_SECONDS + technique.calls(signature) * each) * (model.size or 1.0)
    return min(EXAMPLES, int(ROW_SECONDS / seconds))


def balanced(task: LoadedTask) -> list[dspy.Example]:
    """The dev examples in rounds of one per label, so that a constant answer does not score well."""
    ((_, predictor),) = task.program.named_predictors()
    output = balanced_output(predictor.signature)
    by_label: dict[str, list[dspy.Example]] = defaultdict(list)
    for example in sorted(task.dataset.dev, key=example_id):
        by_label[str(example.get(output))].append(example)
    rounds = zip_longest(*(by_label[label] for label in sorted(by_label)))
    return [example for one in rounds for example in one if example is not None]


def measure(program: str, short: str, folder: Path, *, names: Sequence[str], most: int) -> None:
    """Measure what the ledger of a task and a model lacks.

    Args:
        program: The task.
        short: The model's short name.
        folder: Where the ledger is.
        names: Techniques to measure.
        most: Dev examples of a row, at most.
    """
    model = resolve_model(f"local/{short}")
    task = load_task(ROOT / "programs" / f"{program}.py", models=(model,))
    with Ledger.open(folder / f"{program}--{short}.db") as ledger:
        measurer = Measurer(task, ledger)
        examples = balanced(task)
        for candidate, count in candidates(task, model):
            if candidate.technique not in names:
                continue
            rollouts = measurer.measure(candidate, examples[: min(count, most)], "dev")
            scores = [one.score for one in rollouts if one.score is not None]
            print(
                f"{program} {short} {candidate.summary}: {fmean(scores):.2f} of {len(scores)}, "
                f"{sum(one.latency for one in rollouts) / model.concurrency:.0f} s",
                flush=True,
            )


def rows_of(folder: Path) -> list[Row]:
    """All measured rows, in the order of tasks, models and techniques."""
    rows = []
    for task, model in product(TASKS, MODELS):
        path = folder / f"{task}--{model}.db"
        if not path.is_file():
            continue
        with Ledger.open(path) as ledger:
            for identity, candidate in ledger.candidates().items():
                (prompt,) = candidate.predictors.values()
                found = {one.example: one for one in ledger.rollouts(candidate=identity, split="dev")}
                if found:
                    demos = int(prompt.demos_name.split()[0])
                    rows.append(Row(task, model, candidate.technique, demos, found))
    places = {name: place for place, name in enumerate((*TASKS, *MODELS, *TECHNIQUES))}
    return sorted(
        rows, key=lambda row: (places[row.task], places[row.model], places[row.technique], row.demos)
    )


def report(rows: Sequence[Row]) -> str:
    """All tables as Markdown."""
    parts = [
        "On 2 cores shared with other work. Dev examples are balanced over labels, so scores are for "
        "comparing rows. 95% intervals. `$` is US dollars per 1,000 rollouts at the by-size price. All "
        "models have the rendering `completion` and the user's own instruction; techniques that vote sample "
        f"at temperature {TEMPERATURE}, the others are greedy. Slow rows got fewer examples (n), always the "
        "first ones; the slowest were left out.",
        "### Gains by technique",
        *(pays(rows, demos) for demos in DEMOS),
        demos_pay(rows),
        best(rows),
    ]
    for task, model in product(TASKS, MODELS):
        own = [row for row in rows if (row.task, row.model) == (task, model)]
        if own:
            parts += [f"### {task}, {described(model)}", table(own)]
    return "\n\n".join(parts)


def pays(rows: Sequence[Row], demos: int) -> str:
    """Each technique's difference to answering directly, over the tasks of each model."""
    models = [model for model in MODELS if any(row.model == model for row in rows)]
    pairs: dict[tuple[str, str], list[tuple[Row, Row]]] = defaultdict(list)
    for row, direct in against_direct(rows):
        if row.demos == demos:
            pairs[row.technique, row.model].append((row, direct))
    found = {key: Difference.of(both) for key, both in pairs.items()}
    lines = [
        f"{NAMES[demos]}, all tasks together: difference to `direct` on the same examples, number of",
        "examples, serving cost as a multiple of that of `direct`. Bold where the interval excludes 0.",
        "",
        "| technique | " + " | ".join(map(described, models)) + " |",
        "|---" * (len(models) + 1) + "|",
    ]
    for technique in TECHNIQUES:
        own = [found.get((technique, model)) for model in models]
        if any(own):
            cells = [f"{one}, n {one.n}, x{one.multiple:.1f}" if one else "" for one in own]
            lines.append(f"| {technique} | {' | '.join(cells)} |")
    above = sum(one.low > 0 for one in found.values())
    below = sum(one.high < 0 for one in found.values())
    lines += [
        "",
        f"Of {len(found)} differences {above} are clearly above 0 and {below} clearly below; by chance alone "
        f"about {0.025 * len(found):.1f} would be on each side.",
    ]
    return "\n".join(lines)


def demos_pay(rows: Sequence[Row]) -> str:
    """The gain by demos when answering directly, for comparison with the techniques."""
    direct = {(row.task, row.model, row.demos): row for row in rows if row.technique == "direct"}
    lines = ["One demo per label against none, both `direct`, all tasks together:", ""]
    for model in MODELS:
        pairs = [
            (direct[task, model, 1], direct[task, model, 0])
            for task in TASKS
            if (task, model, 0) in direct and (task, model, 1) in direct
        ]
        if pairs:
            found = Difference.of(pairs)
            lines.append(f"- {described(model)}: {found}, n {found.n}, x{found.multiple:.1f}")
    return "\n".join(lines)


def best(rows: Sequence[Row]) -> str:
    """The best technique of each task and model against answering directly with the same demos."""
    groups: dict[tuple[str, str, int], list[tuple[Row, Row]]] = defaultdict(list)
    for row, direct in against_direct(rows):
        groups[row.task, row.model, row.demos].append((row, direct))
    lines = [
        "For each task and model, the technique whose difference to `direct` with the same demos has the",
        "highest lower end. The best of many is partly lucky: these differences are biased upwards, and",
        "their intervals do not account for it.",
        "",
        "| task | model | demos | best technique | score | n | difference | cost |",
        "|---" * 8 + "|",
    ]
    for (task, model, demos), pairs in groups.items():
        found = [(Difference.of([pair]), pair[0].technique) for pair in pairs]
        top, technique = max(found, key=lambda one: (one[0].low, -one[0].multiple))
        lines.append(
            f"| {task} | {described(model)} | {demos} | {technique} | {top.ours:.2f} | {top.n} | {top} | "
            f"x{top.multiple:.1f} |"
        )
    return "\n".join(lines)


def against_direct(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Each row of another technique, and the row that answers directly under the same conditions."""
    direct = {(row.task, row.model, row.demos): row for row in rows if row.technique == "direct"}
    for row in rows:
        plain = direct.get((row.task, row.model, row.demos))
        if plain is not None and row is not plain:
            yield row, plain


def table(rows: Sequence[Row]) -> str:
    """A task and a model: a line per technique, the demo sizes side by side."""
    sides = " | ".join(f"{NAMES[demos].lower()}: score | n | $ | calls | unparsed" for demos in DEMOS)
    lines = [f"| technique | {sides} |", "|---" * (1 + 5 * len(DEMOS)) + "|"]
    for technique in TECHNIQUES:
        found = {row.demos: row for row in rows if row.technique == technique}
        if found:
            cells = " | ".join(_cells(found.get(demos)) for demos in DEMOS)
            lines.append(f"| {technique} | {cells} |")
    return "\n".join(lines)


def _cells(row: Row | None) -> str:
    if row is None:
        return " | | | | "
    rollouts = list(row.rollouts.values())
    score = estimate(list(row.scores.values()))
    unparsed = fmean(not one.parsed for one in rollouts)
    calls = fmean(one.calls for one in rollouts)
    return (
        f"{score.mean:.2f} ({score.low:.2f}-{score.high:.2f}) | {score.n} | {row.cost:.5f} | {calls:.1f} | "
        f"{unparsed:.0%}"
    )


def described(model: str) -> str:
    """A model's short name and its kind."""
    return f"{model} ({CATALOGUE[f'local/{model}'].kind})"


def main() -> None:
    """Measure what is missing, then write all results into RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS, help="only this program; repeatable")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this model; repeatable")
    parser.add_argument("--technique", action="append", choices=TECHNIQUES, help="only this one; repeatable")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="most dev examples of a row")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "runs" / "techniques", help="where rollouts are kept"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file with the markers to write between"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for model in options.model or MODELS:
        for task in options.task or TASKS:
            names = options.technique or list(TECHNIQUES)
            measure(task, model, options.folder, names=names, most=options.examples)
    write_between(options.results, BEGIN, END, report(rows_of(options.folder)))


if __name__ == "__main__":
    main()
