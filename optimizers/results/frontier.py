"""From the ledger's rows to the report: nothing here runs a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum

import numpy as np

from optimizers.records.candidate import Candidate
from optimizers.records.report import Comparison, Estimate, FrontierReport, NoiseFloor, Point, Role
from optimizers.records.rows import Rollout, Split, StudyManifest
from optimizers.results.statistics.intervals import estimate
from optimizers.results.statistics.paired import noise_floor
from optimizers.results.statistics.pareto import hypervolume
from optimizers.results.verdict import Contender, compare


def build_report(
    manifest: StudyManifest,
    candidates: Mapping[str, Candidate],
    rollouts: Iterable[Rollout],
    *,
    roles: Mapping[str, tuple[Role, ...]],
    trials: int,
    seconds: float,
    groups: Mapping[str, str] | None = None,
) -> FrontierReport:
    """The report of a study.

    Args:
        manifest: The study.
        candidates: Candidate id -> candidate.
        rollouts: Every recorded rollout; only rollout 0 of a pair counts, rollout 1 of a test
            example shows the sampling noise.
        roles: Candidate id -> its roles, decided before the test was opened.
        trials: Trials run.
        seconds: Wall-clock seconds.
        groups: Example id -> group, for examples that come in groups; others stand alone.
    """
    grouped = groups or {}
    every = list(rollouts)
    rows: dict[str, dict[Split, list[Rollout]]] = defaultdict(lambda: {"dev": [], "test": []})
    for rollout in every:
        if rollout.number == 0:
            rows[rollout.candidate][rollout.split].append(rollout)
    again: dict[str, dict[str, float]] = defaultdict(dict)
    for rollout in every:
        if rollout.number == 1 and rollout.split == "test" and rollout.score is not None:
            again[rollout.candidate][rollout.example] = rollout.score
    points = [
        _point(manifest, candidates[i], rows[i], roles[i], grouped).model_copy(
            update={"noise": _noise(rows[i]["test"], again[i])}
        )
        for i in roles
        if rows[i]["dev"] or rows[i]["test"]
    ]
    points = _compared(points, rows, manifest, grouped)
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
    groups: Mapping[str, str],
) -> Point:
    model = next(model for model in manifest.models if model.name == candidate.model)
    # Costs are of dev, where every candidate ran the same examples first; a default tested only has its test.
    priced = [rollout for rollout in rows["dev"] or rows["test"] if rollout.failure is None]
    count, latencies = max(1, len(priced)), [rollout.latency for rollout in priced]
    return Point(
        candidate=candidate,
        kind=model.kind,
        size=model.size,
        roles=roles,
        dev=_estimate(rows["dev"], groups),
        test=_estimate(rows["test"], groups) if rows["test"] else None,
        # Exact sums: the order in which rollouts were written must not show.
        cost=fsum(rollout.cost for rollout in priced) / count,
        latency=_percentile(latencies, 50),
        latency_p95=_percentile(latencies, 95),
        concurrency=model.concurrency,
        prompt_tokens=sum(rollout.prompt_tokens for rollout in priced) / count,
        completion_tokens=sum(rollout.completion_tokens for rollout in priced) / count,
    )


def _percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, share)) if values else 0.0


def _estimate(rows: Sequence[Rollout], groups: Mapping[str, str]) -> Estimate:
    scores = {rollout.example: rollout.score for rollout in rows if rollout.score is not None}
    return estimate(
        list(scores.values()),
        failures=len(rows) - len(scores),
        groups=[groups.get(example, example) for example in scores],
    )


def _noise(rows: Sequence[Rollout], again: Mapping[str, float]) -> NoiseFloor | None:
    twice = [(r.score, again[r.example]) for r in rows if r.score is not None and r.example in again]
    return noise_floor(*zip(*twice, strict=True)) if len(twice) > 1 else None


def _compared(
    points: Sequence[Point],
    rows: Mapping[str, Mapping[Split, Sequence[Rollout]]],
    manifest: StudyManifest,
    groups: Mapping[str, str],
) -> list[Point]:
    """The points with their comparisons, where both sides were tested.

    Against the reference's best and against its plain default: two families, Holm within each.
    """
    tested = {point.candidate.id: point for point in points if point.test}
    contenders = {i: _contender(tested[i], rows[i]["test"], groups) for i in tested}
    best = next((i for i in tested if "reference" in tested[i].roles), None)
    default = next((i for i in tested if _plain_reference(tested[i], manifest)), None)

    def family(against: str | None) -> dict[str, Comparison]:
        if against is None:
            return {}
        others = [i for i in tested if i != against]
        found = compare(
            [contenders[i] for i in others],
            contenders[against],
            against=against,
            margin=manifest.margin,
            min_coverage=manifest.min_coverage,
        )
        return dict(zip(others, found, strict=True))

    to_best, to_default = family(best), family(default)
    return [
        point.model_copy(
            update={
                "comparison": to_best.get(point.candidate.id),
                "against_default": to_default.get(point.candidate.id),
            }
        )
        for point in points
    ]


def _contender(point: Point, rows: Sequence[Rollout], groups: Mapping[str, str]) -> Contender:
    return Contender(
        scores={rollout.example: rollout.score for rollout in rows if rollout.score is not None},
        cost=point.cost,
        coverage=point.test.coverage if point.test else 1.0,
        groups=groups,
    )


def _plain_reference(point: Point, manifest: StudyManifest) -> bool:
    return "default" in point.roles and point.candidate.model == manifest.reference


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
    best = answering(tested, manifest.reference)
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
    ratio = comparison.cost_ratio
    at = "which is free" if ratio is None else f"at {ratio:.0%} of its cost"
    return (
        f"{said} {_name(reference)}'s {_mean(reference):.3f}, {at}: "
        f"{comparison.verdict} at margin {manifest.margin:g} "
        f"(difference {comparison.difference:+.3f}, "
        f"95% interval {comparison.low:+.3f} to {comparison.high:+.3f}, "
        f"n = {comparison.n})."
        + (f" {comparison.more:,} more examples would settle it." if comparison.more else "")
    )


def answering(tested: Sequence[Point], reference: str) -> Point:
    """The point that the answer is about: the best of a model other than the reference, where there is one.

    Args:
        tested: The points that were tested, at least one.
        reference: Name of the reference model.
    """
    others = [point for point in tested if point.candidate.models != (reference,)]
    # Chosen by dev, so that the test scores stay free of the choice.
    return max(others or tested, key=lambda point: ("best" in point.roles, point.dev.mean))


def _said(point: Point) -> str:
    test = point.test or point.dev
    reached = f"{test.mean:.3f} ({test.low:.3f} to {test.high:.3f})"
    return f"{_name(point)} with {point.candidate.summary} reaches {reached} on test"


def _name(point: Point) -> str:
    return point.candidate.label


def _mean(point: Point) -> float:
    return point.test.mean if point.test else 0.0
