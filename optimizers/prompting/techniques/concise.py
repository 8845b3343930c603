"""Reason in a few words, then answer: most of the gain of reasoning for a fraction of its tokens.

After Xu et al. 2025, "Chain of Draft: Thinking Faster by Writing Less" (arXiv 2502.18600),
which bounds every step to five words, and Renze and Guven 2024, "The Benefits of a Concise
Chain of Thought" (arXiv 2401.05618).
"""

from __future__ import annotations

from optimizers.prompting.techniques.technique import Technique, Thought

DRAFT = Thought(
    name="short_reasoning",
    desc="at most three steps of five words or fewer each, on one line",
    characters=120,
)
"""Fifteen words of up to seven letters."""

CONCISE = Technique(
    name="concise",
    applies=lambda signature: not {DRAFT.name, "reasoning"} & set(signature.fields),
    transform=DRAFT.before,
    words="First reason in at most three short steps, of five words or fewer each, on one line.",
    reply_tokens=DRAFT.reply_tokens,
    reasons=True,
)
"""One call that reasons in a few words and answers."""
