"""Forms of types: what an exported module knows of an output's type.

:mod:`optimizers.export.standalone` says what a form is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dspy.adapters.utils import serialize_for_json
from pydantic import TypeAdapter

from optimizers.prompting.renderings.fields import text_of

PLAIN = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "any": "any"}
"""Types of pydantic's core schema -> their names in a form."""

KNOWN = {
    "literal": {"expected"},
    "enum": {"cls", "members"},
    "list": {"items_schema"},
    "dict": {"keys_schema", "values_schema"},
    "nullable": {"schema"},
    "model": {"cls", "schema", "custom_init", "root_model", "config"},
    "model-fields": {"fields", "model_name", "computed_fields"},
    "model-field": {"schema", "frozen"},
    "default": {"schema", "default", "default_factory", "default_factory_takes_data"},
}
"""What a form keeps of each type. It would lose anything else, such as a bound or a validator."""

ANY = {"type": "any"}


def form_of(annotation: Any) -> dict[str, Any]:
    """The form of a type.

    Raises:
        ValueError: A module cannot read this type as pydantic does.
    """
    schema: Any = TypeAdapter(annotation).core_schema
    named = {}
    if schema["type"] == "definitions":
        named = {each["ref"]: each for each in schema["definitions"]}
        schema = schema["schema"]
    return _form(schema, named)


def _form(schema: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    if schema["type"] == "definition-ref":
        ref = schema["schema_ref"]
        if ref not in named:
            raise ValueError("it holds values of its own type")
        schema, named = named[ref], {other: each for other, each in named.items() if other != ref}
    kind = schema["type"]
    if schema.keys() - KNOWN.get(kind, set()) - {"type", "ref", "metadata"}:
        raise ValueError(f"{kind} has rules that a module does not carry")
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if kind == "literal":
        if any(isinstance(value, enum.Enum) for value in schema["expected"]):
            raise ValueError("a literal holds members of an enum")
        return {"type": "choice", "choices": _choices(schema["expected"])}
    if kind == "enum":
        names = [[name, _plain(member)] for name, member in schema["cls"].__members__.items()]
        if len(names) > len(schema["members"]):
            raise ValueError("an enum has two names for one value")
        return {"type": "choice", "choices": _choices(schema["members"]), "names": names}
    if kind == "nullable":
        return {**_form(schema["schema"], named), "optional": True}
    if kind == "list":
        return {"type": "list", "items": _form(schema.get("items_schema", ANY), named)}
    if kind == "dict" and schema.get("keys_schema", {"type": "str"}) in (ANY, {"type": "str"}):
        return {"type": "map", "values": _form(schema.get("values_schema", ANY), named)}
    if kind == "model" and not schema["custom_init"] and not schema["root_model"]:
        return _record(schema, named)
    raise ValueError(f"a module does not read {kind}")


def _record(schema: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    config, inner = schema.get("config", {}), schema["schema"]
    extra = config.get("extra_fields_behavior", "ignore")
    if inner["type"] != "model-fields" or inner.get("computed_fields") or extra == "allow":
        raise ValueError(f"{schema['cls'].__name__} has validators, computed fields or open keys")
    if config.keys() - {"title", "frozen", "extra_fields_behavior"}:
        raise ValueError(f"{schema['cls'].__name__} has a configuration that a module does not carry")
    fields, defaults = {}, {}
    for name, field in inner["fields"].items():
        if field.keys() - KNOWN["model-field"] - {"type", "metadata"}:
            raise ValueError(f"the field {name} has an alias, or is left out at times")
        held = field["schema"]
        if held["type"] == "default":
            if held.keys() - KNOWN["default"] - {"type", "metadata"}:
                raise ValueError(f"the field {name} has a default with rules")
            defaults[name] = default_value(held.get("default"), held.get("default_factory"))
            held = held["schema"]
        fields[name] = _form(held, named)
    return {"type": "record", "fields": fields, "defaults": defaults, "closed": extra == "forbid"}


def default_value(value: Any, factory: Callable[..., Any] | None) -> Any:
    """A field's default as a JSON value.

    Raises:
        ValueError: It is not the same every time.
    """
    if factory is None:
        return serialize_for_json(value)
    try:
        made = [serialize_for_json(factory()) for _ in range(2)]
    except TypeError:
        made = [0, 1]  # it takes the other fields
    if made[0] != made[1]:
        raise ValueError("a default is made anew each time")
    return made[0]


def _choices(members: Iterable[Any]) -> list[list[Any]]:
    values = [_plain(member) for member in members]
    if any(one == other for i, one in enumerate(values) for other in values[:i]):
        raise ValueError("two of the values allowed are equal, such as 1 and True")
    return [[text_of(value), value] for value in values]


def _plain(member: Any) -> Any:
    value = serialize_for_json(member)
    if value is not None and not isinstance(value, (str, int, float)):
        raise ValueError(f"{member!r} is no text or number")
    return value
