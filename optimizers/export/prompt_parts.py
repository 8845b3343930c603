"""A compiled prompt as fixed text and the places of its inputs, for targets with template languages.

Splitting is safer than writing placeholders into a text: fixed text can be escaped whole, whatever it
contains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizers.errors import ExportError
from optimizers.export.point import TO_DSPY, samples
from optimizers.export.single_request import SingleRequest, single_requests
from optimizers.prompting.renderings.fields import format_value, one_line

if TYPE_CHECKING:
    from optimizers.export.point import Exported

_MARK = re.compile("\ue000([0-9]+)\ue001")
"""Characters of private use, so that the place of an input is found whatever the rest contains."""


@dataclass(frozen=True)
class Place:
    """The place of an input.

    Attributes:
        field: The input's name.
        led: Whether a space comes before it, which is left out where its text is empty.
    """

    field: str
    led: bool


@dataclass(frozen=True)
class PromptTurn:
    """One message: its role, and its fixed texts and places in order."""

    role: str
    parts: tuple[str | Place, ...]


@dataclass(frozen=True)
class PromptParts(SingleRequest):
    """What one predictor sends, its messages split.

    Attributes:
        turns: The messages.
        lines: Whether line breaks in inputs become spaces, and space around inputs is removed.
    """

    turns: tuple[PromptTurn, ...]
    lines: bool


def parts_of(exported: Exported) -> list[PromptParts]:
    """The prompts of all predictors.

    Raises:
        ExportError: One request is not all that was measured of a predictor, or its inputs have no
            places of their own in the prompt.
    """
    return [_parts(exported, request) for request in single_requests(exported)]


def shown(parts: PromptParts, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Each input as the text in its place."""
    texts = {name: format_value(inputs[name]) for name in parts.signature.input_fields}
    return {name: one_line(text) for name, text in texts.items()} if parts.lines else texts


def known_inputs(exported: Exported, request: SingleRequest) -> list[dict[str, Any]]:
    """Real and awkward inputs to verify on, without None: its line is left out, which no template can do."""
    return [values for values in samples(exported, request.signature) if None not in values.values()]


def verify_rendered(
    exported: Exported, parts: PromptParts, rendered: Callable[[dict[str, Any]], list[dict[str, str]]]
) -> None:
    """Compare what a target's template gives with what the compiled program sends.

    Args:
        exported: What is exported.
        parts: One predictor's prompt.
        rendered: From inputs to messages, by the target's rules.

    Raises:
        ExportError: They differ.
    """
    for inputs in known_inputs(exported, parts):
        if rendered(inputs) != parts.measured(inputs):
            raise ExportError(
                "The template would not give the messages that were measured.",
                where=f"{parts.name}: {str(inputs)[:200]}",
                fix="export to openai or python",
            )


def _parts(exported: Exported, request: SingleRequest) -> PromptParts:
    fields, known = list(request.signature.input_fields), known_inputs(exported, request)
    marked = request.measured({field: f"\ue000{number}\ue001" for number, field in enumerate(fields)})
    for lines in (False, True):
        turns = tuple(PromptTurn(m["role"], _split(m["content"], fields, lines)) for m in marked)
        parts = PromptParts(**vars(request), turns=turns, lines=lines)
        if all(_filled(parts, values) == parts.measured(values) for values in known):
            return parts
    raise ExportError(
        "A template cannot give the messages that were measured.", where=request.name, fix=TO_DSPY
    )


def _split(content: str, fields: Sequence[str], lines: bool) -> tuple[str | Place, ...]:
    parts: list[str | Place] = []
    for index, text in enumerate(_MARK.split(content)):
        if index % 2 == 0:
            parts.append(text)
        elif int(text) < len(fields):
            before = str(parts.pop())
            led = lines and before.endswith(" ")
            parts += [before.removesuffix(" ") if led else before, Place(fields[int(text)], led)]
        else:
            parts.append(f"\ue000{text}\ue001")
    return tuple(part for part in parts if part)


def _filled(parts: PromptParts, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    texts = shown(parts, inputs)

    def text_of(part: str | Place) -> str:
        if isinstance(part, str):
            return part
        text = texts[part.field]
        return f" {text}" if part.led and text else text

    return [{"role": turn.role, "content": "".join(map(text_of, turn.parts))} for turn in parts.turns]
