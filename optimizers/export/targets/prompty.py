"""Export to Prompty: one ``.prompty`` file per predictor, front matter and a Jinja body with role markers.

Format: prompty.ai (Prompty 2: ``model.id``, ``provider``, ``apiType``, ``connection``, ``options``). Files
cannot be for Prompty 1 (``model.api``, ``configuration``, ``parameters``) too: each version refuses or
ignores the other's keys. In the Python package ``prompty`` 2.1:

- The front matter ends at the next three dashes or pluses, even inside a value, so it may hold none.
  A value ``${env:NAME}`` or ``${file:NAME}`` is replaced, so no other value may look like one.
- Jinja renders the body, which is then cut into messages at lines such as ``user:``. Line breaks around
  a message are lost, and every line end of Python becomes the same one.
- ``options.additionalProperties`` become arguments of OpenAI's client, which refuses those that it has no
  name for, such as a grammar: these are in ``extra_body``.
- ``outputs`` would be sent as a response format. Nothing is sent that was not measured, so outputs are
  in ``metadata``, and a measured response format is in ``options.additionalProperties``.

So this target refuses a rendering that keeps line breaks of inputs, where an input could begin a message,
and text to continue, which Prompty does not have. The key is ``OPENAI_API_KEY`` of the environment.
A model with its own address, or one that ran inside the process, is asked at ``OPENAI_BASE_URL``: Prompty
sends no key to an address that a file names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from optimizers.errors import ExportError
from optimizers.export.files import texts_in, write_files
from optimizers.export.prompt_parts import Place, PromptParts, parts_of, verify_rendered
from optimizers.export.single_request import ELSEWHERE, check_protocol
from optimizers.export.standalone import as_sent
from optimizers.prompting.renderings.constraints import output_schema
from optimizers.prompting.renderings.fields import format_value, one_line

if TYPE_CHECKING:
    from optimizers.export.point import Exported

OPTIONS = {
    "temperature": "temperature",
    "top_p": "topP",
    "stop": "stopSequences",
    "seed": "seed",
    "max_completion_tokens": "maxOutputTokens",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "reasoning_effort": "reasoningEffort",
}
"""OpenAI's names -> those that Prompty sends as these; the rest is passed on to OpenAI's client."""

EXAMPLES = 20
"""Train examples searched for one that a file can show."""

ROLES = ("system", "user", "assistant", "developer")
_MARKER = re.compile(rf"\s*#?\s*({'|'.join(ROLES)})(\[.*\])?\s*:\s*", re.IGNORECASE)
_FRONT = re.compile(r"\A---(.*?)(?:---|\+\+\+)\s*(.+)\Z", re.DOTALL)
RESERVED = frozenset({"true", "false", "none", "self", "loop", "super", "caller", "varargs", "kwargs", "not"})
"""Names that Jinja reserves."""

ONE_LINE = r'.replace("\r", "\n").split("\n") | map("trim") | select | join(" ")'
"""What makes one line of a text in Jinja, as :func:`optimizers.prompting.renderings.fields.one_line` does."""


def write_prompty(exported: Exported, folder: Path) -> list[Path]:
    """Write one ``PREDICTOR.prompty`` per predictor.

    Raises:
        ExportError: A file would not give the messages that were measured, or one request is not all
            that was measured; nothing is written.
    """
    contents = {f"{parts.file}.prompty": _content(exported, parts) for parts in parts_of(exported)}
    return write_files(folder, contents)


def read_prompty(content: str) -> tuple[dict[str, Any], str]:
    """Front matter and body of a file, as runtimes separate them.

    Raises:
        ValueError: The file has no front matter, or no body.
    """
    found = _FRONT.match(content)
    if found is None:
        raise ValueError("There is no front matter, or nothing after it.")
    return yaml.safe_load(found[1]), found[2]


def render_prompty(body: str, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of a body for some inputs, by the rules of Prompty 2."""
    engine = ImmutableSandboxedEnvironment(keep_trailing_newline=True)
    messages: list[dict[str, str]] = []
    role: str | None = None
    lines: list[str] = []
    for line in [*engine.from_string(body).render(**inputs).splitlines(), "user:"]:
        marker = _MARKER.fullmatch(line)
        if marker is None:
            lines.append(line)
            continue
        if lines:
            messages.append({"role": role or "system", "content": "\n".join(lines).strip("\n")})
        role, lines = marker[1].lower(), []
    return messages


def _content(exported: Exported, parts: PromptParts) -> str:
    if parts.raw:
        raise ExportError("Prompty has no text to continue.", where=parts.name, fix=ELSEWHERE)
    if not parts.lines:
        raise ExportError(
            f"The rendering {parts.adapter.name} keeps line breaks of inputs, and Prompty would take an "
            "input's line such as `user:` for the start of a message.",
            where=parts.name,
            fix=ELSEWHERE,
        )
    odd = sorted(RESERVED & set(parts.signature.input_fields))
    if odd:
        raise ExportError("Jinja reserves this name.", where=f"{parts.name}: {odd[0]}", fix=ELSEWHERE)
    body = "".join(f"{turn.role}:\n{''.join(map(_template, turn.parts))}\n\n" for turn in parts.turns)
    front = _front(exported, parts)
    content = f"---\n{_yaml(front)}---\n{body}"
    again, rest = read_prompty(content)
    if again != front:
        raise ExportError("The front matter would not be read as it is.", where=parts.name, fix=ELSEWHERE)

    def rendered(inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        try:
            return render_prompty(rest, {name: format_value(value) for name, value in inputs.items()})
        except TemplateError as error:
            raise ExportError("The body is no template.", where=f"{parts.name}: {error}") from error

    verify_rendered(exported, parts, rendered)
    return content


def _template(piece: str | Place) -> str:
    if isinstance(piece, str):
        return re.sub(r"\{(?=[{%#]|\Z)", '{{ "{" }}', piece)
    value = f"({piece.field} | string){ONE_LINE}"
    if not piece.led:
        return f"{{{{ {value} }}}}"
    return f'{{% set _text = {value} %}}{{{{ " " ~ _text if _text }}}}'


def _front(exported: Exported, parts: PromptParts) -> dict[str, Any]:
    manifest, model, sent = exported.manifest, parts.model, dict(parts.parameters)
    name = sent.pop("model")
    options = {OPTIONS[key]: sent.pop(key) for key in list(sent) if key in OPTIONS}
    connection = {"kind": "key", "apiKey": "${env:OPENAI_API_KEY}"}
    check_protocol(model, "Prompty")
    if model.is_local or model.api_base:
        connection["endpoint"] = "${env:OPENAI_BASE_URL}"
    measured = {"study": manifest.name, "candidate": exported.point.candidate.id, "model": model.name}
    if model.api_base:
        measured["address"] = model.api_base
    front = {
        "name": one_line(f"{manifest.task}_{parts.name}"),
        "description": f"Compiled and measured by Parity for the task {one_line(manifest.task)}.",
        "metadata": {**measured, "outputs": output_schema(parts.signature)},
        "model": {
            "id": name,
            "provider": "openai",
            "apiType": "chat",
            "connection": connection,
            "options": options | ({"additionalProperties": as_sent(sent)} if sent else {}),
        },
        "inputs": _inputs(exported, parts),
        "template": {"format": {"kind": "jinja2"}, "parser": {"kind": "prompty"}},
    }
    checked = {key: value for key, value in front.items() if key != "model"} | {
        "options": options,
        "own": sent,
    }
    if _refers(checked) or _refers([name]):
        raise ExportError(
            "Prompty would replace a value that begins with `${`.", where=parts.name, fix=ELSEWHERE
        )
    return front


def _inputs(exported: Exported, parts: PromptParts) -> list[dict[str, Any]]:
    """The input fields, each with its text in the first real example that Prompty takes as it is."""
    fields = parts.signature.input_fields
    # A later step has inputs that are not in the data, and so no example.
    real = (one for one in exported.task.dataset.train if all(one.get(name) is not None for name in fields))
    texts = ({name: format_value(one[name]) for name in fields} for one in islice(real, EXAMPLES))
    sample = next((each for each in texts if not _refers(each)), {})
    inputs = []
    for name in fields:
        # Inputs reach the template as texts, whatever their type in the program.
        entry = {"name": name, "kind": "string", "required": True}
        inputs.append(entry | ({"example": sample[name]} if name in sample else {}))
    return inputs


def _refers(value: Any) -> bool:
    """Whether Prompty would take a text in a value for a reference."""
    return any(text.strip().startswith("${") for text in texts_in(value))


def _yaml(front: Mapping[str, Any]) -> str:
    """As YAML without three dashes or three pluses in a row: these are escaped, in quotes."""
    plain: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=float("inf"))
    if "---" not in plain and "+++" not in plain:
        return plain
    quoted: str = yaml.safe_dump(
        front, sort_keys=False, allow_unicode=True, width=float("inf"), default_style='"'
    )
    return quoted.replace("---", r"\x2d\x2d\x2d").replace("+++", r"\x2b\x2b\x2b")
