"""Statistics over scores in [0, 1]: standard errors, intervals of a mean, many p-values at once.

Pure functions. Shapes: ``n`` scores, ``G`` groups; scores, groups and codes are ``(n,)``. Scores that
are all 0 or 1 get methods for proportions; other scores get methods for means. Examples in groups (turns
of one conversation, questions about one text) get cluster-robust errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from optimizers.records.report import Estimate

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

LEVEL = 0.95


def is_binary(scores: Array) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def group_codes(groups: Sequence[str] | None, n: int) -> Codes | None:
    """The group of each score as a number from 0 on; None when no two scores share a group.

    Args:
        groups: ``(n,)`` names, or None for independent scores.
        n: Number of scores.

    Returns:
        ``(n,)``, from 0 to G - 1.

    Raises:
        ValueError: There are not as many names as scores.
    """
    if groups is None:
        return None
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} scores")
    names, codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return None if len(names) == n else codes.astype(np.intp)


def standard_error(values: Array, *, spread: float) -> float:
    """Standard error of the mean, never below what one value half a ``spread`` / n away would give.

    Args:
        values: ``(n,)``, n at least 2.
        spread: Width of the range that values may lie in.
    """
    n = len(values)
    return max(float(values.std(ddof=1)) / math.sqrt(n), spread / (2 * n * math.sqrt(n)))


def clustered_error(values: Array, codes: Codes) -> tuple[float, int]:
    """Cluster-robust standard error of the mean, and the number of groups.

    The deviations from the mean are summed within each group before they are squared, so
    that scores which rise and fall together count as the few observations they are
    (Miller, "Adding Error Bars to Evals", 2024), times G / (G - 1) for G groups
    (Cameron & Miller, "A Practitioner's Guide to Cluster-Robust Inference", 2015, section
    VI, whose t quantile with G - 1 degrees of freedom the callers use).

    Args:
        values: ``(n,)``.
        codes: ``(n,)``, from :func:`group_codes`.

    Returns:
        (standard error, groups); the error is infinite for a single group.
    """
    count = int(codes.max()) + 1
    if count < 2:
        return math.inf, count
    sums = np.bincount(codes, weights=values - values.mean())
    variance = float((sums**2).sum()) * count / (count - 1)
    return math.sqrt(variance) / len(values), count


def effective_size(variance: float, error: float, n: int, groups: int) -> float:
    """How many independent scores the grouped ones are worth, between 1 and n.

    The number whose mean would have the clustered error (Rao & Scott, Biometrics 48, 1992).
    Scores that do not vary at all say nothing about how groups hang together: then the
    worst case, one independent score per group.

    Args:
        variance: Variance of one score.
        error: Clustered standard error of the mean.
        n: Scores.
        groups: Groups they come in.
    """
    if variance <= 0:
        return float(groups)
    return float(n) if error == 0 else min(float(n), max(1.0, variance / error**2))


def wilson(successes: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, 1927): never of zero width, never outside [0, 1].

    Args:
        successes: Successes among the trials.
        n: Trials; none gives (0, 1).
        level: Coverage.
    """
    if n == 0:
        return 0.0, 1.0
    return _score_interval(successes / n, n, float(stats.norm.ppf(0.5 + level / 2)))


def mean_interval(
    scores: Sequence[float], level: float = LEVEL, *, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Interval of a mean score: Wilson for 0/1 scores, else Student's t, cut to [0, 1].

    The t interval is never narrower than it would be with the variance of one score in n
    at the other end of the scale, so equal scores do not give zero width. Grouped scores
    have clustered errors and the t quantile of their number of groups; grouped 0/1 scores
    use them in Wilson's interval, with the effective number of scores for n (Korn &
    Graubard, Survey Methodology 24, 1998; Franco, Little, Louis & Slud, Journal of Survey
    Statistics and Methodology 7, 2019), which keeps its level near 0 and 1.

    Args:
        scores: ``(n,)``, in [0, 1].
        level: Coverage.
        groups: ``(n,)`` names, or None for independent scores.

    Returns:
        (low, high), within [0, 1].
    """
    values = np.asarray(scores, dtype=float)
    n = len(values)
    codes = group_codes(groups, n)
    if codes is not None:
        return _clustered_interval(values, codes, level)
    if n == 0:
        return 0.0, 1.0
    if is_binary(values):
        return wilson(float(values.sum()), n, level)
    if n == 1:
        return 0.0, 1.0
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * standard_error(values, spread=1.0)
    return _around(float(values.mean()), half)


def estimate(scores: Sequence[float], *, failures: int = 0, groups: Sequence[str] | None = None) -> Estimate:
    """A mean with its 95% interval; 0 with the interval (0, 1) where nothing was scored.

    Args:
        scores: ``(n,)``, in [0, 1].
        failures: Examples tried that got no score.
        groups: ``(n,)`` names, or None for independent scores.
    """
    low, high = mean_interval(scores, groups=groups)
    mean = float(np.mean(scores)) if len(scores) else 0.0
    return Estimate(mean=mean, low=low, high=high, n=len(scores), failures=failures)


def unpaired_difference(a: Estimate, b: Estimate) -> tuple[float, float, float]:
    """Mean of a minus mean of b, measured on different examples, with its 95% interval.

    The distances from the means to the ends of their own intervals, squared and added
    (Newcombe, Statistics in Medicine 17, 1998, method 10, for proportions; Zou & Donner,
    Statistics in Medicine 27, 2008, for any two parameters): what their intervals allow for,
    groups and all, the difference allows for too. Too wide where examples are shared.

    Args:
        a: One mean.
        b: The other.

    Returns:
        (difference, low, high), within [-1, 1].
    """
    difference = a.mean - b.mean
    low = difference - math.hypot(a.mean - a.low, b.high - b.mean)
    high = difference + math.hypot(a.high - a.mean, b.mean - b.low)
    return difference, max(-1.0, low), min(1.0, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, family-wise (Holm, 1979), in the order given."""
    count = len(p_values)
    adjusted, running = [0.0] * count, 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _clustered_interval(values: Array, codes: Codes, level: float) -> tuple[float, float]:
    error, count = clustered_error(values, codes)
    if count < 2:
        return 0.0, 1.0
    quantile = float(stats.t.ppf(0.5 + level / 2, count - 1))
    mean = float(values.mean())
    if is_binary(values):
        return _score_interval(mean, effective_size(mean * (1 - mean), error, len(values), count), quantile)
    return _around(mean, quantile * max(error, 1 / (2 * count * math.sqrt(count))))


def _around(mean: float, half: float) -> tuple[float, float]:
    return max(0.0, mean - half), min(1.0, mean + half)


def _score_interval(share: float, n: float, z: float) -> tuple[float, float]:
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high
