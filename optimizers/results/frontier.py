"""From the ledger's rows to the report: no model runs here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum

import numpy as np

from optimizers.records.candidate import Candidate
from optimizers.records.report import (
    Comparison,
    Estimate,
    FrontierReport,
    Gain,
    NoiseFloor,
    Point,
    Role,
)
from optimizers.records.rows import Rollout, Split, StudyManifest
from optimizers.results.headline import headline
from optimizers.results.statistics.intervals import estimate
from optimizers.results.statistics.paired import noise_floor, paired_difference
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
        groups: Example id -> group, for examples that come in groups; others are independent.
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
    scores = [rollout.score for rollout in every if rollout.score is not None]
    report = FrontierReport(
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
        answer="",
        binary=all(score in (0.0, 1.0) for score in scores),
    )
    return report.model_copy(update={"answer": headline(report).sentence})


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
        unread=sum(not rollout.parsed for rollout in rows["test"] or rows["dev"]),
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
                "gain": _gain(point, tested, contenders),
            }
        )
        for point in points
    ]


def _gain(best: Point, tested: Mapping[str, Point], contenders: Mapping[str, Contender]) -> Gain | None:
    """What a model's best adds to its plain default on the test rows that both have a score for."""
    of_model = (p for p in tested.values() if p.candidate.models == best.candidate.models)
    default = next((p.candidate.id for p in of_model if "default" in p.roles), None)
    identity = best.candidate.id
    if default is None or default == identity or "best" not in best.roles or identity not in tested:
        return None
    own, plain = contenders[identity], contenders[default]
    shared = [example for example in own.scores if example in plain.scores]
    difference, low, high = paired_difference(
        [own.scores[example] for example in shared],
        [plain.scores[example] for example in shared],
        groups=[own.groups.get(example, example) for example in shared],
    )
    return Gain(difference=difference, low=low, high=high, n=len(shared)) if shared else None


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
