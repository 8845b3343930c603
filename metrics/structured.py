"""Metrics of structured outputs: sets, records and nested lists, and whether a value fits a schema."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from scipy.optimize import linear_sum_assignment

from metrics.fields import MISSING, Metric, named, normal, predicted


def set_f1(field: str) -> Metric:
    """A metric of the entries that a predicted list shares with the labelled one, as sets.

    F1 is twice the shared entries over the entries of both. Order and repeats do not count,
    nor letter case and white space in the entries. Two empty lists agree.

    Args:
        field: Output field to compare, a list or set.

    Returns:
        ``metric(example, pred, trace=None)``, from 0.0 to 1.0. A field that the prediction
        lacks, or a value that is no list, scores 0.0.
    """

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        wanted, found = _entries(example[field]), _entries(predicted(pred, field))
        if found is None or wanted is None:
            return 0.0
        total = len(wanted) + len(found)
        return 2 * len(wanted & found) / total if total else 1.0

    return named(metric, f"set_f1({field})")


def field_f1(*fields: str) -> Metric:
    """A metric of the single values that a predicted record shares with the labelled one.

    F1 over the leaves of both records, all leaves weighing the same: ``2 * shared / (labelled
    + predicted)``. A leaf is shared when it is at the same place and is equal as in
    :func:`metrics.exact.exact_match`. Entries of lists have no place: they are paired so that
    the most leaves are shared, by optimal assignment (Kuhn, Naval Research Logistics
    Quarterly 2, 1955), as coreference scoring pairs entities (Luo, "On Coreference
    Resolution Performance Metrics", HLT 2005). What is None or blank is no leaf, so leaving
    an optional field out is the same as null. Two records without any leaf agree.

    Args:
        fields: Output fields to compare: models, mappings, lists, or plain values.

    Returns:
        ``metric(example, pred, trace=None)``, from 0.0 to 1.0.

    Raises:
        ValueError: No field is named.
    """
    if not fields:
        raise ValueError('field_f1 needs the fields to compare, as in field_f1("invoice")')

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        given = {field: predicted(pred, field) for field in fields}
        wanted = normal({field: example[field] for field in fields})
        found = normal({field: value for field, value in given.items() if value is not MISSING})
        total = _leaves(wanted) + _leaves(found)
        return 2 * _shared(wanted, found) / total if total else 1.0

    return named(metric, f"field_f1({', '.join(fields)})")


def valid(field: str, schema: Any) -> Metric:
    """A metric that is 1.0 when the predicted value fits a schema, else 0.0. No label is needed.

    Text is read as JSON where it is JSON, and is a JSON string otherwise. Types are strict:
    ``"3"`` is no number.

    Args:
        field: Output field to check.
        schema: A JSON schema as a mapping, or a type: a pydantic model, ``list[int]``, a
            ``Literal`` and so on.

    Raises:
        ValueError: The mapping is no JSON schema.
    """
    fits = _fits_schema(field, schema) if isinstance(schema, Mapping) else _fits_type(schema)

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, field)
        if value is MISSING:
            return 0.0
        try:
            readings = [to_jsonable_python(value)]
        except PydanticSerializationError:
            return 0.0
        if isinstance(value, str):
            with contextlib.suppress(ValueError, RecursionError):
                readings.insert(0, json.loads(value))
        return float(any(fits(reading) for reading in readings))

    return named(metric, f"valid({field})")


def _entries(value: Any) -> set[str] | None:
    """The distinct entries of a list in comparable form; None for what is no list."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        return None
    return {json.dumps(normal(entry), sort_keys=True, default=repr) for entry in value}


def _leaves(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_leaves, value.values()))
    if isinstance(value, list):
        return sum(map(_leaves, value))
    return int(value is not None and value != "")


def _shared(wanted: Any, found: Any) -> int:
    """Leaves that two normalised values share."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return sum(_shared(value, found[key]) for key, value in wanted.items() if key in found)
    if isinstance(wanted, list) and isinstance(found, list):
        return _shared_entries(wanted, found)
    if isinstance(wanted, (Mapping, list)) or isinstance(found, (Mapping, list)):
        return 0
    return int(wanted == found and _leaves(wanted) > 0)


def _shared_entries(wanted: Sequence[Any], found: Sequence[Any]) -> int:
    if all(isinstance(entry, str) for entry in (*wanted, *found)):
        both = Counter(filter(None, wanted)) & Counter(filter(None, found))
        return both.total()
    if not wanted or not found:
        return 0
    gains = np.array([[_shared(one, other) for other in found] for one in wanted])
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return int(gains[rows, columns].sum())


def _fits_type(schema: Any) -> Callable[[Any], bool]:
    adapter: TypeAdapter[Any] = TypeAdapter(schema)

    def fits(value: Any) -> bool:
        try:
            # Through JSON, where dates and enum members are texts.
            adapter.validate_json(json.dumps(value), strict=True)
        except ValidationError:
            return False
        return True

    return fits


def _fits_schema(field: str, schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"valid({field!r}): no JSON schema: {error.message}") from error
    validator = kind(schema)
    return lambda value: bool(validator.is_valid(value))
