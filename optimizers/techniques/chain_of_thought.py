"""Reason first, then answer: a ``reasoning`` output before the others, as dspy.ChainOfThought adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizers.renderings.fields import label
from optimizers.techniques.technique import Technique, output_tokens

if TYPE_CHECKING:
    import dspy

FIELD = "reasoning"
REASONING_TOKENS = (128, 256)


def with_reasoning(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature with a free-text ``reasoning`` output in front."""
    import dspy

    field = dspy.OutputField(desc="${reasoning}")
    reasoned: type[dspy.Signature] = signature.prepend(name=FIELD, field=field, type_=str)
    return reasoned


def reply_tokens(signature: type[dspy.Signature]) -> tuple[int, ...]:
    """Room for the reasoning, and after it for the answer with its label."""
    first = next(iter(signature.output_fields))
    cue = len(f"\n{label(first)}: ".encode())
    return tuple(
        sorted(
            {thought + cue + answer for thought in REASONING_TOKENS for answer in output_tokens(signature)}
        )
    )


CHAIN_OF_THOUGHT = Technique(
    name="chain_of_thought",
    applies=lambda signature: FIELD not in signature.fields,
    transform=with_reasoning,
    reply_tokens=reply_tokens,
)
"""One call that reasons and answers."""
