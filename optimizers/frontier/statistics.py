"""Statistics over scores in [0, 1]: intervals, paired comparisons, non-inferiority, racing.

Pure functions over arrays. Scores that are all 0 or 1 get methods made for proportions;
other scores get methods for means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from optimizers.frontier.report import Estimate

Array = NDArray[np.float64]

LEVEL = 0.95


def is_binary(scores: Array) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def wilson(successes: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, 1927): never of zero width, never outside [0, 1].

    Args:
        successes: Successes among the trials.
        n: Trials; none gives (0, 1).
        level: Coverage.
    """
    if n == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf(0.5 + level / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def mean_interval(scores: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Interval of a mean score: Wilson for 0/1 scores, else Student's t, cut to [0, 1].

    The t interval is never narrower than it would be with the variance of one score in n
    at the other end of the scale, so equal scores do not give zero width.
    """
    values = np.asarray(scores, dtype=float)
    n = len(values)
    if n == 0:
        return 0.0, 1.0
    if is_binary(values):
        return wilson(float(values.sum()), n, level)
    if n == 1:
        return 0.0, 1.0
    mean = float(values.mean())
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * _standard_error(values, spread=1.0)
    return max(0.0, mean - half), min(1.0, mean + half)


def estimate(scores: Sequence[float], *, failures: int = 0) -> Estimate:
    """A mean with its 95% interval; 0 with the interval (0, 1) where nothing was scored."""
    low, high = mean_interval(scores)
    mean = float(np.mean(scores)) if len(scores) else 0.0
    return Estimate(mean=mean, low=low, high=high, n=len(scores), failures=failures)


def paired_difference(
    a: Sequence[float], b: Sequence[float], level: float = LEVEL
) -> tuple[float, float, float]:
    """Mean of (a - b) over pairs, with its interval.

    For 0/1 scores the score interval of Tango (Statistics in Medicine 17, 1998); else Student's t.

    Args:
        a: Scores of one candidate.
        b: Scores of the other on the same examples, in the same order.
        level: Coverage.

    Returns:
        (difference, low, high), within [-1, 1].
    """
    first, second = _pairs(a, b)
    n = len(first)
    if n == 0:
        return 0.0, -1.0, 1.0
    difference = float((first - second).mean())
    if is_binary(first) and is_binary(second):
        z = float(stats.norm.ppf(0.5 + level / 2))
        low = _tango_bound(first, second, z, lower=True)
        return difference, low, _tango_bound(first, second, z, lower=False)
    if n == 1:
        return difference, -1.0, 1.0
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * _standard_error(first - second, spread=2.0)
    return difference, max(-1.0, difference - half), min(1.0, difference + half)


def noninferiority_p(a: Sequence[float], b: Sequence[float], margin: float) -> float:
    """One-sided p-value against "a is worse than b by the margin or more", paired.

    For 0/1 scores the score test of Nam (Biometrics 53, 1997), else a paired t-test.
    Small values show a to be non-inferior.
    """
    first, second = _pairs(a, b)
    n = len(first)
    if n < 2:
        return 1.0
    if is_binary(first) and is_binary(second):
        return float(stats.norm.sf(_tango_statistic(*_discordant(first, second), n, -margin)))
    deltas = first - second
    t = (float(deltas.mean()) + margin) / _standard_error(deltas, spread=2.0)
    return float(stats.t.sf(t, n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, family-wise (Holm, 1979), in the order given."""
    count = len(p_values)
    adjusted, running = [0.0] * count, 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def alpha_spending(look: int, alpha: float) -> float:
    """Error to spend at a look, 1, 2, ...: however many looks there are, they sum to at most alpha.

    alpha * 6 / (pi * look)^2, since the inverse squares sum to pi^2 / 6; a union bound then
    keeps the error over all looks.
    """
    return alpha * 6 / (math.pi * look) ** 2


def worse_with_confidence(challenger: Sequence[float], rival: Sequence[float], alpha: float) -> bool:
    """Whether the challenger is worse than the rival at one-sided level alpha, paired.

    Exact McNemar (a sign test on the discordant pairs) for 0/1 scores; else a paired
    t-test, from 8 pairs on.
    """
    first, second = _pairs(challenger, rival)
    if is_binary(first) and is_binary(second):
        wins, losses = _discordant(first, second)
        total = wins + losses
        return total > 0 and float(stats.binom.cdf(wins, total, 0.5)) <= alpha
    deltas = first - second
    if len(deltas) < 8:
        return False
    t = float(deltas.mean()) / _standard_error(deltas, spread=2.0)
    return float(stats.t.cdf(t, len(deltas) - 1)) <= alpha


def _pairs(a: Sequence[float], b: Sequence[float]) -> tuple[Array, Array]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} scores cannot be paired with {len(b)}")
    return np.asarray(a, dtype=float), np.asarray(b, dtype=float)


def _standard_error(values: Array, *, spread: float) -> float:
    """Standard error of the mean, never below what one value half a ``spread`` / n away would give."""
    n = len(values)
    return max(float(values.std(ddof=1)) / math.sqrt(n), spread / (2 * n * math.sqrt(n)))


def _discordant(first: Array, second: Array) -> tuple[int, int]:
    """Pairs only the first gets right, and pairs only the second gets right."""
    return int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum())


def _tango_statistic(wins: int, losses: int, n: int, delta: float) -> float:
    """Score statistic of the hypothesis that the paired difference is delta (Tango, 1998, eq. 4 to 6)."""
    if abs(delta) < 1e-12:
        # Smaller ones underflow when squared below.
        delta = 0.0
    a = 2 * n
    b = -wins - losses + (2 * n - wins + losses) * delta
    c = -losses * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * q + delta * (1 - delta))
    top = wins - losses - n * delta
    if variance <= 0:
        return 0.0 if top == 0 else math.copysign(math.inf, top)
    return top / math.sqrt(variance)


def _tango_bound(first: Array, second: Array, z: float, *, lower: bool) -> float:
    """Where the score statistic meets z (lower end) or -z (upper end), by bisection."""
    wins, losses = _discordant(first, second)
    n = len(first)
    observed = (wins - losses) / n
    inside, outside = observed, -1.0 if lower else 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(_tango_statistic(wins, losses, n, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside
