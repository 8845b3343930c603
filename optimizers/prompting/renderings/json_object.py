"""A conversation answered in JSON: one object with a key for each output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from optimizers.models.model import Kind
from optimizers.prompting.renderings.completion import usable_demos
from optimizers.prompting.renderings.constraints import describe, output_schema, parse_object
from optimizers.prompting.renderings.fields import compact_json, format_value, json_value, label
from optimizers.prompting.renderings.rendering import Prompt, Rendering

if TYPE_CHECKING:
    import dspy

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)


class JsonObject(Rendering):
    """JSON answers, held to a schema where the engine can; inputs keep their line breaks."""

    name: ClassVar[str] = "json_object"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"instruct", "chat"})

    def prompt(
        self, signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Prompt:
        """System message with the keys, demos as turns, and the inputs as the last turn."""
        messages = []
        for demo in usable_demos(signature, demos):
            messages.append(("user", _question(signature, demo)))
            messages.append(("assistant", _answer(signature, demo)))
        messages.append(("user", _question(signature, inputs)))
        return Prompt(
            messages=tuple(messages),
            system=_with_keys(signature),
            schema=output_schema(signature),
        )

    def read(self, signature: type[dspy.Signature], reply: str) -> dict[str, Any]:
        """The object's values; a code fence around the object is let pass, nothing else is."""
        text = reply.strip()
        fenced = _FENCED.fullmatch(text)
        return parse_object(signature, fenced.group(1) if fenced else text)


def _with_keys(signature: type[dspy.Signature]) -> str:
    keys = [f'"{name}" ({describe(info.annotation)})' for name, info in signature.output_fields.items()]
    line = f"Answer with one JSON object with these keys: {', '.join(keys)}."
    instruction: str = signature.instructions.strip()
    return f"{instruction}\n\n{line}" if instruction else line


def _question(signature: type[dspy.Signature], values: Mapping[str, Any]) -> str:
    known = [name for name in signature.input_fields if values.get(name) is not None]
    return "\n".join(f"{label(name)}: {format_value(values[name])}" for name in known)


def _answer(signature: type[dspy.Signature], demo: Mapping[str, Any]) -> str:
    outputs = signature.output_fields
    return compact_json(
        {name: json_value(demo[name], outputs[name].annotation) for name in outputs if name in demo}
    )
