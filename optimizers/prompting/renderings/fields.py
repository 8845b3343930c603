"""Field names and values as plain text: how they are written, and how they are read back."""

from __future__ import annotations

import enum
import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from dspy.adapters.utils import serialize_for_json
from pydantic import TypeAdapter, ValidationError

_PLAIN = frozenset({str, int, bool, type(None)})
_NONE_WORDS = frozenset({"", "none", "null"})
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def label(name: str) -> str:
    """A field's name for people: ``review_text`` and ``reviewText`` give ``Review text``.

    Words wholly in capitals stay so: ``source_URL`` gives ``Source URL``.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).split("_")
    text = " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in words if word)
    return text[:1].upper() + text[1:]


def closed_values(annotation: Any) -> tuple[str, ...] | None:
    """The allowed values of a Literal, enum or bool as they are written; None for any other type."""
    members = _members(annotation)
    return None if members is None else tuple(dict.fromkeys(text for text, _ in members))


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without its ``None``, and whether it had one."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    kept = tuple(arg for arg in get_args(annotation) if arg is not type(None))
    if len(kept) == len(get_args(annotation)):
        return annotation, False
    return (kept[0] if len(kept) == 1 else Union[kept]), True  # noqa: UP007 (built at run time)


def may_be_none(annotation: Any) -> bool:
    """Whether None is a value of the type: by ``| None``, or as a member of a ``Literal``."""
    return without_none(annotation)[1] or (get_origin(annotation) is Literal and None in get_args(annotation))


def is_one_line(annotation: Any) -> bool:
    """Whether every value is written on one line: closed values and numbers."""
    inner, _ = without_none(annotation)
    return inner in (int, float) or closed_values(inner) is not None


def format_value(value: Any, annotation: Any = None) -> str:
    """A value as text: strings as they are, numbers and closed values bare, the rest as compact JSON.

    Args:
        value: The value, as a Python object or as a demo's JSON value.
        annotation: Type of an output field. A label spelt otherwise in the data (``Positive``
            for ``positive``) is then written as the type has it, which is what the model is
            asked to write.
    """
    return _written(_typed(value, annotation))


def json_value(value: Any, annotation: Any) -> Any:
    """An output value as a JSON value, read first where the data has it as text."""
    return as_json(_typed(value, annotation))


def as_json(value: Any) -> Any:
    """A value as DSPy turns it into JSON, which makes a validator first: for a plain one it is not needed."""
    return value if type(value) in _PLAIN else serialize_for_json(value)


def compact_json(value: Any) -> str:
    """A JSON value in the fewest characters, other scripts left as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def one_line(text: str) -> str:
    """The text with its line breaks, and the space around them, turned into single spaces."""
    return re.sub(r"\s*[\r\n]\s*", " ", text.strip())


def parse_value(text: str, annotation: Any) -> Any:
    """Read a value that a model wrote as text, strictly.

    Closed values match whatever their letter case, in quotes or with one full stop after
    them. Strings are taken whole, without the space around them. Containers and pydantic
    models are read as JSON.

    Args:
        text: The text in place of the value.
        annotation: Type of the output field.

    Raises:
        ValueError: The text is not a value of the type.
    """
    text = text.strip()
    inner, nullable = without_none(annotation)
    members = _members(inner)
    if members is not None:
        return _member(text, members, nullable)
    if nullable and text.casefold() in _NONE_WORDS:
        return None
    if inner is str:
        return text
    if inner is int:
        return int(_matching(_INTEGER, text, "a whole number"))
    if inner is float:
        return _finite(float(_matching(_NUMBER, text, "a number")))
    return _validated(text, inner)


def _members(annotation: Any) -> tuple[tuple[str, Any], ...] | None:
    """What a closed type allows, as (text, value) pairs."""
    if annotation is bool:
        return (("true", True), ("false", False))
    if isinstance(annotation, enum.EnumMeta):
        return tuple((_written(member), member) for member in annotation)  # type: ignore[var-annotated]
    if get_origin(annotation) is Literal:
        return tuple((_written(value), value) for value in get_args(annotation))
    return None


def _member(text: str, members: Sequence[tuple[str, Any]], nullable: bool) -> Any:
    named = [(value.name, value) for _, value in members if isinstance(value, enum.Enum)]
    none = [(word, None) for word in _NONE_WORDS] if nullable else []
    for pairs in (members, named, none):
        for spelling in spellings(text):
            if any(spelling == allowed for allowed, _ in pairs):
                return next(value for allowed, value in pairs if spelling == allowed)
            alike = [value for allowed, value in pairs if folded(spelling) == folded(allowed)]
            if alike and all(value == alike[0] for value in alike):
                return alike[0]
    raise ValueError(f"{text!r} is none of {', '.join(allowed for allowed, _ in members)}")


def spellings(text: str) -> list[str]:
    """The text as it is, then without a full stop and surrounding quotes, in either order."""
    stopped = text.removesuffix(".").rstrip()
    return list(
        dict.fromkeys([text, stopped, unquoted(text), unquoted(stopped), unquoted(text).removesuffix(".")])
    )


def unquoted(text: str) -> str:
    """A text without the quotes around it."""
    pairs = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019")
    return text[1:-1].strip() if len(text) > 1 and text[0] + text[-1] in pairs else text


def folded(text: str) -> str:
    """A text with case and white space that do not count made alike."""
    return " ".join(text.split()).casefold()


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is not {what}")
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _validated(text: str, annotation: Any) -> Any:
    adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        # Dates and unions with str are written bare, which JSON does not allow.
        try:
            return adapter.validate_strings(text)
        except ValidationError:
            raise error from None


def _typed(value: Any, annotation: Any) -> Any:
    if annotation in (None, str) or not isinstance(value, str):
        return value
    try:
        return parse_value(value, annotation)
    except ValueError:
        return value


def _written(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return _written(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return text_of(value)
    plain = serialize_for_json(value)
    return text_of(plain) if isinstance(plain, (Mapping, list)) else str(plain)


def text_of(value: Any) -> str:
    """A JSON value as a prompt shows it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else compact_json(value)
