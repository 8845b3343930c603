"""Which point of a finished study is used: one that is named, or the one that a rule picks."""

from __future__ import annotations

from typing import Literal

from optimizers.errors import UserError
from optimizers.records.report import FrontierReport, Point

Pick = Literal["cheapest_match", "best"]


def choose(report: FrontierReport, point_id: str | None) -> Point:
    """The named point, or the frontier point that tested best, the cheapest among equals.

    Raises:
        UserError: No measured point has this id, or the frontier is empty.
    """
    frontier = report.with_role("frontier")
    if point_id is None:
        if not frontier:
            raise UserError(
                "The study has no frontier: too many rollouts of every candidate failed.",
                where=report.study,
                fix=f"see what failed: optimize report {report.study}; or name a candidate: --point ID",
            )
        return max(
            frontier, key=lambda point: (point.test.mean if point.test else point.dev.mean, -point.cost)
        )
    for point in report.points:
        if point.candidate.id == point_id:
            return point
    known = ", ".join(point.candidate.id for point in frontier)
    raise UserError(
        f"The study has no point {point_id}.", where="--point", fix=f"on the frontier are {known}"
    )


def picked(report: FrontierReport, pick: Pick) -> Point:
    """The point that a rule picks.

    Args:
        report: The study's report.
        pick: ``cheapest_match``: the cheapest of the reference's best and of the eligible points whose
            verdict against it is ``match``; the best where neither was tested. ``best``: the frontier
            point that tested best, the cheapest among equals.
    """
    matching = [p for p in report.eligible() if p.comparison is not None and p.comparison.verdict == "match"]
    enough = [*matching, *report.with_role("reference")]
    if pick == "best" or not enough:
        return choose(report, None)
    return min(enough, key=lambda point: point.cost)
