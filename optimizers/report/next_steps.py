"""What a study's verdict means for the person who asked."""

from __future__ import annotations

from collections.abc import Iterable

from optimizers.frontier.report import Comparison, FrontierReport, Point
from optimizers.report.findings import Step


def next_steps(report: FrontierReport) -> tuple[Step, ...]:
    """The consequence of the verdict: ship a point, or what it would take to decide.

    Args:
        report: A finished study's result.
    """
    tested = [point for point in report.points if point.test is not None and point.test.n]
    rivals = [
        (point, point.comparison)
        for point in tested
        if point.comparison is not None
        and point.candidate.models != (report.reference,)
        and ("frontier" in point.roles or "best" in point.roles)
    ]
    if not rivals:
        return tuple(_alone(report, tested))
    matches = [rival for rival in rivals if rival[1].verdict == "match"]
    if matches:
        point, found = min(matches, key=lambda rival: rival[0].cost)
        said = (
            f"Ship {point.candidate.label} ({point.candidate.summary}): it is shown to lose less than "
            f"{report.margin:g}, at {found.cost_ratio:.0%} of the cost of the reference's best."
        )
        return (Step(said=said, command=_export(report, point)),)
    open_ones = [rival for rival in rivals if rival[1].verdict == "indecisive"]
    # On test the nearest is the likeliest to match, and none was chosen by it before.
    nearest = max(open_ones or rivals, key=lambda rival: rival[1].difference)
    steps = [_undecided(report, *nearest) if open_ones else _refused(report)]
    reference = next((point for point in tested if "reference" in point.roles), None)
    if reference is not None:
        said = "Meanwhile the reference's best is what is shown to work."
        steps.append(Step(said=said, command=_export(report, reference)))
    if nearest[1].difference < -report.margin:
        said = "Where prompting has given what it can, training may add: write out right answers on train."
        steps.append(Step(said=said, command=f"optimize export {report.study} --to finetune"))
    return tuple(steps)


def _alone(report: FrontierReport, tested: Iterable[Point]) -> Iterable[Step]:
    """Where no other model was tested beside the reference."""
    best = max(tested, key=lambda point: ("best" in point.roles, point.dev.mean), default=None)
    if best is None:
        yield Step(said="Nothing was measured on the sealed test: run a study with a larger budget.")
        return
    said = f"No other model was tested beside {best.candidate.label}: its best can be shipped as it is."
    yield Step(said=said, command=_export(report, best))


def _undecided(report: FrontierReport, point: Point, found: Comparison) -> Step:
    said = f"Nothing is shown to match. {point.candidate.label} ({point.candidate.summary}) comes nearest: "
    failed = point.test.failures if point.test else 0
    if found.more is None and failed:
        said += f"{failed} of its rollouts on test got no score; mend what failed them and run a new study."
    elif found.more is None:
        said += f"so near the margin of {report.margin:g} that no number of examples within reach settles it."
    else:
        way = "a match" if found.difference > -report.margin else "no match"
        said += (
            f"about {found.more:,} more test examples would settle it, and if the difference is as measured "
            f"({found.difference:+.3f}), as {way}."
        )
    return Step(said=said)


def _refused(report: FrontierReport) -> Step:
    return Step(
        said=f"Every prompt tested of another model is shown to lose more than {report.margin:g}: keep the "
        "reference. A larger model, more trials or a larger margin would be a new study."
    )


def _export(report: FrontierReport, point: Point) -> str:
    return f"optimize export {report.study} --to dspy --point {point.candidate.id}"
