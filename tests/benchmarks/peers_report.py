"""Results of the optimizers on real models: tables, and a picture for each way of rendering."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from optimizers.results.statistics.intervals import mean_interval
from optimizers.results.statistics.paired import paired_difference

OURS, FRONTIER, PLAIN = "parity", "parity, quality and cost", "plain default"
OWN = (OURS, FRONTIER)
"""Parity with quality as its only objective, as the peers have it, and with its default objectives."""

TITLES = {"chat": "Peers under DSPy's ChatAdapter", "ours": "Peers under Parity's plainest rendering"}
"""Way of rendering -> title of its table."""

Pair = tuple[str, str]
"""A task and a model."""


@dataclass(frozen=True)
class Outcome:
    """The result of one run of an optimizer.

    Attributes:
        task: The program.
        model: The model.
        rendering: ``chat`` for DSPy's ChatAdapter, or ``ours``.
        optimizer: Its name.
        seed: Its seed.
        scores: Test scores, in the order of the examples; of the first ones where there are fewer.
        calls: Calls of the search.
        seconds: Seconds of the search.
        ended: The error that ended the search, if one did; the result is then the plain program.
    """

    task: str
    model: str
    rendering: str
    optimizer: str
    seed: int
    scores: tuple[float, ...]
    calls: int
    seconds: float
    ended: str = ""

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), separators=(",", ":")) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Cell:
    """An optimizer on one task and model, its seeds averaged by example.

    Attributes:
        seeds: Mean test score of each seed.
        calls: Mean calls of a search.
        seconds: Mean seconds of a search.
        interval: Mean test score, and the ends of its 95% interval.
        ours: Parity's score less this one's, with its 95% interval, paired by example; None without Parity's.
        ended: Seeds whose search an error ended.
    """

    seeds: tuple[float, ...]
    calls: float
    seconds: float
    interval: tuple[float, float, float]
    ours: tuple[float, float, float] | None
    ended: int

    @property
    def text(self) -> str:
        """For a table."""
        mean, low, high = self.interval
        several = f", {len(self.seeds)} seeds: {min(self.seeds):.3f} to {max(self.seeds):.3f}"
        seeds = several if len(self.seeds) > 1 else ""
        ended = ", plain: an error ended the search" if self.ended else ""
        text = f"{mean:.3f} ({low:.2f}-{high:.2f}{seeds}{ended})"
        if self.ours is None:
            return text
        difference, low, high = self.ours
        return f"{text}; ours {difference:+.3f} ({low:+.3f} to {high:+.3f})"


Cells = dict[str, dict[Pair, Cell]]
"""Optimizer -> task and model -> result."""


def outcomes_of(folder: Path) -> list[Outcome]:
    """All kept outcomes."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [Outcome(**{**one, "scores": tuple(one["scores"])}) for one in kept]


def cells(outcomes: Iterable[Outcome], how: str) -> Cells:
    """Results of each optimizer under a way of rendering; Parity chooses its own and is in every one."""
    runs: dict[str, dict[Pair, list[Outcome]]] = {}
    for one in outcomes:
        if one.rendering == how or one.optimizer in OWN:
            runs.setdefault(one.optimizer, {}).setdefault((one.task, one.model), []).append(one)
    means = {
        name: {
            pair: tuple(map(fmean, zip(*(o.scores for o in own), strict=True))) for pair, own in of.items()
        }
        for name, of in runs.items()
    }
    found: Cells = {}
    for name, of in means.items():
        for pair, scores in of.items():
            parity = None if name == OURS else means.get(OURS, {}).get(pair)
            own = runs[name][pair]
            found.setdefault(name, {})[pair] = Cell(
                seeds=tuple(fmean(one.scores) for one in own),
                calls=fmean(one.calls for one in own),
                seconds=fmean(one.seconds for one in own),
                interval=(fmean(scores), *mean_interval(scores)),
                ours=None if parity is None else paired_difference(parity[: len(scores)], scores),
                ended=sum(bool(one.ended) for one in own),
            )
    return found


def table(known: Cells, order: Sequence[str]) -> str:
    """A line per optimizer: test quality on every task and model, compared with Parity's by example."""
    pairs = pairs_of(known)
    lines = [
        f"| optimizer | {' | '.join(', '.join(pair) for pair in pairs)} | calls | minutes |",
        "|---" * (3 + len(pairs)) + "|",
    ]
    for name in (name for name in order if name in known):
        of = known[name]
        texts = [of[pair].text if pair in of else "" for pair in pairs]
        calls = fmean(one.calls for one in of.values())
        minutes = fmean(one.seconds for one in of.values()) / 60
        lines.append(f"| {name} | {' | '.join(texts)} | {calls:,.0f} | {minutes:.0f} |")
    return "\n".join(lines)


def pairs_of(known: Cells) -> list[Pair]:
    """The tasks and models that some optimizer ran on."""
    return sorted({pair for of in known.values() for pair in of}, reverse=True)


def reading(known: Cells) -> str:
    """How often Parity is above the peers, and how often clearly so."""
    against = [
        (cell.ours, name, pair)
        for name, of in known.items()
        for pair, cell in of.items()
        if cell.ours is not None and name not in (*OWN, PLAIN)
    ]
    if not against:
        return "No peer was run here yet."
    above = [ours for ours, *_ in against if ours[0] > 0]
    clear = [ours for ours, *_ in against if ours[1] > 0]
    worse = [f"{name} on {', '.join(pair)}" for ours, name, pair in against if ours[2] < 0]
    below = [f"{name} on {', '.join(pair)} ({ours[0]:+.3f})" for ours, name, pair in against if ours[0] < 0]
    text = (
        f"Of {len(against)} comparisons with a peer Parity's result is above in {len(above)}, clearly (the "
        f"interval excludes 0) in {len(clear)}; clearly below in {len(worse)}."
    )
    if below:
        text += f" Below: {'; '.join(below)}."
    return text


def report(outcomes: Sequence[Outcome], order: Sequence[str], pictures: Path) -> str:
    """All results, for RESULTS.md.

    Args:
        outcomes: The outcomes, at least one.
        order: The optimizers in their order.
        pictures: Folder that gets a picture for each way of rendering.
    """
    parts = [
        "Accuracy on test examples that no optimizer saw, 95% intervals; `ours` is Parity's less "
        "the peer's, paired by example. Several seeds are averaged by example, and the lowest and highest "
        "are given. Intervals cover the choice of examples, not the luck of a search. Parity's calls include "
        "the short sealed test that ends its study; its result is the candidate that was best on dev. Its "
        "only objective is quality, as for the peers; a second row gives its result with quality and cost."
    ]
    for how, title in TITLES.items():
        if theirs := [one for one in outcomes if one.rendering == how and one.optimizer not in OWN]:
            name, known = f"peers-{how}.png", cells(outcomes, how)
            draw(known, order, title, pictures / name)
            counts = sorted({len(one.scores) for one in theirs})
            tests = f"Peers have {' or '.join(map(str, counts))} test examples each."
            parts += [f"### {title}", tests, table(known, order), reading(known), f"![{title}]({name})"]
    return "\n\n".join(parts)


def draw(known: Cells, order: Sequence[str], title: str, path: Path) -> None:
    """A panel per task and model: each optimizer's test quality with its interval.

    Args:
        known: Results of each optimizer.
        order: The optimizers, the first at the top.
        title: Above all panels.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names, pairs = [name for name in order if name in known], pairs_of(known)
    size = (3 + 2.6 * len(pairs), 1.2 + 0.42 * len(names))
    figure, axes = pyplot.subplots(1, len(pairs), figsize=size, dpi=120, sharey=True, squeeze=False)
    for panel, pair in zip(axes[0], pairs, strict=True):
        _panel(panel, [(place, name, known[name].get(pair)) for place, name in enumerate(names)])
        panel.set_title("\n".join(pair), fontsize=9)
        panel.set_xlabel("test accuracy", fontsize=8)
    axes[0][0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0][0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _panel(panel: Any, rows: Sequence[tuple[int, str, Cell | None]]) -> None:
    for place, name, cell in rows:
        if cell is None:
            continue
        mean, low, high = cell.interval
        colour = "#D55E00" if name == OURS else "#0072B2"
        panel.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, capsize=3)
        if name == OURS:
            panel.axvline(mean, color=colour, linewidth=0.8, linestyle=":")
    panel.grid(axis="x", alpha=0.3)
    panel.tick_params(labelsize=8)
