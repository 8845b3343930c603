"""What as much search again would gain: the curve of the best quality against spend, carried on.

For each model, the candidates that led after an eighth, a quarter, half and all of the search are compared
by all that is known of them in the end: their gains on each other are the model's curve. Curves of learning
and of search flatten as power laws (Domhan, Springenberg & Hutter, IJCAI 2015), so each doubling of the
spend is assumed to gain, in the mean, a constant share of the doubling before. Gains come in jumps, so one
doubling's gain is a Gamma variable of that mean. Mean and share are unknown: a grid of both is weighted by
prior and likelihood, and the forecast is the mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv, ndtr

Floats = NDArray[np.float64]

DOUBLINGS = 3
"""Doublings of the spend that are looked back on."""

DOUBT = 10
"""Pseudo-scores at the common mean that a candidate's own mean is shrunk with, to tell who leads."""

SHAPE = 0.5
"""Shape of the Gamma distribution of one doubling's gain: below 1, as most bring little and some a lot."""

SAME = 0.002
"""Gains below this are none."""

MEANS = np.geomspace(0.0005, 0.4, 40)
"""Mean gains of the last doubling that are weighed."""

RANGE, SPREAD = 1.0, 1.0
"""Median of the prior of that mean, times the candidates tried, and the standard deviation of its logarithm.

Of candidates drawn evenly from a range of qualities the best is below its top by the range over their
number, in the mean: so the last doubling gained the range over the number.
"""

SHARES = np.linspace(0.2, 1.0, 17)
"""Shares of the doubling before that are weighed."""

SHARE, SHARE_SPREAD = 0.5, 0.2
"""Centre and standard deviation of their prior, a Gaussian: evenly drawn, each doubling gains half."""

LEVELS = np.linspace(0.0025, 0.9975, 200)
"""Levels at which the forecast is kept."""


@dataclass(frozen=True)
class Scored:
    """Scores that a search bought together.

    Attributes:
        spent: Calls the search had used when they were known.
        candidate: Whose they are.
        scores: The scores, in [0, 1].
    """

    spent: float
    candidate: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Forecast:
    """What as much search again would gain.

    Attributes:
        gains: ``(len(LEVELS),)``: quantiles of the gain in true quality at :data:`LEVELS`, each at least 0.
    """

    gains: Floats

    @property
    def mean(self) -> float:
        """Expected gain."""
        return float(self.gains.mean())

    def quantile(self, level: float) -> float:
        """Gain that is not exceeded with this probability."""
        return float(np.interp(level, LEVELS, self.gains))

    def reaching(self, gap: float, error: float) -> float:
        """Probability that the gain closes a gap.

        Args:
            gap: What is lacking; negative when nothing is.
            error: Standard error of the gap, at least 0.
        """
        beyond = self.gains - gap
        return float((ndtr(beyond / error) if error > 0 else beyond >= 0).mean())


NOTHING = Forecast(np.zeros(len(LEVELS)))
"""No gain at all: the present state."""


def forecast(scored: Sequence[Scored], final: Mapping[str, Sequence[float]]) -> Forecast:
    """Predict what as much search again would gain for one model.

    Args:
        scored: What the search bought of the model's candidates, in order.
        final: Candidate id -> all its dev scores, those bought later included.

    Returns:
        The forecast; the prior's where fewer than two candidates were scored.
    """
    known = {identity: scores for identity, scores in final.items() if len(scores)}
    if not known:
        return Forecast(_predicted(_posterior([], 1), 1.0))
    quality, variance = _shrunk(known)
    now = max(quality, key=lambda one: quality[one])
    ends = [*_leaders(scored), now] if len(known) > 1 else []
    steps = []
    for before, after in pairwise(ends):
        gained = quality[after] - quality[before]
        steps.append((gained, 0.0 if before == after else float(np.sqrt(variance[before] + variance[after]))))
    return Forecast(_predicted(_posterior(steps, len(known)), max(0.0, 1.0 - quality[now])))


def _leaders(scored: Sequence[Scored]) -> list[str]:
    """Who led an eighth, a quarter and half of the way, by what was known then, where anything was."""
    found: list[str] = []
    if not scored:
        return found
    total = max(one.spent for one in scored)
    for halvings in range(DOUBLINGS, 0, -1):
        sums: dict[str, list[float]] = {}
        for one in scored:
            if one.spent <= total / 2**halvings and one.scores:
                own = sums.setdefault(one.candidate, [0.0, 0.0])
                own[0] += sum(one.scores)
                own[1] += len(one.scores)
        if sums:
            usual = sum(right for right, _ in sums.values()) / sum(n for _, n in sums.values())
            found.append(max(sums, key=lambda one: (sums[one][0] + DOUBT * usual) / (sums[one][1] + DOUBT)))
    return found


def _shrunk(scores: Mapping[str, Sequence[float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Means shrunk to the common one as far as they are uncertain, and the variances that remain.

    The best of many is best by luck too; shrunk, it is unbiased in expectation (empirical Bayes:
    Efron & Morris, JASA 70, 1975).
    """
    means = np.array([np.mean(found) for found in scores.values()])
    counts = np.array([len(found) for found in scores.values()], dtype=float)
    rate = np.clip((means * counts + 1) / (counts + 2), 0.03, 0.97)
    errors = rate * (1 - rate) / counts
    weights = 1 / (errors + 0.01)
    centre = float(weights @ means / weights.sum())
    between = max(1e-4, float(weights @ ((means - centre) ** 2 - errors) / weights.sum()))
    kept = between / (between + errors)
    quality, left = centre + kept * (means - centre), kept * errors
    return dict(zip(scores, quality, strict=True)), dict(zip(scores, left, strict=True))


def _posterior(steps: Sequence[tuple[float, float]], candidates: int) -> Floats:
    """Posterior weights of the mean of the last doubling's gain and of the share.

    Args:
        steps: Gain of each doubling, the last one last, and its standard error; 0 where the leader stayed.
        candidates: How many were tried.

    Returns:
        ``(len(MEANS), len(SHARES))``, summing to 1.
    """
    off = np.log(MEANS * candidates / RANGE) / SPREAD, (SHARES - SHARE) / SHARE_SPREAD
    log_weight = -0.5 * (off[0][:, None] ** 2 + off[1][None, :] ** 2)
    for back, (gained, error) in enumerate(reversed(steps)):
        mean = np.minimum(0.6, MEANS[:, None] / SHARES[None, :] ** back)
        log_weight = log_weight + np.log(_likelihood(gained, error, mean) + 1e-12)
    weight: Floats = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    return weight


def _likelihood(gained: float, error: float, mean: Floats) -> Floats:
    """Likelihood of a doubling's measured gain.

    Args:
        gained: The measured gain.
        error: Its standard error; 0 where the leader stayed.
        mean: ``(len(MEANS), len(SHARES))``: means of the gain.

    Returns:
        As many likelihoods, of the same shape.
    """
    scale = mean / SHAPE
    none: Floats = gammainc(SHAPE, SAME / scale)
    if error == 0.0:
        return none
    # The true gain on a grid of its own quantiles: exact enough, and never outside its support.
    levels = (np.arange(60) + 0.5) / 60
    true = gammaincinv(SHAPE, levels)[:, None, None] * scale[None, :, :]
    density: Floats = np.exp(-0.5 * ((gained - true) / error) ** 2).mean(axis=0) / error
    return density


def _predicted(weight: Floats, room: float) -> Floats:
    """Quantiles of the next doubling's gain, none above what is left to 1.

    Args:
        weight: ``(len(MEANS), len(SHARES))``, from :func:`_posterior`.
        room: The largest gain that is possible.

    Returns:
        ``(len(LEVELS),)``, at :data:`LEVELS`.
    """
    mean = (MEANS[:, None] * SHARES[None, :]).ravel()
    mass = weight.ravel()
    grid = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 150)])
    below = gammainc(SHAPE, grid[:, None] * SHAPE / mean[None, :]) @ mass
    found: Floats = np.minimum(np.interp(LEVELS, below, grid), room)
    return found
