"""Two candidates on the same examples: their difference, non-inferiority, evidence, sampling noise.

Pure functions over arrays, as in :mod:`optimizers.results.statistics.intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from optimizers.records.report import NoiseFloor
from optimizers.results.statistics.intervals import (
    LEVEL,
    Array,
    clustered_error,
    effective_size,
    group_codes,
    is_binary,
    standard_error,
)

POWER = 0.8
"""Chance of a decision that :func:`examples_to_settle` plans for."""

MOST_EXAMPLES = 200_000
"""More examples than this are no advice."""


@dataclass(frozen=True)
class _Pairs:
    """Paired scores as a test needs them.

    Attributes:
        deltas: First minus second.
        binary: Whether all scores are 0 or 1.
        wins: Pairs only the first gets right, for 0/1 scores.
        losses: Pairs only the second gets right.
        error: Standard error of the mean difference.
        freedom: Degrees of freedom of the t quantile; None for the normal one.
        size: Effective number of pairs.
    """

    deltas: Array
    binary: bool
    wins: float
    losses: float
    error: float
    freedom: int | None
    size: float

    @property
    def difference(self) -> float:
        return float(self.deltas.mean())

    def quantile(self, level: float) -> float:
        return float(stats.norm.ppf(level) if self.freedom is None else stats.t.ppf(level, self.freedom))

    def tail(self, statistic: float) -> float:
        return float(
            stats.norm.sf(statistic) if self.freedom is None else stats.t.sf(statistic, self.freedom)
        )


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    level: float = LEVEL,
    *,
    groups: Sequence[str] | None = None,
) -> tuple[float, float, float]:
    """Mean of (a - b) over pairs, with its interval.

    For 0/1 scores the score interval of Tango (Statistics in Medicine 17, 1998); else
    Student's t. Grouped pairs have clustered errors and the t quantile of their number of
    groups; grouped 0/1 pairs use them in Tango's interval, with the effective number of
    pairs for n (Rao & Scott, Biometrics 48, 1992).

    Args:
        a: ``(n,)``, in [0, 1]: scores of one candidate.
        b: ``(n,)``, in [0, 1]: scores of the other, on the same examples in the same order.
        level: Coverage.
        groups: ``(n,)`` names of groups, or None for independent examples.

    Returns:
        (difference, low, high), within [-1, 1].
    """
    first, second = _aligned(a, b)
    if len(first) == 0:
        return 0.0, -1.0, 1.0
    pairs = _pairs(first, second, groups)
    difference = pairs.difference
    if not math.isfinite(pairs.error):
        return difference, -1.0, 1.0
    quantile = pairs.quantile(0.5 + level / 2)
    if pairs.binary:
        low = _tango_bound(pairs, quantile, lower=True)
        return difference, low, _tango_bound(pairs, quantile, lower=False)
    half = quantile * pairs.error
    return difference, max(-1.0, difference - half), min(1.0, difference + half)


def noninferiority_p(
    a: Sequence[float], b: Sequence[float], margin: float, *, groups: Sequence[str] | None = None
) -> float:
    """One-sided p-value against "a is worse than b by the margin or more", paired.

    For 0/1 scores the score test of Nam (Biometrics 53, 1997), else a paired t-test; grouped
    pairs as in :func:`paired_difference`. Small values show a to be non-inferior.

    Args:
        a: ``(n,)``, in [0, 1]: scores of one candidate.
        b: ``(n,)``, in [0, 1]: scores of the other, on the same examples in the same order.
        margin: Score units, at least 0.
        groups: ``(n,)`` names of groups, or None for independent examples.
    """
    first, second = _aligned(a, b)
    if len(first) < 2:
        return 1.0
    pairs = _pairs(first, second, groups)
    if not math.isfinite(pairs.error):
        return 1.0
    if pairs.binary:
        return pairs.tail(_tango_statistic(pairs.wins, pairs.losses, pairs.size, -margin))
    return pairs.tail((pairs.difference + margin) / pairs.error)


def examples_to_settle(
    a: Sequence[float],
    b: Sequence[float],
    margin: float,
    *,
    level: float,
    groups: Sequence[str] | None = None,
) -> int | None:
    """How many more examples would decide between match and no match, with 80% power.

    Takes the measured difference for the true one. Above minus the margin, a match is
    planned for at ``level``; below, a no match, at the one-sided level of the 95% interval.
    Needed are ((z_level s0 + z_power s1) / (difference + margin))^2 pairs, with s0 the
    deviation of a pair's difference where the loss equals the margin and s1 as measured:
    the normal approximation of the score test (Nam, Biometrics 53, 1997; for
    graded scores s0 = s1). Grouped examples need as many times more as their design effect.

    Args:
        a: ``(n,)``, in [0, 1]: scores of one candidate.
        b: ``(n,)``, in [0, 1]: scores of the other, on the same examples in the same order.
        margin: Score units, at least 0.
        level: One-sided level at which a match is declared, adjusted for the points compared.
        groups: ``(n,)`` names of groups, or None for independent examples.

    Returns:
        Examples beyond those at hand, at least 1; None where the difference sits on the
        margin, nothing can be said of its variance, or more than ``MOST_EXAMPLES`` would be needed.
    """
    first, second = _aligned(a, b)
    if len(first) < 2:
        return None
    n, pairs = len(first), _pairs(first, second, groups)
    gap = pairs.difference + margin
    if not math.isfinite(pairs.error) or abs(gap) < 1e-9:
        return None
    if pairs.binary:
        at_margin = math.sqrt(_tango_variance(pairs.wins, pairs.losses, pairs.size, -margin))
        measured = math.sqrt(max((pairs.wins + pairs.losses) / pairs.size - pairs.difference**2, 0.0))
    else:
        at_margin = measured = pairs.error * math.sqrt(pairs.size)
    alpha = level if gap > 0 else (1 - LEVEL) / 2
    z_level, z_power = (float(stats.norm.ppf(share)) for share in (1 - alpha, POWER))
    needed = ((z_level * at_margin + z_power * measured) / gap) ** 2 * n / pairs.size
    if needed - n > MOST_EXAMPLES:
        return None
    return max(1, math.ceil(needed) - n)


def noise_floor(first: Sequence[float], second: Sequence[float]) -> NoiseFloor:
    """How far a candidate is from itself when it runs the same examples twice.

    The error is the standard deviation of the paired differences / sqrt(2 n): a difference
    of two runs has twice the variance of one (Miller, "Adding Error Bars to Evals", 2024,
    on the variance that resampling takes away).

    Args:
        first: ``(n,)``, scores of rollout 0.
        second: ``(n,)``, scores of rollout 1 on the same examples, in the same order.

    Raises:
        ValueError: Fewer than two pairs.
    """
    one, two = _aligned(first, second)
    n = len(one)
    if n < 2:
        raise ValueError("sampling noise needs two examples with two rollouts each")
    deltas = two - one
    return NoiseFloor(
        difference=float(np.abs(deltas).mean()),
        changed=float((deltas != 0).mean()),
        error=float(deltas.std(ddof=1)) / math.sqrt(2 * n),
        n=n,
    )


def _aligned(a: Sequence[float], b: Sequence[float]) -> tuple[Array, Array]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} scores cannot be paired with {len(b)}")
    return np.asarray(a, dtype=float), np.asarray(b, dtype=float)


def _pairs(first: Array, second: Array, groups: Sequence[str] | None) -> _Pairs:
    """The pairs with their standard error, infinite where it cannot be known."""
    n, deltas = len(first), first - second
    binary = is_binary(first) and is_binary(second)
    wins, losses = float((deltas == 1).sum()), float((deltas == -1).sum())
    codes = group_codes(groups, n)
    if codes is None:
        # 0/1 scores have methods that hold from one pair on.
        error = standard_error(deltas, spread=2.0) if n > 1 else 0.0 if binary else math.inf
        return _Pairs(deltas, binary, wins, losses, error, None if binary else n - 1, float(n))
    error, count = clustered_error(deltas, codes)
    variance = float(deltas.var())
    size = effective_size(variance, error, n, count) if count > 1 else 1.0
    error = max(error, 1 / (count * math.sqrt(count)))
    return _Pairs(deltas, binary, wins * size / n, losses * size / n, error, count - 1, size)


def _tango_variance(wins: float, losses: float, n: float, delta: float) -> float:
    """Variance of one pair's difference where its mean is delta (Tango, 1998, eq. 4 to 6)."""
    a = 2 * n
    b = -wins - losses + (2 * n - wins + losses) * delta
    c = -losses * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return max(2 * q + delta * (1 - delta), 0.0)


def _tango_statistic(wins: float, losses: float, n: float, delta: float) -> float:
    """Score statistic of the hypothesis that the paired difference is delta (Tango, 1998)."""
    if abs(delta) < 1e-12:
        # Smaller ones underflow when squared.
        delta = 0.0
    variance = n * _tango_variance(wins, losses, n, delta)
    top = wins - losses - n * delta
    if variance <= 0:
        return 0.0 if top == 0 else math.copysign(math.inf, top)
    return top / math.sqrt(variance)


def _tango_bound(pairs: _Pairs, z: float, *, lower: bool) -> float:
    """Where the score statistic meets z (lower end) or -z (upper end), by bisection."""
    inside, outside = pairs.difference, -1.0 if lower else 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(_tango_statistic(pairs.wins, pairs.losses, pairs.size, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside
