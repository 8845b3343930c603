"""From the ledger's rows to the report: nothing here runs a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from optimizers.candidate import Candidate
from optimizers.frontier.pareto import hypervolume
from optimizers.frontier.report import Comparison, Estimate, FrontierReport, Point, Role
from optimizers.frontier.statistics import estimate
from optimizers.frontier.verdict import Contender, compare
from optimizers.records.rows import Rollout, Split, StudyManifest


def build_report(
    manifest: StudyManifest,
    candidates: Mapping[str, Candidate],
    rollouts: Iterable[Rollout],
    *,
    roles: Mapping[str, tuple[Role, ...]],
    trials: int,
    seconds: float,
) -> FrontierReport:
    """The report of a study.

    Args:
        manifest: The study.
        candidates: Candidate id -> candidate.
        rollouts: Every recorded rollout; only rollout 0 of a pair counts.
        roles: Candidate id -> its roles, decided before the test was opened.
        trials: Trials run.
        seconds: Wall-clock seconds.
    """
    every = list(rollouts)
    rows: dict[str, dict[Split, list[Rollout]]] = defaultdict(lambda: {"dev": [], "test": []})
    for rollout in every:
        if rollout.number == 0:
            rows[rollout.candidate][rollout.split].append(rollout)
    points = [
        _point(manifest, candidates[i], rows[i], roles[i]) for i in roles if rows[i]["dev"] or rows[i]["test"]
    ]
    points = _compared(points, rows, manifest.margin)
    points.sort(key=lambda point: (point.cost, point.candidate.id))
    return FrontierReport(
        study=manifest.name,
        task=manifest.task,
        metric=manifest.metric,
        reference=manifest.reference,
        margin=manifest.margin,
        points=tuple(points),
        hypervolume=_covered(points),
        trials=trials,
        rollouts=len(every),
        seconds=seconds,
        answer=answer(points, manifest),
    )


def _point(
    manifest: StudyManifest,
    candidate: Candidate,
    rows: Mapping[Split, Sequence[Rollout]],
    roles: tuple[Role, ...],
) -> Point:
    model = next(model for model in manifest.models if model.name == candidate.model)
    # Costs are of dev, where every candidate ran the same examples first; a default tested only has its test.
    priced = [rollout for rollout in rows["dev"] or rows["test"] if rollout.failure is None]
    count = max(1, len(priced))
    return Point(
        candidate=candidate,
        kind=model.kind,
        size=model.size,
        roles=roles,
        dev=_estimate(rows["dev"]),
        test=_estimate(rows["test"]) if rows["test"] else None,
        cost=sum(rollout.cost for rollout in priced) / count,
        latency=sum(rollout.latency for rollout in priced) / count,
        prompt_tokens=sum(rollout.prompt_tokens for rollout in priced) / count,
        completion_tokens=sum(rollout.completion_tokens for rollout in priced) / count,
    )


def _estimate(rows: Sequence[Rollout]) -> Estimate:
    scores = [rollout.score for rollout in rows if rollout.score is not None]
    return estimate(scores, failures=len(rows) - len(scores))


def _compared(
    points: Sequence[Point], rows: Mapping[str, Mapping[Split, Sequence[Rollout]]], margin: float
) -> list[Point]:
    """The points with their comparison against the reference's best, where both were tested."""
    reference = next((point for point in points if "reference" in point.roles and point.test), None)
    if reference is None:
        return list(points)

    def contender(point: Point) -> Contender:
        tested = rows[point.candidate.id]["test"]
        return Contender({r.example: r.score for r in tested if r.score is not None}, point.cost)

    tested = [point for point in points if point.test and point is not reference]
    found = compare(
        [contender(point) for point in tested],
        contender(reference),
        against=reference.candidate.id,
        margin=margin,
    )
    by_id: dict[str, Comparison] = {p.candidate.id: c for p, c in zip(tested, found, strict=True)}
    return [point.model_copy(update={"comparison": by_id.get(point.candidate.id)}) for point in points]


def _covered(points: Sequence[Point]) -> float:
    measured = [point for point in points if point.dev.n and point.cost > 0]
    frontier = [point for point in measured if "frontier" in point.roles]
    if not frontier:
        return 0.0
    costs = [point.cost for point in measured]
    return hypervolume(
        [point.dev.mean for point in frontier],
        [point.cost for point in frontier],
        best_cost=min(costs),
        worst_cost=max(costs) * 1.1,
    )


def answer(points: Sequence[Point], manifest: StudyManifest) -> str:
    """The result in one sentence: the best a cheaper model reached, beside the reference's best."""
    tested = [point for point in points if point.test is not None and point.test.n]
    if not tested:
        return "Nothing has been measured on the test set yet."
    reference = next((point for point in tested if "reference" in point.roles), None)
    others = [point for point in tested if point.candidate.model != manifest.reference]
    best = max(others or tested, key=lambda point: _mean(point))
    if reference is None or best is reference:
        return f"{_said(best)} (n = {best.test.n if best.test else 0})."
    said = (
        f"{_said(best)}, {_mean(best) / _mean(reference):.0%} of"
        if _mean(reference)
        else f"{_said(best)} against"
    )
    comparison = best.comparison
    if comparison is None:
        return f"{said} {_name(reference)}'s {_mean(reference):.3f}."
    return (
        f"{said} {_name(reference)}'s {_mean(reference):.3f}, at {comparison.cost_ratio:.0%} of its cost: "
        f"{comparison.verdict} at margin {manifest.margin:g} "
        f"(difference {comparison.difference:+.3f}, "
        f"95% interval {comparison.low:+.3f} to {comparison.high:+.3f}, "
        f"n = {comparison.n})."
    )


def _said(point: Point) -> str:
    test = point.test or point.dev
    reached = f"{test.mean:.3f} ({test.low:.3f} to {test.high:.3f})"
    return f"{_name(point)} with {point.candidate.summary} reaches {reached} on test"


def _name(point: Point) -> str:
    return point.candidate.model.rsplit("/", 1)[-1]


def _mean(point: Point) -> float:
    return point.test.mean if point.test else 0.0
