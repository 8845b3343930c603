"""The functions of exported Python modules, which are copied there as they are.

They use the standard library of Python 3.10 and each other, nothing else, and take what they need to know
of a program as arguments. A *form* describes a type as plain data::

    {"type": "string" | "integer" | "number" | "boolean" | "any"}
    {"type": "choice", "choices": [[text, value], ...], "names": [[name, value], ...]}  (names: of an enum)
    {"type": "list", "items": form}
    {"type": "map", "values": form}
    {"type": "record", "fields": {name: form}, "defaults": {name: value}, "closed": bool}

each with ``"optional": True`` where the value may be None. :mod:`optimizers.export.forms` makes them.
"""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from optimizers.prompting.renderings.completion import sections_of
from optimizers.prompting.renderings.fields import folded, label, one_line, spellings, text_of


def given(inputs: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    """The inputs, all of which are required."""
    if set(inputs) != set(names):
        raise ValueError(f"The inputs are {', '.join(names)}, and not {', '.join(map(str, inputs))}.")
    return inputs


def as_lines(inputs: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """A ``Label: value`` line for each input that has a value, its line breaks turned into spaces."""
    return [f"{label(n)}: {one_line(text_of(inputs[n]))}".rstrip() for n in names if inputs[n] is not None]


def as_labelled(inputs: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """A ``Label: value`` text for each input that has a value, its line breaks kept."""
    return [f"{label(name)}: {text_of(inputs[name])}" for name in names if inputs[name] is not None]


def as_sections(inputs: Mapping[str, Any], kinds: Mapping[str, str]) -> list[str]:
    """Each input under its heading, records and lists as JSON; a list in place of a text is refused."""
    sections = []
    for name, kind in kinds.items():
        value = inputs[name]
        if kind == "text" and isinstance(value, list):
            raise ValueError(f"{name}: give a text rather than a list.")
        plain = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
        sections.append(f"[[ ## {name} ## ]]\n{plain}")
    return sections


def completed(values: Mapping[str, Any], outputs: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """The outputs in order. Those missing from the reply get their default."""
    missing = [name for name in outputs if name not in values and name not in defaults]
    if missing:
        raise ValueError(f"The reply lacks {', '.join(missing)}.")
    return {name: values[name] if name in values else copy.deepcopy(defaults[name]) for name in outputs}


def read_lines(
    reply: str,
    outputs: Mapping[str, Any],
    defaults: Mapping[str, Any],
    ends: Sequence[str],
    read_value: Callable[..., Any],
) -> Any:
    """The outputs of a reply in ``Label: value`` lines. The first label may be left out."""
    texts = sections_of(list(outputs), reply.strip())
    last = next(reversed(texts))
    for end in ends:
        texts[last] = texts[last].split(end, 1)[0]
    values = {}
    for name, form in outputs.items():
        text = texts.get(name, "")
        if form["type"] in ("choice", "boolean", "integer", "number"):
            text = text.split("\n", 1)[0]
        if text.strip():
            values[name] = read_value(text.strip(), form, name)
    return completed(values, outputs, defaults)


def read_object(reply: str, outputs: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """The outputs of a reply that is one JSON object, in a code fence or not."""
    fenced = re.fullmatch(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", reply.strip(), re.DOTALL)
    found = from_json(fenced.group(1) if fenced else reply.strip())
    if not isinstance(found, dict) or not found.keys() <= outputs.keys():
        raise ValueError(f"The reply is not one JSON object with the keys {', '.join(outputs)}.")
    values = {name: checked(found[name], outputs[name], name, strict=True) for name in found}
    return completed(values, outputs, defaults)


def read_sections(reply: str, outputs: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """The outputs of a reply in sections under ``[[ ## name ## ]]`` headings."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in reply.splitlines():
        heading = re.match(r"\[\[ ## (\w+) ## \]\]", line.strip())
        if heading:
            sections.append((heading[1], [line[heading.end() :].strip()]))
        else:
            sections[-1][1].append(line)
    values: dict[str, Any] = {}
    for name, lines in sections:
        if name in outputs and name not in values:
            values[name] = from_section("\n".join(lines).strip(), outputs[name], name)
    return completed(values, outputs, defaults)


def from_plain_text(text: str, form: Mapping[str, Any], where: str) -> Any:
    """A text, a number, or a closed value in any letter case."""
    kind = form["type"]
    if kind in ("choice", "boolean"):
        return chosen(text, form, where)
    if form.get("optional") and text.casefold() in ("", "none", "null"):
        return None
    if kind == "string":
        return text
    if kind == "integer" and re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    written = re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
    if kind == "number" and written and abs(float(text)) != float("inf"):
        return float(text)
    raise ValueError(f"{where}: {text!r} is no {kind}.")


def from_text(text: str, form: Mapping[str, Any], where: str) -> Any:
    """A value as plain text, or as JSON where its type has parts."""
    if form["type"] not in ("list", "map", "record"):
        return from_plain_text(text, form, where)
    if form.get("optional") and text.casefold() in ("", "none", "null"):
        return None
    return checked(from_json(text), form, where, strict=False)


def chosen(text: str, form: Mapping[str, Any], where: str) -> Any:
    """The closed value that a text names: as it is, in quotes, with a full stop, in any letter case."""
    pairs: list[Any] = [["true", True], ["false", False]] if form["type"] == "boolean" else form["choices"]
    none = [[word, None] for word in ("", "none", "null") if form.get("optional")]
    groups: list[Any] = [pairs, form.get("names", []), none]
    for group in groups:
        for spelling in spellings(text):
            for allowed, value in group:
                if spelling == allowed:
                    return value
            alike = [value for allowed, value in group if folded(spelling) == folded(allowed)]
            if alike and all(value == alike[0] for value in alike):
                return alike[0]
    raise ValueError(f"{where}: {text!r} is none of {', '.join(allowed for allowed, _ in pairs)}.")


def from_section(text: str, form: Mapping[str, Any], where: str) -> Any:
    """A value as DSPy's chat format writes it: a JSON or Python literal, or bare.

    DSPy would also find the JSON in parentheses, such as ``(true)``; that is an error here.
    """
    if form["type"] == "string":
        return text
    if form["type"] == "choice" and not form.get("optional"):
        bare = text
        if "names" not in form:
            if bare.startswith(("Literal[", "str[")) and bare.endswith("]"):
                bare = bare[bare.find("[") + 1 : -1]
            if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
                bare = bare[1:-1]
        for spelling in (text, bare):
            for known, value in [*((pair[1], pair[1]) for pair in form["choices"]), *form.get("names", [])]:
                if spelling == known:
                    return value
        if "names" in form:
            raise ValueError(f"{where}: {text!r} is none of {[pair[0] for pair in form['choices']]}.")
        text = bare
    found: Any = text
    try:
        found = json.loads(text)
    except ValueError:
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = ast.literal_eval(text)
    return checked(found, form, where, strict=False)


def from_json(text: str) -> Any:
    """A JSON value, with nothing before or after it."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        raise ValueError(f"This is not JSON: {text[:200]!r} ({error}).") from None
    return value


def checked(value: Any, form: Mapping[str, Any], where: str, *, strict: bool) -> Any:
    """A JSON value as its form has it: unknown keys dropped or refused, defaults filled in.

    Unless strict, scalars are converted as pydantic does: "3" and 3.0 are integers, "yes" is true.
    """
    kind = form["type"]
    if value is None and form.get("optional"):
        return None
    if kind == "any" or (kind == "string" and isinstance(value, str)):
        return value
    if kind == "list" and isinstance(value, list):
        return [checked(item, form["items"], f"{where}[{i}]", strict=strict) for i, item in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {key: checked(value[key], form["values"], f"{where}.{key}", strict=strict) for key in value}
    if kind == "record" and isinstance(value, dict):
        fields, defaults = form["fields"], form["defaults"]
        unknown = [key for key in value if key not in fields]
        if unknown and form["closed"]:
            raise ValueError(f"{where}: there is no {', '.join(unknown)}.")
        inside = {
            key: checked(value[key], fields[key], f"{where}.{key}", strict=strict)
            for key in fields
            if key in value
        }
        return completed(inside, fields, defaults)
    if kind == "choice":
        for _, known in form["choices"]:
            if known == value:
                return known
    if kind in ("boolean", "integer", "number"):
        found = scalar(value, kind, strict=strict)
        if found is not None:
            return found
    raise ValueError(f"{where}: {value!r} is no {kind} as expected.")


def scalar(value: Any, kind: str, *, strict: bool) -> Any:
    """A boolean or a number out of a JSON value; None where it is none."""
    if isinstance(value, bool):
        if kind == "boolean":
            return value
        return None if strict else {"integer": int, "number": float}[kind](value)
    text = value.strip() if isinstance(value, str) else ""
    if kind == "boolean":
        word = value.lower() if isinstance(value, str) else value
        if strict or isinstance(value, (list, dict)):
            return None
        true, false = (1, "1", "on", "t", "true", "y", "yes"), (0, "0", "off", "f", "false", "n", "no")
        return True if word in true else False if word in false else None
    if kind == "integer":
        if isinstance(value, int):
            return value
        if isinstance(value, float) and not strict and value.is_integer() and abs(value) < 2**63:
            return int(value)
        written = re.fullmatch(r"([+-]?[0-9]+(?:_[0-9]+)*)(?:\.0+)?", text)
        return int(written[1]) if written and not strict else None
    if isinstance(value, (int, float)):
        return float(str(value)) if isinstance(value, int) else value
    if text and text.isascii() and not strict:
        with suppress(ValueError):
            return float(text)
    return None


def as_sent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters for an OpenAI-compatible client: what its methods do not name goes in ``extra_body``."""
    named = (
        "model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed",
        "response_format", "frequency_penalty", "presence_penalty", "reasoning_effort",
    )  # fmt: skip
    extra = {name: value for name, value in parameters.items() if name not in named}
    known = {name: value for name, value in parameters.items() if name in named}
    return {**known, "extra_body": extra} if extra else known
