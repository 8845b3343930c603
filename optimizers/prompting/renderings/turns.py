"""A conversation: the instruction as system message, each demo as a question and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from optimizers.models.model import Kind
from optimizers.prompting.renderings.compact import with_labels
from optimizers.prompting.renderings.completion import (
    input_lines,
    line_stops,
    output_lines,
    output_text,
    read_lines,
    usable_demos,
)
from optimizers.prompting.renderings.constraints import text_grammar
from optimizers.prompting.renderings.rendering import Prompt, Rendering

if TYPE_CHECKING:
    import dspy


class Turns(Rendering):
    """User turns of ``Label: value`` lines; a lone output is answered bare, several as lines."""

    name: ClassVar[str] = "turns"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"instruct", "chat"})

    def prompt(
        self, signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Prompt:
        """System message, demos as turns, and the inputs as the last turn."""
        messages = []
        for demo in usable_demos(signature, demos):
            messages.append(("user", "\n".join(input_lines(signature, demo))))
            messages.append(("assistant", _answer(signature, demo)))
        messages.append(("user", "\n".join(input_lines(signature, inputs))))
        return Prompt(
            messages=tuple(messages),
            system=with_labels(signature) or None,
            stop=line_stops(signature, blank=False),
            grammar=text_grammar(signature, cued=False),
        )

    def read(self, signature: type[dspy.Signature], reply: str) -> dict[str, Any]:
        """The reply's values. A free text may hold blank lines: the turn's end is its end."""
        return read_lines(signature, reply, stop=line_stops(signature, blank=False))


def _answer(signature: type[dspy.Signature], demo: Mapping[str, Any]) -> str:
    if len(signature.output_fields) > 1:
        return "\n".join(output_lines(signature, demo))
    name = next(iter(signature.output_fields))
    return output_text(signature, name, demo[name])
