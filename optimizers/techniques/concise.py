"""Reason in a few words, then answer: most of the gain of reasoning for a fraction of its tokens.

After Xu et al. 2025, "Chain of Draft: Thinking Faster by Writing Less" (arXiv 2502.18600),
which bounds every step to five words, and Renze and Guven 2024, "The Benefits of a Concise
Chain of Thought" (arXiv 2401.05618).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizers.techniques.technique import Technique, thought_tokens

if TYPE_CHECKING:
    import dspy

FIELD = "short_reasoning"
"""The label says how to write it: some renderings show a model nothing else about a field."""

DRAFT_TOKENS = (32, 64)


def with_draft(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature with a ``short_reasoning`` output in front."""
    import dspy

    field = dspy.OutputField(desc="at most three steps of five words or fewer each, on one line")
    drafted: type[dspy.Signature] = signature.prepend(name=FIELD, field=field, type_=str)
    return drafted


CONCISE = Technique(
    name="concise",
    applies=lambda signature: not {FIELD, "reasoning"} & set(signature.fields),
    transform=with_draft,
    words="First reason in at most three short steps, of five words or fewer each, on one line.",
    reply_tokens=lambda signature: thought_tokens(signature, DRAFT_TOKENS),
    reasons=True,
)
"""One call that reasons in a few words and answers."""
