"""Metrics made of metrics: weighted together, or zero unless conditions hold."""

from __future__ import annotations

import math
from typing import Any

from metrics.fields import Metric, name_of, named


def weighted(*parts: tuple[Metric, float]) -> Metric:
    """A metric that is the weighted mean of others.

    Args:
        parts: Metrics with their weights, as in ``weighted((token_f1("answer"), 3),
            (matches("code", "[A-Z]+"), 1))``. Only the weights' proportions count.

    Returns:
        ``metric(example, pred, trace=None)``, from 0.0 to 1.0 as its parts are.

    Raises:
        ValueError: No part is given, or a weight is not above 0 and finite.
    """
    if not parts:
        raise ValueError("weighted needs metrics with their weights, as in weighted((metric, 1.0), ...)")
    for metric, weight in parts:
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"weighted: the weight {weight} of {name_of(metric)} is not above 0")
    total = math.fsum(weight for _, weight in parts)

    def combined(example: Any, pred: Any, trace: Any = None) -> float:
        scores = math.fsum(weight * float(metric(example, pred, trace)) for metric, weight in parts)
        # Rounding may leave the mean of ones a hair above 1.
        return min(1.0, scores / total)

    listed = ", ".join(f"{weight / total:.2g} {name_of(metric)}" for metric, weight in parts)
    return named(combined, f"weighted({listed})")


def only_if(metric: Metric, *constraints: Metric) -> Metric:
    """A metric that counts only where every constraint holds, and is 0.0 elsewhere.

    Constraints are asked in order, the metric last: one that costs money, such as a judge,
    is asked only about predictions that pass the others.

    Args:
        metric: The score where all constraints hold.
        constraints: Metrics that hold where they are 1.0.

    Raises:
        ValueError: No constraint is given.
    """
    if not constraints:
        raise ValueError("only_if needs at least one constraint after the metric")

    def constrained(example: Any, pred: Any, trace: Any = None) -> float:
        if any(constraint(example, pred, trace) < 1.0 for constraint in constraints):
            return 0.0
        return metric(example, pred, trace)

    return named(constrained, f"only_if({', '.join(map(name_of, (metric, *constraints)))})")
