"""Values of fields as plain JSON, as records keep them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from enum import Enum
from typing import Any

from pydantic import BaseModel

from optimizers.errors import DataError


def json_value(value: Any) -> Any:
    """A field's value as plain JSON: enum members by value, models as objects.

    Raises:
        DataError: The value has no JSON form.
    """
    if isinstance(value, Enum):
        return json_value(value.value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(json_value(name)): json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((json_value(item) for item in value), key=repr)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy scalars and arrays, as Parquet readers give them
        return json_value(value.tolist())
    fix = "use text, numbers, booleans, lists, mappings or pydantic models"
    raise DataError(f"A value of type {type(value).__name__} has no JSON form.", fix=fix)


def whole(value: Any) -> Any:
    """A JSON value with U+FFFD in place of half characters: what a model wrote, as files can hold it."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {whole(name): whole(item) for name, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, (list, tuple)) else value
