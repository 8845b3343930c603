"""Export to promptfoo: the measured prompt as a test suite over dev examples, for ``promptfoo eval``.

Formats: promptfoo.dev/docs/configuration/reference (the file), .../prompts (chat messages as JSON),
.../expected-outputs (assertions) and .../providers/openai (``apiBaseUrl``, ``omitDefaults``,
``passthrough``). Where they are silent, as in promptfoo 0.123:

- A JSON prompt is read first, then each text in it is rendered as a Nunjucks template, without
  escaping. A text prompt is rendered whole; ``.j2`` files are taken as they are, where ``.txt`` files
  are trimmed and cut at lines of three dashes.
- A text variable is rendered too, loses its last line break, and is read as a path where it begins
  with ``file://``. An object is left alone, so inputs are ``inputs.FIELD``.
- Parameters under ``passthrough`` are sent as they are.

Tests are dev examples, never of the sealed test set. An output with closed values (Literal, enum, bool)
must be the labelled one as the rendering reads it: in plain lines letter case, quotes and a full stop make
no difference. That is the task's metric where the metric is an exact match over such outputs. Other outputs
get a fallback, which is not the metric: ``contains`` the labelled text, or JSON of the right form.

A model that ran inside the process is asked at ``OPENAI_BASE_URL``, by default
``http://127.0.0.1:8080/v1``, where an OpenAI-compatible server is expected. ``openai:completion``
sends ``best_of: 1``, no penalties, and ``top_p: 1`` where none was measured; those change nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from optimizers.errors import ExportError
from optimizers.export.files import as_json, write_files
from optimizers.export.prompt_parts import Place, PromptParts, parts_of, shown, verify_rendered
from optimizers.export.single_request import check_protocol, only_request, shown_reply
from optimizers.prompting.renderings.constraints import output_schema
from optimizers.prompting.renderings.fields import (
    closed_values,
    format_value,
    is_one_line,
    json_value,
    label,
    one_line,
    without_none,
)
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.export.point import Exported

CONFIG, TESTS = "promptfooconfig.yaml", "tests.json"
MOST_TESTS = 50
LOCAL_ADDRESS = '{{ env.OPENAI_BASE_URL | default("http://127.0.0.1:8080/v1", true) }}'

_OPENERS = ("{{", "{%", "{#")
_SPACE = r"[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""What Python's ``str.strip`` takes for white space; JavaScript's ``\\s`` is another set."""

_ONE_LINE = f' | replace(r/^{_SPACE}+|{_SPACE}+$/g, "") | replace(r/{_SPACE}*[\\r\\n]{_SPACE}*/g, " ")'


def write_promptfoo(exported: Exported, folder: Path) -> list[Path]:
    """Write ``promptfooconfig.yaml``, ``tests.json`` and ``prompt.json`` (text to continue: ``prompt.j2``).

    Raises:
        ExportError: The program has several predictors, or makes several calls; promptfoo would send
            other messages or reach the model otherwise; nothing is written.
    """
    parts: PromptParts = only_request(parts_of(exported), "promptfoo tests one prompt")
    templates = [_template(parts, turn.parts) for turn in parts.turns]
    _verify_templates(exported, parts, templates)
    name, prompt = "prompt.j2", templates[0]
    if not parts.raw:
        turns = zip(parts.turns, templates, strict=True)
        name, prompt = "prompt.json", as_json([{"role": turn.role, "content": text} for turn, text in turns])
    config = yaml.safe_dump(_config(exported, parts, name), sort_keys=False, allow_unicode=True)
    return write_files(folder, {CONFIG: config, name: prompt, TESTS: as_json(_tests(exported, parts))})


def _template(parts: PromptParts, pieces: tuple[str | Place, ...]) -> str:
    return "".join(
        _fixed(piece) if isinstance(piece, str) else _tag(piece, lines=parts.lines) for piece in pieces
    )


def _fixed(text: str) -> str:
    """A template that renders to this text: none of its braces opens a tag.

    Nunjucks also refuses the end of a comment that was not opened.
    """
    return re.sub(r"\{(?=[{%#]|\Z)|#(?=\})", lambda found: f'{{{{ "{found[0]}" }}}}', text)


def _tag(place: Place, *, lines: bool) -> str:
    value = f'inputs["{place.field}"]{_ONE_LINE if lines else ""}'
    if not place.led:
        return f"{{{{ {value} }}}}"
    return f'{{% set text = {value} %}}{{{{ " " + text if text }}}}'


def _verify_templates(exported: Exported, parts: PromptParts, templates: list[str]) -> None:
    """Render the tags that are written here as Nunjucks does; any other tag is an error."""
    places = [piece for turn in parts.turns for piece in turn.parts if isinstance(piece, Place)]

    def rendered(inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        texts = shown(parts, inputs)
        tags = {'{{ "{" }}': "{", '{{ "#" }}': "#"}
        for place in places:
            text = texts[place.field]
            tags[_tag(place, lines=parts.lines)] = f" {text}" if place.led and text else text
        filled = [_render(template, tags, parts.name) for template in templates]
        return [{"role": t.role, "content": text} for t, text in zip(parts.turns, filled, strict=True)]

    verify_rendered(exported, parts, rendered)
    for turn in parts.turns:
        if turn.parts and isinstance(turn.parts[0], str) and turn.parts[0].startswith("file://"):
            raise ExportError("promptfoo would take a message for the path of a file.", where=parts.name)


def _render(template: str, tags: Mapping[str, str], where: str) -> str:
    made, at = [], 0
    for opener in re.finditer(r"\{[{%#]|#\}", template):
        if opener.start() < at:
            continue
        tag = next((tag for tag in tags if template.startswith(tag, opener.start())), None)
        if tag is None:
            found = template[opener.start() : opener.start() + 40]
            raise ExportError("The prompt would be taken for a template.", where=f"{where}: {found!r}")
        made += [template[at : opener.start()], tags[tag]]
        at = opener.start() + len(tag)
    return "".join([*made, template[at:]])


def _config(exported: Exported, parts: PromptParts, prompt: str) -> dict[str, Any]:
    manifest, metric = exported.manifest, exported.task.metric_name
    tags = {"study": manifest.name, "candidate": exported.point.candidate.id, "metric": metric}
    return {
        "description": _plain(f"{manifest.task}: dev examples of a prompt compiled and measured by Parity"),
        "tags": {name: _plain(text) for name, text in tags.items()},
        "prompts": [f"file://{prompt}"],
        "providers": [_provider(parts)],
        "tests": f"file://{TESTS}",
    }


def _plain(text: str) -> str:
    """A text for people, without what would be a template."""
    return re.sub(r"\{(?=[{%#])", "{ ", one_line(text))


def _provider(parts: PromptParts) -> dict[str, Any]:
    model, sent = parts.model, dict(parts.parameters)
    name = model.name.partition("/")[2]
    check_protocol(model, "promptfoo")
    found = json.dumps([sent, model.api_base, output_schema(parts.signature)], ensure_ascii=False)
    if any(opener in found for opener in _OPENERS) or "file://" in found:
        raise ExportError(
            "A parameter or label would be taken for a template or a path.",
            where=parts.name,
            fix="export to openai",
        )
    del sent["model"]
    config: dict[str, Any] = {"omitDefaults": True, "passthrough": sent}
    if parts.raw:
        config["stop"] = sent.pop("stop", [])  # otherwise promptfoo sends its own stops
        for own in ("max_tokens", "temperature", "top_p"):
            if own in sent:
                config[own] = sent.pop(own)
    if model.is_local or model.api_base:
        config["apiBaseUrl"] = model.api_base or LOCAL_ADDRESS
        config["apiKeyRequired"] = False
    kind = "completion" if parts.raw else "chat"
    return {"id": f"openai:{kind}:{name}", "label": model.label, "config": config}


def _tests(exported: Exported, parts: PromptParts) -> list[dict[str, Any]]:
    """Dev examples, those with the lowest content hashes, with checks of their replies."""
    fields = list(parts.signature.input_fields)
    tests: list[dict[str, Any]] = []
    for example in sorted(exported.task.dataset.dev, key=example_id):
        inputs = {name: example[name] for name in fields if name in example}
        texts = [format_value(value) for value in inputs.values() if value is not None]
        if len(texts) < len(fields) or any(text.startswith("file://") for text in texts):
            continue
        checks = _checks(parts, example)
        if not tests:
            _verify_checks(parts, example, checks)
        vars_ = {"inputs": {name: format_value(value) for name, value in inputs.items()}}
        tests.append({"description": example_id(example), "vars": vars_, "assert": checks})
    if not tests:
        raise ExportError("No dev example has all inputs of the prompt.", where=parts.name)
    return tests[:MOST_TESTS]


def _checks(parts: PromptParts, example: dspy.Example) -> list[dict[str, Any]]:
    outputs = parts.signature.output_fields
    known = {name: info.annotation for name, info in outputs.items() if name in example}
    if parts.adapter.name == "json_object":
        return [_json_check(parts, example, known)] if known else []
    made = [_check(parts, name, annotation, example[name]) for name, annotation in known.items()]
    return [check for check in made if check]


def _json_check(parts: PromptParts, example: dspy.Example, known: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON object with the labelled closed values, and the other outputs in their forms."""
    schema, closed = output_schema(parts.signature), []
    for name, annotation in known.items():
        if closed_values(without_none(annotation)[0]) is not None:
            closed.append(name)
            schema["properties"][name] = {"const": json_value(example[name], annotation)}
    named = "as labelled" if len(closed) == len(known) else "JSON (fallback)"
    return {"type": "is-json", "value": schema, "metric": named}


def _check(parts: PromptParts, name: str, annotation: Any, gold: Any) -> dict[str, Any] | None:
    inner, _ = without_none(annotation)
    text = format_value(gold, annotation)
    if closed_values(inner) is not None:
        return {"type": "regex", "value": _pattern(parts, name, text), "metric": f"{name} as labelled"}
    if inner is not str and not is_one_line(inner):
        return {"type": "contains-json", "metric": f"{name} (fallback)"}
    if not text.strip():
        return None
    text = text.strip()
    if any(opener in text for opener in _OPENERS) or text.startswith(("file://", "package:")):
        return {"type": "regex", "value": _escaped(text), "metric": f"{name} (fallback)"}
    return {"type": "contains", "value": text, "metric": f"{name} (fallback)"}


def _pattern(parts: PromptParts, name: str, text: str) -> str:
    """Finds a closed value in a reply, in Python and in JavaScript; the pattern holds no brace."""
    words = r"\s+".join(map(_any_case, text.split()))
    value = rf"""["'`]?{words}["'`]?\.?["'`]?"""
    if parts.adapter.name == "dspy_chat":  # which takes no other spelling, except of true and false
        exact = words if text in ("true", "false") else _escaped(text)
        return rf"""\[\[ ## {name} ## \]\]\s*["']?{exact}["']?\s*(?:\[\[|$)"""
    tagged = rf"{_any_case(label(name))}[ \t]*:"
    first = next(iter(parts.signature.output_fields)) == name
    start = rf"^\s*(?:{tagged})?\s*" if first else rf"\n[ \t]*{tagged}\s*"
    return rf"{start}{value}[ \t]*(?:\r?\n|$)"


def _any_case(text: str) -> str:
    return "".join(
        f"[{char.lower()}{char.upper()}]" if char.isascii() and char.isalpha() else _escaped(char)
        for char in text
    )


def _escaped(text: str) -> str:
    """A text as a regular expression without characters that are special in it or in Nunjucks."""
    return "".join(
        char
        if char.isalnum() or ord(char) > 0xFFFF
        else f"\\x{ord(char):02x}"
        if ord(char) < 256
        else f"\\u{ord(char):04x}"
        for char in text
    )


def _verify_checks(parts: PromptParts, example: dspy.Example, checks: list[dict[str, Any]]) -> None:
    """Try the regular expressions on well-formed replies with every closed value.

    Raises:
        ExportError: One accepts a wrong value, or rejects the right one.
    """
    signature, patterns = parts.signature, iter([c["value"] for c in checks if "as labelled" in c["metric"]])
    if parts.adapter.name == "json_object":
        return
    outputs = {name: example.get(name, "x") for name in signature.output_fields}
    for name, info in signature.output_fields.items():
        closed = closed_values(without_none(info.annotation)[0])
        if closed is None or name not in example:
            continue
        pattern, gold = next(patterns), format_value(example[name], info.annotation)
        for value in closed:
            taken = (
                re.search(pattern, shown_reply(parts.adapter, signature, outputs | {name: value})) is not None
            )
            if taken != (" ".join(value.split()).casefold() == " ".join(gold.split()).casefold()):
                raise ExportError(
                    "promptfoo would not tell the labels of this output apart.", where=f"{name}: {value!r}"
                )
