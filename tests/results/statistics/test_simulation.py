"""Error rates over synthetic studies whose truth is known; `pytest -s` shows the measured rates.

Every example has a difficulty that all candidates share, so their outcomes are correlated as
they are in a real study.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from optimizers.results.statistics.intervals import mean_interval
from optimizers.results.statistics.paired import examples_to_settle, noninferiority_p, paired_difference
from optimizers.results.verdict import ALPHA, Contender, compare

Array = NDArray[np.float64]

STUDIES = 2000
DEV, TEST = 250, 400
GROUP = 8
SMALL, LARGE = (0.86, 0.85, 0.80), (0.90, 0.89)
KINDS = ("right or wrong", "graded")


def latent(random: np.random.Generator, n: int, candidates: int, group: int) -> Array:
    """Standard normal, one row per example, correlated over candidates and within groups."""
    shares = (0.3, 0.3, 0.2, 0.2) if group > 1 else (0.6, 0.4, 0.0, 0.0)
    count = math.ceil(n / group)
    parts = (
        random.standard_normal((n, 1)),
        random.standard_normal((n, candidates)),
        np.repeat(random.standard_normal((count, 1)), group, axis=0)[:n],
        np.repeat(random.standard_normal((count, candidates)), group, axis=0)[:n],
    )
    mixed: Array = sum(math.sqrt(share) * part for share, part in zip(shares, parts, strict=True))
    return mixed


def scores(
    random: np.random.Generator, means: Sequence[float], n: int, *, kind: str = KINDS[0], group: int = 1
) -> Array:
    """Examples x candidates, with exactly these true means."""
    drawn, ability = latent(random, n, len(means), group), stats.norm.ppf(means)
    if kind == "graded":
        # The mean of Phi(m + Z) is Phi(m / sqrt 2).
        graded: Array = stats.norm.cdf(math.sqrt(2) * ability + drawn)
        return graded
    return (drawn < ability).astype(float)


def names(n: int, group: int) -> list[str]:
    return [str(index // group) for index in range(n)]


def standard_errors(share: float, count: int) -> float:
    return 2 * math.sqrt(share * (1 - share) / count)


def finalists(kind: str, seed: int) -> Iterator[tuple[Array, float, Array, float]]:
    """Each study's test scores of the small and the large winner on dev, with their true means."""
    random = np.random.default_rng(seed)
    means = (*SMALL, *LARGE)
    for _ in range(STUDIES):
        dev = scores(random, means, DEV, kind=kind).mean(axis=0)
        small = int(dev[: len(SMALL)].argmax())
        large = len(SMALL) + int(dev[len(SMALL) :].argmax())
        test = scores(random, means, TEST, kind=kind)
        yield test[:, small], means[small], test[:, large], means[large]


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_of_the_chosen_hold_the_truth_as_often_as_they_say(kind: str) -> None:
    held = {"mean": 0, "difference": 0}
    for small, small_truth, large, large_truth in finalists(kind, seed=1):
        low, high = mean_interval(small)
        held["mean"] += low <= small_truth <= high
        _, low, high = paired_difference(small, large)
        held["difference"] += low <= small_truth - large_truth <= high
    print(f"\ncoverage, {kind}: " + ", ".join(f"{what} {n / STUDIES:.3f}" for what, n in held.items()))
    for count in held.values():
        assert 0.93 <= count / STUDIES <= 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_grouped_examples_need_and_get_clustered_intervals(kind: str) -> None:
    random, groups = np.random.default_rng(2), names(TEST, GROUP)
    held = {"mean": 0, "difference": 0, "mean, groups ignored": 0, "difference, groups ignored": 0}
    for _ in range(STUDIES):
        small, large = scores(random, (0.85, 0.9), TEST, kind=kind, group=GROUP).T
        for known, suffix in ((groups, ""), (None, ", groups ignored")):
            low, high = mean_interval(small, groups=known)
            held["mean" + suffix] += low <= 0.85 <= high
            _, low, high = paired_difference(small, large, groups=known)
            held["difference" + suffix] += low <= -0.05 <= high
    share = {what: count / STUDIES for what, count in held.items()}
    print(f"\ncoverage in groups of {GROUP}, {kind}: {share}")
    for what in ("mean", "difference"):
        assert 0.92 <= share[what] <= 0.98
        assert share[what] > share[what + ", groups ignored"] + 0.03


@pytest.mark.parametrize("group", [1, GROUP])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_as_large_as_the_margin_is_rarely_called_a_match(kind: str, group: int) -> None:
    random, margin, wrong = np.random.default_rng(3), 0.03, 0
    groups = dict(enumerate(names(TEST, group)))
    for _ in range(STUDIES):
        drawn = scores(random, (0.90, 0.87, 0.87, 0.87), TEST, kind=kind, group=group)
        reference, *others = (contender(column, groups) for column in drawn.T)
        found = compare(others, reference, against="r", margin=margin, min_coverage=0.95)
        wrong += any(comparison.verdict == "match" for comparison in found)
    print(f"\nfalse match of any of three, {kind}, groups of {group}: {wrong / STUDIES:.4f}")
    assert wrong / STUDIES <= ALPHA + standard_errors(ALPHA, STUDIES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_point_at_the_margin_is_rarely_called_a_match(kind: str) -> None:
    # Without the slack that Holm's correction leaves between correlated points.
    random, wrong = np.random.default_rng(4), 0
    for _ in range(STUDIES):
        small, large = scores(random, (0.87, 0.90), TEST, kind=kind).T
        wrong += noninferiority_p(small, large, 0.03) <= ALPHA
    print(f"\nfalse match of one, {kind}: {wrong / STUDIES:.4f}")
    assert wrong / STUDIES <= ALPHA + standard_errors(ALPHA, STUDIES)


def contender(column: Array, groups: dict[int, str] | None = None) -> Contender:
    of = {str(index): f"group {name}" for index, name in (groups or {}).items()}
    return Contender({str(index): score for index, score in enumerate(column.tolist())}, 1.0, groups=of)


def test_a_model_under_another_name_matches_itself() -> None:
    random = np.random.default_rng(5)
    for kind in KINDS:
        for _ in range(50):
            own = contender(scores(random, (0.85,), TEST, kind=kind)[:, 0])
            (found,) = compare([own], own, against="r", margin=0.02, min_coverage=0.95)
            assert found.verdict == "match"


def test_a_copy_with_a_tenth_of_its_answers_flipped_never_matches() -> None:
    random = np.random.default_rng(6)
    for _ in range(500):
        own = scores(random, (0.9,), 1000)[:, 0]
        flipped = np.where(random.random(1000) < 0.1, 1 - own, own)
        (found,) = compare([contender(flipped)], contender(own), against="r", margin=0.02, min_coverage=0.95)
        assert found.verdict != "match"


def test_power_to_show_an_equal_a_match_grows_with_the_examples() -> None:
    random, curve = np.random.default_rng(7), {}
    for disagreement in (0.02, 0.06, 0.12):
        for n in (100, 200, 400, 1000):
            shown = 0
            for _ in range(300):
                shown += (
                    noninferiority_p(*differing(random, n, disagreement / 2, disagreement / 2), 0.02) <= ALPHA
                )
            curve[disagreement, n] = shown / 300
    print("\npower to show a match, true loss 0, margin 0.02:")
    for (disagreement, n), power in curve.items():
        print(f"  {disagreement:.0%} of answers differ, n = {n}: {power:.2f}")
    assert curve[0.02, 1000] > 0.95
    assert curve[0.06, 1000] > 0.75
    assert curve[0.06, 1000] > curve[0.06, 400] > curve[0.06, 100]


def differing(random: np.random.Generator, n: int, wins: float, losses: float) -> tuple[Array, Array]:
    """Paired 0/1 scores: shares that only the first and only the second gets right, else both right."""
    drawn = random.random(n)
    first, second = (drawn >= losses).astype(float), np.ones(n)
    second[drawn >= 1 - wins] = 0.0
    return first, second


@pytest.mark.parametrize(("wins", "losses"), [(0.04, 0.06), (0.02, 0.13)])
def test_as_many_examples_as_foretold_settle_it_four_times_in_five(wins: float, losses: float) -> None:
    random, margin, n = np.random.default_rng(8), 0.05, 200
    own = np.ones(n)
    own[: round(losses * n)] = 0
    theirs = np.ones(n)
    theirs[n - round(wins * n) :] = 0
    more = examples_to_settle(own, theirs, margin, level=ALPHA)
    assert more is not None
    settled = 0
    for _ in range(600):
        first, second = differing(random, n + more, wins, losses)
        if losses - wins < margin:
            settled += noninferiority_p(first, second, margin) <= ALPHA
        else:
            settled += paired_difference(first, second)[2] < -margin
    print(f"\n{more} more examples for a loss of {losses - wins:.2f}: settled {settled / 600:.2f}")
    assert 0.75 <= settled / 600 <= 0.87
