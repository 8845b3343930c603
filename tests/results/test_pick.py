"""Which point of a finished study is used."""

from __future__ import annotations

from fakes import candidate

from optimizers.records.report import Comparison, Estimate, FrontierReport, Point, Verdict
from optimizers.results.pick import picked


def point(model: str, cost: float, *roles: str, test: float = 0.8, verdict: Verdict | None = None) -> Point:
    seen = Estimate(mean=test, low=0.0, high=1.0, n=100)
    compared = verdict and Comparison(
        against="x", difference=0.0, low=-0.1, high=0.1, margin=0.02, p_value=0.5, verdict=verdict,
        cost_ratio=1.0, n=100,
    )  # fmt: skip
    return Point(
        candidate=candidate(model, f"{cost}"), kind="chat", roles=roles, dev=seen, test=seen, cost=cost,
        latency=0.1, prompt_tokens=1, completion_tokens=1, comparison=compared,
    )  # fmt: skip


def report(*points: Point) -> FrontierReport:
    return FrontierReport(
        study="s", task="t", metric="m", reference="large", margin=0.02, points=points, hypervolume=0.1,
        trials=1, rollouts=1, seconds=1.0, answer="",
    )  # fmt: skip


def test_the_cheapest_match_is_picked_else_the_references_best() -> None:
    poor = point("small", 1, "frontier", test=0.5, verdict="no match")
    unsure = point("small", 2, "frontier", test=0.95, verdict="indecisive")
    match = point("small", 3, "frontier", test=0.8, verdict="match")
    dearer = point("middle", 4, "frontier", test=0.85, verdict="match")
    best = point("large", 5, "best", "reference", test=0.9)
    assert picked(report(poor, unsure, match, dearer, best), "cheapest_match") is match
    assert picked(report(poor, unsure, best), "cheapest_match") is best
    assert picked(report(poor, unsure, match, dearer, best), "best") is unsure
    cheap = point("large", 2.5, "frontier", "reference", test=0.9)
    assert picked(report(poor, cheap, match), "cheapest_match") is cheap
    assert picked(report(poor, unsure), "cheapest_match") is unsure


def test_where_quality_alone_was_sought_a_matching_model_beside_the_frontier_is_picked() -> None:
    other = point("small", 1, "best", verdict="match")
    alone = point("large", 5, "frontier", "best", "reference", test=0.9)
    assert picked(report(other, alone), "cheapest_match") is other
    assert picked(report(other, alone), "best") is alone
    assert report(other, alone).matched()
    assert not report(point("small", 1, "best", verdict="indecisive"), alone).matched()
