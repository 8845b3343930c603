"""Exact agreement between the predicted fields and the labelled ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

_MISSING = object()


def exact_match(*fields: str) -> Callable[..., float]:
    """A metric that is 1.0 when every field is predicted as labelled, else 0.0.

    Letter case and white space do not count. Enum members compare by value, and numbers
    and booleans also equal their spelling (``2`` and ``"2"``, ``True`` and ``"true"``).

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
        return float(all(_normal(example[field]) == _normal(_predicted(pred, field)) for field in fields))

    metric.__name__ = metric.__qualname__ = f"exact_match({', '.join(fields)})"
    return metric


def _predicted(pred: Any, field: str) -> Any:
    if isinstance(pred, Mapping):
        return pred.get(field, _MISSING)
    return getattr(pred, field, _MISSING)


def _normal(value: Any) -> Any:
    """A value in the one form it is compared in."""
    if isinstance(value, Enum):
        return _normal(value.value)
    if hasattr(value, "model_dump"):
        return _normal(value.model_dump())
    if isinstance(value, Mapping):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {_normal(item) for item in value}
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (str, bool, int, float)):
        return " ".join(str(value).split()).casefold()
    return value
