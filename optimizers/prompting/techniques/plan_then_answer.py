"""Write a plan, then the answer it leads to, in one call.

After Wang L. et al. 2023, "Plan-and-Solve Prompting" (arXiv 2305.04091): a plan made first
keeps steps from being missed.
"""

from __future__ import annotations

from optimizers.prompting.techniques.technique import Technique, Thought

PLAN = Thought(name="plan", desc="what to look at to find the answer, in order", characters=200)

PLAN_THEN_ANSWER = Technique(
    name="plan_then_answer",
    applies=lambda signature: PLAN.name not in signature.fields,
    transform=PLAN.before,
    words="First write a plan: what to look at, and in which order. Then follow it to the answer.",
    reply_tokens=PLAN.reply_tokens,
    reasons=True,
)
"""One call that plans and answers."""
