"""What metrics share: reading a predicted field, values in one comparable form, and names for reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any

Metric = Callable[..., float]
"""``metric(example, prediction, trace=None)`` -> a score from 0 to 1."""

MISSING = object()
"""What :func:`predicted` gives for a field that the prediction lacks; equal to nothing else."""


def predicted(pred: Any, field: str) -> Any:
    """The value of a predicted field, or :data:`MISSING`."""
    if isinstance(pred, Mapping):
        return pred.get(field, MISSING)
    return getattr(pred, field, MISSING)


def accepted(label: Any) -> list[str]:
    """The texts that a label accepts: itself, or each of its entries when it is a list."""
    if isinstance(label, (list, tuple, set, frozenset)):
        return [str(entry) for entry in label]
    return [str(label)]


def normal(value: Any) -> Any:
    """A value in the one form it is compared in.

    Letter case and white space do not count. Enum members are their values, models are
    mappings, dates are ISO texts, and numbers and booleans are their spelling.
    """
    if isinstance(value, Enum):
        return normal(value.value)
    if hasattr(value, "model_dump"):
        return normal(value.model_dump())
    if isinstance(value, Mapping):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [normal(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return _unordered(value)
    if isinstance(value, (date, time)):
        value = value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (str, bool, int, float)):
        return " ".join(str(value).split()).casefold()
    return value


def same(wanted: Any, found: Any) -> bool:
    """Whether a label and a prediction are equal in the form they are compared in.

    JSON has no sets: where a set is predicted, neither the order nor repeats of a labelled list count.
    """
    if isinstance(found, (set, frozenset)) and isinstance(wanted, (list, tuple)):
        return bool(_unordered(wanted) == _unordered(found))
    return bool(normal(wanted) == normal(found))


def _unordered(values: Iterable[Any]) -> list[Any]:
    known = {repr(one): one for one in map(normal, values)}
    return [known[key] for key in sorted(known)]


def named(metric: Metric, name: str) -> Metric:
    """The metric under the name that reports show."""
    metric.__name__ = metric.__qualname__ = name
    return metric


def name_of(metric: Metric) -> str:
    """A metric's name."""
    return getattr(metric, "__name__", type(metric).__name__)
