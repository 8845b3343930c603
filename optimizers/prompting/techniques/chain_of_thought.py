"""Reason first, then answer: a ``reasoning`` output before the others, as dspy.ChainOfThought adds.

After Wei et al. 2022, "Chain-of-Thought Prompting Elicits Reasoning in Large Language
Models" (arXiv 2201.11903).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizers.prompting.techniques.technique import THOUGHT_CHARACTERS, Technique, Thought

if TYPE_CHECKING:
    import dspy

REASONING = Thought(name="reasoning", desc="${reasoning}", characters=THOUGHT_CHARACTERS)


def does_not_reason(signature: type[dspy.Signature]) -> bool:
    """Whether a signature has no field of the reasoning's name yet."""
    return REASONING.name not in signature.fields


CHAIN_OF_THOUGHT = Technique(
    name="chain_of_thought",
    applies=does_not_reason,
    transform=REASONING.before,
    reply_tokens=REASONING.reply_tokens,
    reasons=True,
)
"""One call that reasons and answers."""
