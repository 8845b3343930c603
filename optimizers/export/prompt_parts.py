"""A compiled prompt as fixed text and the places of its inputs, for targets with template languages.

Splitting is safer than writing placeholders into a text: what is fixed can be escaped whole, whatever
it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy

from optimizers.errors import ExportError
from optimizers.export.point import TO_DSPY, one_reply_each, samples
from optimizers.export.targets.openai_requests import parameters_of, why_not
from optimizers.models.keys import OPENAI_KIND
from optimizers.prompting.compile import adapter_of
from optimizers.prompting.renderings.fields import format_value, one_line
from optimizers.prompting.renderings.rendering import abilities

if TYPE_CHECKING:
    from optimizers.export.point import Exported
    from optimizers.models.model import Model
    from optimizers.prompting.renderings.rendering import Rendering

_MARK = re.compile("\ue000([0-9]+)\ue001")
"""Characters of private use, so that the place of an input is found whatever the rest says."""


@dataclass(frozen=True)
class Place:
    """The place of an input.

    Attributes:
        field: Its name.
        led: Whether a space precedes it that goes where its text is empty.
    """

    field: str
    led: bool


@dataclass(frozen=True)
class PromptTurn:
    """One message: its role, and its fixed texts and places in order."""

    role: str
    parts: tuple[str | Place, ...]


@dataclass(frozen=True)
class PromptParts:
    """What one predictor sends.

    Attributes:
        name: The predictor's.
        file: That name as a file's.
        signature: What it answers.
        adapter: Its rendering.
        demos: What it shows.
        model: Serves it.
        turns: The messages.
        raw: Whether the one message is text to continue.
        lines: Whether line breaks in inputs become spaces, and space around them goes.
        parameters: What is sent with the messages, by OpenAI's names.
    """

    name: str
    file: str
    signature: type[dspy.Signature]
    adapter: Rendering
    demos: Sequence[Mapping[str, Any]]
    model: Model
    turns: tuple[PromptTurn, ...]
    raw: bool
    lines: bool
    parameters: Mapping[str, Any]

    def measured(self, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages that the compiled program sends."""
        made: list[dict[str, str]] = self.adapter.format(
            self.signature, [dict(demo) for demo in self.demos], dict(inputs)
        )
        return made


def parts_of(exported: Exported) -> list[PromptParts]:
    """The prompts of all predictors.

    Raises:
        ExportError: One request is not all that was measured of a predictor, or its inputs have no
            places of their own in the prompt.
    """
    one_reply_each(exported)
    return [_parts(exported, *named) for named in exported.compiled.module.named_predictors()]


def shown(parts: PromptParts, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Each input as the text in its place."""
    texts = {name: format_value(inputs[name]) for name in parts.signature.input_fields}
    return {name: one_line(text) for name, text in texts.items()} if parts.lines else texts


def known_inputs(exported: Exported, parts: PromptParts) -> list[dict[str, Any]]:
    """Real and awkward inputs to verify on; where one is None its line is left out, which no template can."""
    return [values for values in samples(exported, parts.signature) if None not in values.values()]


def verify_rendered(exported: Exported, parts: PromptParts, rendered: Any) -> None:
    """Compare what a target's template gives with what the compiled program sends.

    Args:
        exported: What is exported.
        parts: One predictor's prompt.
        rendered: From inputs to messages, by the target's rules.

    Raises:
        ExportError: They differ.
    """
    for inputs in known_inputs(exported, parts):
        found = rendered(inputs)
        if found != parts.measured(inputs):
            raise ExportError(
                "The template would not give the messages that were measured.",
                where=f"{parts.name}: {str(inputs)[:200]}",
                fix="export to openai or python",
            )


def as_by_openai(model: Model, tool: str) -> None:
    """See to it that a tool reaches a model as OpenAI's are reached.

    Raises:
        ExportError: The tool reaches it by another protocol than was measured.
    """
    provider = model.name.partition("/")[0]
    own_address = model.api_base is not None and provider in OPENAI_KIND
    if not (model.is_local or own_address or provider == "openai"):
        raise ExportError(
            f"{tool} reaches models of {provider} by another protocol than was measured.",
            where=model.name,
            fix="serve it behind the litellm export and measure it there, or export to openai",
        )


def _parts(exported: Exported, name: str, predictor: dspy.Predict) -> PromptParts:
    if why := why_not(predictor):
        raise ExportError(why, where=name, fix=TO_DSPY)
    adapter, signature = adapter_of(predictor, exported.compiled.adapter()), predictor.signature
    if any(info.annotation is dspy.History for info in signature.input_fields.values()):
        raise ExportError("A template cannot hold a conversation's history.", where=name, fix=TO_DSPY)
    fields, demos = list(signature.input_fields), [dict(demo) for demo in predictor.demos]
    prompt = adapter.prompt(signature, demos, dict.fromkeys(fields, ""))
    model, sampling = exported.serving(name)
    marked = {field: f"\ue000{number}\ue001" for number, field in enumerate(fields)}
    messages = adapter.format(signature, demos, marked)
    parameters = parameters_of(model, sampling, prompt, abilities(predictor.lm))
    for lines in (False, True):
        turns = tuple(PromptTurn(m["role"], _split(m["content"], fields, lines)) for m in messages)
        parts = PromptParts(
            name,
            exported.file(name),
            signature,
            adapter,
            demos,
            model,
            turns,
            raw=prompt.raw,
            lines=lines,
            parameters=parameters,
        )
        if all(_filled(parts, values) == parts.measured(values) for values in known_inputs(exported, parts)):
            return parts
    raise ExportError("A template cannot give the messages that were measured.", where=name, fix=TO_DSPY)


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
