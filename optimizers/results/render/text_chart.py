"""A small text chart of cost against quality, for the live view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")


@dataclass(frozen=True)
class ChartPoint:
    """One measured candidate.

    Attributes:
        model: Name of its model.
        quality: In [0, 1].
        cost: Serving cost of a rollout, US dollars.
        on_frontier: Whether no other candidate dominates it.
    """

    model: str
    quality: float
    cost: float
    on_frontier: bool


def terminal_chart(points: Sequence[ChartPoint], *, width: int, height: int) -> Text:
    """Cost to the right on a log scale, quality upwards; a letter per model, capital on the frontier.

    Args:
        points: What to draw; those without a cost above 0 are left out.
        width: Columns in all, at least 20.
        height: Rows in all, at least 5.
    """
    shown = [point for point in points if point.cost > 0]
    if not shown:
        return Text("nothing measured yet")
    models = sorted({point.model for point in shown})
    columns, rows = max(width, 20) - 7, max(height, 5) - 2
    costs = [math.log(point.cost) for point in shown]
    low, high = min(costs), max(costs)
    grid: dict[tuple[int, int], ChartPoint] = {}
    for point, cost in sorted(zip(shown, costs, strict=True), key=lambda pair: pair[0].on_frontier):
        column = round((cost - low) / (high - low) * (columns - 1)) if high > low else columns // 2
        grid[min(rows - 1, int((1 - point.quality) * rows)), column] = point
    text = Text()
    for row in range(rows):
        text.append(f"{1 - row / rows:5.2f} |", style="dim")
        for column in range(columns):
            text.append(*_symbol(grid.get((row, column)), models))
        text.append("\n")
    text.append(
        f"       {1000 * math.exp(low):.2g} to {1000 * math.exp(high):.2g} USD per 1,000   ", style="dim"
    )
    for index, model in enumerate(models):
        text.append(f"{_letter(index)} {model.rsplit('/', 1)[-1]}  ", style=COLOURS[index % len(COLOURS)])
    return text


def _symbol(point: ChartPoint | None, models: Sequence[str]) -> tuple[str, str]:
    if point is None:
        return " ", ""
    index = models.index(point.model)
    letter = _letter(index)
    colour = COLOURS[index % len(COLOURS)]
    return (letter, f"bold {colour}") if point.on_frontier else (letter.lower(), f"dim {colour}")


def _letter(index: int) -> str:
    return chr(ord("A") + index % 26)
