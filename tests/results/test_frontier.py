"""The report: built from rows alone, honest about failures, one sentence that says what was found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import candidate, manifest, rollouts

from optimizers.records.report import FrontierReport, Role
from optimizers.results.frontier import build_report
from optimizers.results.render.plot import draw_frontier

CHEAP, DEAR, PLAIN = (
    candidate("local/small", "cheap"),
    candidate("local/large", "dear"),
    candidate("local/small", "own"),
)


def report(cheap: list[float | None], dear: list[float | None], **changes: float) -> FrontierReport:
    roles: dict[str, tuple[Role, ...]] = {
        CHEAP.id: ("frontier", "best"),
        DEAR.id: ("frontier", "best", "reference"),
        PLAIN.id: ("default",),
    }
    rows = [*rollouts(CHEAP, cheap, cost=1e-6, split="test"), *rollouts(DEAR, dear, cost=1e-5, split="test")]
    rows += [*rollouts(CHEAP, cheap, cost=1e-6), *rollouts(DEAR, dear, cost=1e-5)]
    rows += [*rollouts(PLAIN, [0.0] * 10, cost=2e-6), *rollouts(PLAIN, [0.0] * 20, cost=2e-6, split="test")]
    found = {c.id: c for c in (CHEAP, DEAR, PLAIN)}
    return build_report(manifest(**changes), found, rows, roles=roles, trials=3, seconds=1.0)


def test_points_come_cheapest_first_with_both_splits() -> None:
    made = report([1.0] * 90 + [0.0] * 10, [1.0] * 92 + [0.0] * 8)
    assert [point.candidate.id for point in made.points] == [CHEAP.id, PLAIN.id, DEAR.id]
    first = made.points[0]
    assert first.test is not None
    assert (first.test.mean, first.test.n) == (0.9, 100)
    assert first.cost == pytest.approx(1e-6)


def test_failures_leave_the_mean_alone_and_are_counted() -> None:
    made = report([1.0] * 50 + [None] * 50, [1.0] * 100)
    test = made.points[0].test
    assert test is not None
    assert (test.mean, test.n, test.failures) == (1.0, 50, 50)


def test_a_point_as_good_as_the_reference_matches_and_a_poor_one_does_not() -> None:
    same = [1.0] * 900 + [0.0] * 100
    made = report(same, same)
    comparison = made.points[0].comparison
    assert comparison is not None
    assert comparison.verdict == "match"
    assert comparison.cost_ratio == pytest.approx(0.1)
    poor = report([1.0, 0.0] * 100, [1.0] * 200).points[0].comparison
    assert poor is not None
    assert poor.verdict == "no match"


def test_too_few_examples_decide_nothing() -> None:
    comparison = report([1.0] * 18 + [0.0] * 2, [1.0] * 19 + [0.0]).points[0].comparison
    assert comparison is not None
    assert comparison.verdict == "indecisive"


def test_an_indecisive_comparison_says_how_many_more_examples_would_settle_it() -> None:
    comparison = report([1.0] * 96 + [0.0] * 4, [1.0] * 96 + [0.0] * 4).points[0].comparison
    assert comparison is not None
    assert comparison.verdict == "indecisive"
    assert comparison.more is not None
    assert 1 <= comparison.more < 200


def test_a_point_with_many_failures_is_indecisive() -> None:
    same = [1.0] * 900 + [0.0] * 100
    comparison = report([None] * 100 + same[100:], same).points[0].comparison
    assert comparison is not None
    assert comparison.verdict == "indecisive"


def with_reference_default(groups: dict[str, str] | None = None) -> FrontierReport:
    default = candidate("local/large", "plain")
    roles: dict[str, tuple[Role, ...]] = {
        CHEAP.id: ("frontier", "best"),
        DEAR.id: ("best", "reference"),
        default.id: ("default",),
    }
    rows = rollouts(CHEAP, [1.0] * 270 + [0.0] * 30, cost=1e-6, split="test")
    rows += rollouts(DEAR, [1.0] * 297 + [0.0] * 3, cost=1e-5, split="test")
    rows += rollouts(default, [1.0] * 90 + [0.0] * 60, cost=1e-5, split="test")
    rows += [r.model_copy(update={"number": 1}) for r in rollouts(CHEAP, [1.0] * 90, cost=1.0, split="test")]
    rows += [r.model_copy(update={"number": 1}) for r in rollouts(CHEAP, [0.0] * 9, cost=1.0, split="dev")]
    found = {c.id: c for c in (CHEAP, DEAR, default)}
    return build_report(manifest(), found, rows, roles=roles, trials=1, seconds=1.0, groups=groups)


def test_points_are_compared_with_the_references_plain_default_too() -> None:
    made = with_reference_default()
    cheap = made.points[0]
    assert cheap.comparison is not None
    assert cheap.against_default is not None
    assert (cheap.comparison.verdict, cheap.against_default.verdict) == ("no match", "match")
    # The default ran fewer test examples.
    assert (cheap.comparison.n, cheap.against_default.n) == (300, 150)
    (reference,) = made.with_role("reference")
    assert reference.comparison is None
    assert reference.against_default is not None
    (default,) = made.with_role("default")
    assert default.comparison is not None
    assert default.against_default is None


def test_another_models_default_is_no_yardstick() -> None:
    assert all(point.against_default is None for point in report([1.0] * 50, [1.0] * 50).points)


def test_a_second_rollout_shows_the_noise_and_changes_nothing_else() -> None:
    first, *others = with_reference_default().points
    assert first.noise is not None
    assert (first.noise.n, first.noise.changed) == (90, 0.0)
    assert first.test is not None
    assert (first.test.n, first.dev.n) == (300, 0)
    assert all(point.noise is None for point in others)


def test_examples_in_groups_widen_every_interval() -> None:
    groups = {f"test{index}": f"text {index // 10}" for index in range(300)}
    alone, grouped = with_reference_default().points[0], with_reference_default(groups).points[0]
    for one, other in ((alone.test, grouped.test), (alone.comparison, grouped.comparison)):
        assert one is not None
        assert other is not None
        assert other.high - other.low > one.high - one.low


def test_the_answer_names_both_models_their_scores_and_the_cost() -> None:
    said = report([1.0] * 88 + [0.0] * 12, [1.0] * 96 + [0.0] * 4).answer
    for part in (
        "small",
        "88 of 100 right",
        "large",
        "against 96",
        "10% of the cost",
        "8.0 points",
        "2 allowed",
    ):
        assert part in said


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "frontier.png"
    draw_frontier(report([1.0] * 88 + [0.0] * 12, [1.0] * 96 + [0.0] * 4), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000


def test_a_metrics_name_is_drawn_as_it_is(tmp_path: Path) -> None:
    made = report([1.0] * 88 + [0.0] * 12, [1.0] * 96 + [0.0] * 4)
    path = tmp_path / "frontier.png"
    draw_frontier(made.model_copy(update={"metric": r"matches(a, \d+$|[a-z]+\s\d+$)", "task": "$x^"}), path)
    assert path.stat().st_size > 20_000


def test_pictures_of_several_studies_are_drawn_at_once(tmp_path: Path) -> None:
    made, paths = (
        report([1.0] * 88 + [0.0] * 12, [1.0] * 96 + [0.0] * 4),
        [tmp_path / f"{n}.png" for n in range(6)],
    )
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda path: draw_frontier(made, path), paths))
    assert len({path.read_bytes() for path in paths}) == 1
