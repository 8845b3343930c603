"""Reason first, then answer: a ``reasoning`` output before the others, as dspy.ChainOfThought adds.

After Wei et al. 2022, "Chain-of-Thought Prompting Elicits Reasoning in Large Language
Models" (arXiv 2201.11903).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizers.techniques.technique import Technique, thought_tokens

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


def does_not_reason(signature: type[dspy.Signature]) -> bool:
    """Whether a signature has no field of the reasoning's name yet."""
    return FIELD not in signature.fields


def reply_tokens(signature: type[dspy.Signature]) -> tuple[int, ...]:
    """Room for the reasoning, and after it for the answer with its label."""
    return thought_tokens(signature, REASONING_TOKENS)


CHAIN_OF_THOUGHT = Technique(
    name="chain_of_thought",
    applies=does_not_reason,
    transform=with_reasoning,
    reply_tokens=reply_tokens,
    reasons=True,
)
"""One call that reasons and answers."""
