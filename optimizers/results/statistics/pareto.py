"""Which candidates are not dominated, and how much of the quality-cost plane they cover.

Shapes: ``n`` points; every argument is a sequence of length ``n``.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray


def non_dominated(quality: Sequence[float], *costs: Sequence[float]) -> NDArray[np.bool_]:
    """Which points no other point beats in one objective without losing in another.

    Of points equal in all, the first is kept.

    Args:
        quality: ``(n,)``; higher is better.
        costs: Each ``(n,)``: money, seconds and the like; lower is better.

    Returns:
        ``(n,)``: whether each point is kept.

    Raises:
        ValueError: The lengths differ.
    """
    if any(len(cost) != len(quality) for cost in costs):
        raise ValueError(f"{len(quality)} qualities and {', '.join(str(len(cost)) for cost in costs)} costs")
    if len(quality) == 0:
        return np.zeros(0, dtype=bool)
    points = np.column_stack([np.asarray(column, dtype=float) for column in (quality, *costs)])
    maximise = [True] + [False] * len(costs)
    kept: NDArray[np.bool_] = moocore.is_nondominated(points, maximise=maximise, keep_weakly=False)
    return kept


def hypervolume(
    quality: Sequence[float], cost: Sequence[float], *, best_cost: float, worst_cost: float
) -> float:
    """Share of the quality-cost plane that the points dominate, in [0, 1].

    Cost is taken on a log scale between ``best_cost`` (1) and ``worst_cost`` (0), so that
    halving a cost counts the same anywhere; quality between 0 and 1.

    Args:
        quality: ``(n,)``, in [0, 1].
        cost: ``(n,)``, above 0.
        best_cost: Cost that counts as free.
        worst_cost: Cost at which a point covers nothing.
    """
    if len(quality) == 0:
        return 0.0
    span = np.log(worst_cost) - np.log(best_cost)
    if span <= 0:
        return float(max(quality))
    cheapness = np.clip((np.log(worst_cost) - np.log(np.asarray(cost, dtype=float))) / span, 0.0, 1.0)
    points = np.column_stack([np.asarray(quality, dtype=float), cheapness])
    return float(moocore.hypervolume(points, ref=[0.0, 0.0], maximise=True))


def thin(quality: Sequence[float], cost: Sequence[float], most: int) -> list[int]:
    """Indices of the points that together cover nearly all that the whole front covers.

    Near-equal points add little. While there are more than ``most``, the one
    whose loss costs the least hypervolume goes (greedy subset selection by contribution:
    Beume, Naujoks & Emmerich, European Journal of Operational Research 181, 2007).

    Args:
        quality: ``(n,)``, in [0, 1].
        cost: ``(n,)``, at least 0.
        most: Points to keep, at least 1.

    Returns:
        At most ``most`` indices into both, rising.
    """
    kept = list(range(len(quality)))
    # A free point has no place on a log scale: it counts as a millionth of the dearest.
    floor = max(cost, default=1.0) * 1e-6 or 1.0
    costs = [max(value, floor) for value in cost]
    best, worst = min(costs, default=1.0) / 2, max(costs, default=1.0) * 2

    def covered(points: Sequence[int]) -> float:
        return hypervolume(
            [quality[i] for i in points], [costs[i] for i in points], best_cost=best, worst_cost=worst
        )

    while len(kept) > most:
        kept.remove(max(kept, key=lambda i: covered([j for j in kept if j != i])))
    return kept
