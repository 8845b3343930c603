"""What a reply may be: a grammar for renderings in plain text, a JSON schema for JSON.

A grammar is in GBNF, the notation of llama.cpp: rules over characters, ``root`` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from optimizers.prompting.renderings.fields import closed_values, compact_json, label, without_none

if TYPE_CHECKING:
    import dspy
    from pydantic.fields import FieldInfo

INTEGER_RULE = '"-"? ("0" | [1-9] [0-9]{0,17})'
"""Bounded, so that a model cannot write digits until the reply is cut."""

NUMBER_RULE = '"-"? [0-9]{1,15} ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?'
LINE_RULE = r"[^ \t\r\n] [^\r\n]"
TEXT_RULE = r"[^ \t\r\n] [^\r]"
"""Runs over lines until a stop sequence or the end of the turn.

Both end in what is repeated: without end, or up to the field's ``max_length``.
"""

OBJECT_RULES = r"""
object ::= "{" (pair (comma pair){0,15})? "}"
pair ::= text ":" " "? json
comma ::= "," " "?
array ::= "[" (json (comma json){0,15})? "]"
text ::= "\"" ([^"\\\x00-\x1F] | "\\" ["\\/bfnrt]){0,300} "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})?
json ::= text | number | object | array | "true" | "false" | "null"
"""
"""What a mapping with any keys is written as: a JSON object on one line, its texts bounded."""

MOST_REPEATS = 2000
"""Longer texts are left unbounded: llama.cpp makes a rule of every repeat, and may refuse more."""


def text_grammar(signature: type[dspy.Signature], *, cued: bool) -> str | None:
    """A grammar for the outputs as ``Label: value`` lines, in order.

    Args:
        signature: Whose outputs.
        cued: The prompt ends with the first label, so the reply starts with its value.
            Otherwise a single output is written bare, and several each have their label.

    Returns:
        GBNF, or None where a grammar would say nothing (one unbounded text) or cannot say it
        (outputs written as JSON of a given form).
    """
    outputs = signature.output_fields
    if [(info.annotation, most_characters(info)) for info in outputs.values()] in ([], [(str, None)]):
        return None
    parts, rules = [], []
    for index, (name, info) in enumerate(outputs.items()):
        rule = _rule(info, last=index == len(outputs) - 1)
        if rule is None:
            return None
        rules.append(f"value{index} ::= {rule}")
        if index > 0:
            parts.append(_quoted(f"\n{label(name)}: "))
        elif cued or len(outputs) == 1:
            parts.append('" "?')
        else:
            parts.append(_quoted(f"{label(name)}: "))
        parts.append(f"value{index}")
    written_as_json = any(is_mapping(info.annotation) for info in outputs.values())
    more = OBJECT_RULES if written_as_json else "\n"
    return "\n".join([f"root ::= {' '.join(parts)}", *rules]) + more


def is_mapping(annotation: Any) -> bool:
    """Whether a type is a mapping of texts to anything, such as the arguments of a tool."""
    return annotation is dict or (get_origin(annotation) is dict and get_args(annotation) == (str, Any))


def most_characters(info: FieldInfo) -> int | None:
    """The ``max_length`` a field declares, in its type or its field; None where it declares none."""
    declared = (getattr(constraint, "max_length", None) for constraint in info.metadata)
    return min((most for most in declared if most is not None), default=None)


def output_schema(signature: type[dspy.Signature]) -> dict[str, Any]:
    """A JSON schema for an object with every output as a key, in the order of the signature.

    In the strict form that structured-output services take: every property required, no
    other allowed, no defaults. A text is as long as its field allows.
    """
    schema = TypeAdapter(_object_type(signature, lenient=False)).json_schema()
    strict: dict[str, Any] = _strict(schema)
    for name, info in signature.output_fields.items():
        most = most_characters(info)
        if info.annotation is str and most is not None:
            strict["properties"][name]["maxLength"] = most
    return strict


def is_closed(schema: Any) -> bool:
    """Whether a schema fixes every key and type and bounds no text: services in strict mode insist."""
    if isinstance(schema, list):
        return all(is_closed(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if not schema or schema.get("additionalProperties", False) is not False:
        return False
    if schema.keys() & {"minLength", "maxLength"}:
        return False
    if schema.get("type") == "object" and "properties" not in schema:
        return False
    named = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    nested = [
        value for key, value in schema.items() if key in ("items", "prefixItems", "anyOf", "oneOf", "allOf")
    ]
    return all(is_closed(part) for part in [*named, *nested])


def without_lengths(schema: Any) -> Any:
    """A schema that bounds no text's length."""
    if isinstance(schema, list):
        return [without_lengths(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    named = ("properties", "$defs")
    return {
        key: {name: without_lengths(part) for name, part in value.items()}
        if key in named
        else without_lengths(value)
        for key, value in schema.items()
        if key != "maxLength"
    }


def parse_object(signature: type[dspy.Signature], text: str) -> dict[str, Any]:
    """Read and validate a JSON object of outputs.

    Raises:
        ValueError: Not one JSON object with exactly the outputs, each of its type. An output
            that is optional or has a default may be left out.
    """
    adapter = TypeAdapter(_object_type(signature, lenient=True))
    values: dict[str, Any] = adapter.validate_json(text, strict=True)
    return values


def describe(annotation: Any) -> str:
    """A type in words, for a prompt that asks for JSON."""
    return _words(_strict(TypeAdapter(annotation).json_schema()))


def _rule(info: FieldInfo, *, last: bool) -> str | None:
    inner, nullable = without_none(info.annotation)
    closed = closed_values(inner)
    if closed is not None:
        return " | ".join(_quoted(value) for value in ((*closed, "none") if nullable else closed))
    if inner is str:
        return (TEXT_RULE if last else LINE_RULE) + _repeats(most_characters(info))
    if is_mapping(info.annotation):
        return "object"
    rule = {int: INTEGER_RULE, float: NUMBER_RULE}.get(inner)
    return f'{rule} | "none"' if rule is not None and nullable else rule


def _repeats(most: int | None) -> str:
    """How often a text goes on after its first character."""
    return "*" if most is None or most > MOST_REPEATS else f"{{0,{max(most - 1, 0)}}}"


def _quoted(text: str) -> str:
    """A string literal in GBNF."""
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    characters = (named.get(c) or (f"\\x{ord(c):02X}" if ord(c) < 32 else c) for c in text)
    return f'"{"".join(characters)}"'


def _object_type(signature: type[dspy.Signature], *, lenient: bool) -> Any:
    # A TypedDict rather than a model: fields may have any name, `json` and `copy` included.
    fields: dict[str, Any] = {}
    for name, info in signature.output_fields.items():
        may_lack = lenient and (not info.is_required() or without_none(info.annotation)[1])
        fields[name] = NotRequired[info.annotation] if may_lack else info.annotation
    build: Any = TypedDict
    outputs = build("outputs", fields)
    outputs.__pydantic_config__ = ConfigDict(extra="forbid")
    return outputs


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            strict[key] = {name: _strict(part) for name, part in value.items()}
        elif key in ("enum", "const", "examples"):
            strict[key] = value
        elif key not in ("title", "default"):
            strict[key] = _strict(value)
    if "properties" in strict:
        strict["required"] = list(strict["properties"])
        strict["additionalProperties"] = False
    return strict


def _words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(compact_json(value) for value in schema["enum"])
    if "const" in schema:
        return compact_json(schema["const"])
    if "anyOf" in schema and "$defs" not in schema:
        return " or ".join(_words(part) for part in schema["anyOf"])
    simple = {"string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false"}
    simple["null"] = "null"
    kind = schema.get("type")
    if set(schema) <= {"type", "description"} and kind in simple:
        return simple[kind]
    return f"a value of this JSON schema: {compact_json(schema)}"
