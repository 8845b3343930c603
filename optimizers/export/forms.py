"""Forms: what an exported module knows of an output's type, and values to try it on.

See :mod:`optimizers.export.standalone` for what a form is.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dspy.adapters.utils import serialize_for_json
from pydantic import TypeAdapter

from optimizers.prompting.renderings.fields import text_of

PLAIN = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "any": "any"}
"""Types of pydantic's core that a form knows by another name."""

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
"""What a form carries of each type. Anything else, such as a bound or a validator, it would lose."""


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


ODD_TEXTS = (
    "", "  ", "none", "null", "None", "true", "TRUE", "yes", "(True)", "3", "-0", "+3", "3.0", "1e3", "1e999",
    "1,000", "3 apples", "nan", "nonsense", '"3"', "'3'", "[1]", "{}", '{"a": 1}',
    "it's\nso", "I am: sure", "**3**",
)  # fmt: skip
"""What models write where another value is expected."""

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    3,
    -3.0,
    2.5,
    1e30,
    "",
    "3",
    "3.0",
    "yes",
    "x",
    [],
    ["3", None],
    {},
    {"a": 1},
)
"""The same in JSON."""

AWKWARD_VALUES: dict[str, list[Any]] = {
    "string": ['It {is} "so" \\ 日本', "two\nlines"],
    "integer": [-12, 0],
    "number": [0.25, 3.0],
    "boolean": [True, False],
    "any": [[1], "x"],
}
"""Values of the types that are not closed, by the type's name in a form."""


def values_of(form: Mapping[str, Any]) -> list[Any]:
    """Some JSON values of a form: every closed one, and awkward ones of the others."""
    values: list[Any]
    if form["type"] == "choice":
        values = [value for _, value in form["choices"]]
    elif form["type"] == "list":
        values = [[], values_of(form["items"])]
    elif form["type"] == "map":
        values = [{}, {"a key": values_of(form["values"])[0]}]
    elif form["type"] == "record":
        tried = {name: values_of(field) for name, field in form["fields"].items()}
        most = max(map(len, tried.values()), default=1)
        values = [{name: each[i % len(each)] for name, each in tried.items()} for i in range(min(most, 4))]
    else:
        values = AWKWARD_VALUES[form["type"]]
    return [*values, None] if form.get("optional") else values


def odd_values(form: Mapping[str, Any]) -> Iterator[Any]:
    """JSON values that are nearly of a form, or not at all."""
    yield from ODD_VALUES
    whole: Any = next((value for value in reversed(values_of(form)) if value is not None), None)
    if form["type"] == "list":
        yield from ([odd] for odd in odd_values(form["items"]))
    elif form["type"] == "map":
        yield from ({"key": odd} for odd in odd_values(form["values"]))
    elif form["type"] == "record":
        yield whole | {"more": 1}
        for name, field in form["fields"].items():
            yield {key: value for key, value in whole.items() if key != name}
            yield from (whole | {name: odd} for odd in odd_values(field))
