"""The frontier as a picture."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.results.headline import names_of
from optimizers.results.wording import allowed

if TYPE_CHECKING:
    from optimizers.records.report import FrontierReport, Point

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The Okabe-Ito palette, which colour-blind readers can tell apart."""

MARKERS = {"base": "s", "instruct": "o", "chat": "^"}

_drawing = threading.Lock()
"""One picture at a time: matplotlib keeps figures and formulas per process."""


def draw_frontier(report: FrontierReport, path: Path) -> None:
    """Draw cost against quality: the frontier with its test intervals, all else faint.

    Args:
        report: The result.
        path: PNG to write.
    """
    import matplotlib

    with _drawing:
        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(10, 6.25), dpi=160)
        _draw(axes, report)
        figure.tight_layout()
        figure.savefig(path)
        pyplot.close(figure)


def _draw(axes: Any, report: FrontierReport) -> None:
    models = list(dict.fromkeys(point.candidate.label for point in report.points))
    colours = {model: COLOURS[index % len(COLOURS)] for index, model in enumerate(sorted(models))}
    for model in models:
        _searched(axes, [p for p in report.points if p.candidate.label == model], colours[model])
    _reference(axes, report)
    frontier = report.with_role("frontier")
    _tested(axes, [point for point in report.with_role("best") if point not in frontier], colours, alpha=0.6)
    _tested(axes, frontier, colours)
    _steps(axes, frontier)
    for point in report.with_role("default"):
        _default(axes, point, colours[point.candidate.label])
    _dress(axes, report, colours)


def _cost(point: Point) -> float:
    return max(1000 * point.cost, 1e-9)  # a free point has a place on the log scale too


def _quality(point: Point) -> float:
    return point.test.mean if point.test is not None else point.dev.mean


def _searched(axes: Any, points: Sequence[Point], colour: str) -> None:
    shown = [p for p in points if p.roles == ("searched",) and p.dev.n]
    marker = MARKERS[points[0].kind] if points else "o"
    axes.scatter(
        [_cost(p) for p in shown],
        [p.dev.mean for p in shown],
        s=22,
        c=colour,
        alpha=0.22,
        marker=marker,
        linewidths=0,
    )


def _tested(axes: Any, points: Sequence[Point], colours: dict[str, str], alpha: float = 1.0) -> None:
    """Points with their test score and its interval; fainter where they are not on the frontier."""
    for point in points:
        test = point.test
        if test is None:
            continue
        axes.errorbar(
            _cost(point),
            test.mean,
            yerr=[[max(0.0, test.mean - test.low)], [max(0.0, test.high - test.mean)]],
            color=colours[point.candidate.label],
            marker=MARKERS[point.kind],
            markersize=7 + 5 * min(2.0, (point.size or 0.5) ** 0.5),
            markeredgecolor="white",
            capsize=3,
            linewidth=1.4,
            alpha=alpha,
            zorder=4,
        )


def _steps(axes: Any, points: Sequence[Point]) -> None:
    """The best test score there is for each cost."""
    shown = [p for p in points if p.test is not None]
    best, steps = 0.0, []
    for point in shown:
        if _quality(point) > best:
            best = _quality(point)
            steps.append((_cost(point), best))
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color="#444444", linewidth=1.2, zorder=2)


def _reference(axes: Any, report: FrontierReport) -> None:
    names = names_of(report)
    for point in report.with_role("reference"):
        level = _quality(point)
        axes.axhspan(level - report.margin, level, color="#999999", alpha=0.18, linewidth=0)
        axes.axhline(level, color="#777777", linewidth=1, linestyle="--")
        axes.annotate(
            f"reference: best of {names[report.reference]} ({level:.3f}); "
            f"band: {allowed(report.margin)} points allowed",
            (0.005, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color="#555555",
            parse_math=False,
        )


def _default(axes: Any, point: Point, colour: str) -> None:
    axes.scatter(
        _cost(point),
        _quality(point),
        s=90,
        facecolors="none",
        edgecolors=colour,
        marker=MARKERS[point.kind],
        zorder=5,
    )
    axes.annotate(
        f"plain default {_quality(point):.2f}",
        (_cost(point), _quality(point)),
        xytext=(10, -12 if _quality(point) > 0.1 else 4),
        textcoords="offset points",
        fontsize=8,
        color=colour,
    )


def _dress(axes: Any, report: FrontierReport, colours: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    kinds = {point.candidate.label: point.kind for point in report.points}
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=MARKERS[kinds[model]],
            linestyle="",
            label=f"{model} ({kinds[model]})",
        )
        for model, colour in colours.items()
    ]
    handles.append(
        Line2D([], [], color="#888888", marker="o", linestyle="", alpha=0.35, label="searched (dev)")
    )
    handles.append(
        Line2D(
            [],
            [],
            color="#444444",
            linewidth=1.2,
            label="frontier (sealed test, 95% interval); faint: a model's best that is not on it",
        )
    )
    for text in axes.legend(handles=handles, fontsize=8, loc="best", framealpha=0.9).get_texts():
        text.set_parse_math(False)
    tested = max((point.test.n for point in report.points if point.test), default=0)
    axes.set_title(
        f"{report.task}: quality against serving cost ({report.metric}, {tested} sealed rows)",
        fontsize=11,
        parse_math=False,
    )
    axes.set_xscale("log")
    axes.set_xlabel("serving cost, US dollars per 1,000 rollouts (log scale)")
    axes.set_ylabel("quality")
    axes.set_ylim(-0.02, 1.02)
    axes.grid(True, which="major", alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
