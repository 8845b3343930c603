"""One user turn: the text a base model would continue, put as a question.

Instruct models follow one turn best, and a small one follows lines and a cue better than
a described format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from optimizers.models.model import Kind
from optimizers.prompting.renderings.completion import line_stops, read_lines, text_to_continue
from optimizers.prompting.renderings.constraints import text_grammar
from optimizers.prompting.renderings.fields import closed_values, label, without_none
from optimizers.prompting.renderings.rendering import Prompt, Rendering

if TYPE_CHECKING:
    import dspy


class Compact(Rendering):
    """One user turn of ``Label: value`` lines that ends with the first output's label."""

    name: ClassVar[str] = "compact"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"instruct", "chat"})

    def prompt(
        self, signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Prompt:
        """The completion's text as one turn."""
        grammar = text_grammar(signature, cued=True)
        # Free of a grammar, a chat model may well leave a blank line before the next label.
        ends_itself = grammar is None and len(signature.output_fields) > 1
        return Prompt(
            messages=(("user", text_to_continue(signature, with_labels(signature), demos, inputs)),),
            stop=() if ends_itself else line_stops(signature, blank=True),
            grammar=grammar,
        )

    def read(self, signature: type[dspy.Signature], reply: str) -> dict[str, Any]:
        """The reply's values, with or without the first label."""
        return read_lines(signature, reply, stop=line_stops(signature, blank=True))


def with_labels(signature: type[dspy.Signature]) -> str:
    """The instruction, and the labels a reply needs when it holds several outputs.

    A single output is asked for by its own label, or is the whole reply. Of several, the
    model cannot know the later labels unless it is told.
    """
    instruction: str = signature.instructions.strip()
    if len(signature.output_fields) < 2:
        return instruction
    labels = []
    for name, info in signature.output_fields.items():
        inner, is_nullable = without_none(info.annotation)
        closed = closed_values(inner)
        known = (*closed, "none") if closed and is_nullable else closed
        labels.append(f"{label(name)} ({' or '.join(known)})" if known else label(name))
    line = f"Answer in lines that start with these labels, in this order: {', '.join(labels)}."
    return f"{instruction}\n{line}" if instruction else line
