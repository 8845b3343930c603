"""Exact agreement between the predicted fields and the labelled ones."""

from __future__ import annotations

from typing import Any

from metrics.fields import Metric, named, predicted, same


def exact_match(*fields: str) -> Metric:
    """A metric that is 1.0 when every field is predicted as labelled, else 0.0.

    Letter case and white space do not count. Enum members compare by value, numbers and
    booleans also equal their spelling (``2`` and ``"2"``, ``True`` and ``"true"``), and
    dates equal their ISO text.

    Args:
        fields: Output fields to compare; all of them must agree.

    Returns:
        ``metric(example, pred, trace=None)``, named like ``exact_match(sentiment)``. A field
        that the prediction lacks scores 0.0.

    Raises:
        ValueError: No field is named.
    """
    if not fields:
        raise ValueError('exact_match needs the fields to compare, as in exact_match("sentiment")')

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        return float(all(same(example[field], predicted(pred, field)) for field in fields))

    return named(metric, f"exact_match({', '.join(fields)})")
