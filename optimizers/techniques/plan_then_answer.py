"""Write a plan, then the answer it leads to, in one call.

After Wang L. et al. 2023, "Plan-and-Solve Prompting" (arXiv 2305.04091): a plan made first
keeps steps from being missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizers.techniques.technique import Technique, thought_tokens

if TYPE_CHECKING:
    import dspy

FIELD = "plan"
PLAN_TOKENS = (64, 128)


def with_plan(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature with a ``plan`` output in front."""
    import dspy

    field = dspy.OutputField(desc="what to look at to find the answer, in order")
    planned: type[dspy.Signature] = signature.prepend(name=FIELD, field=field, type_=str)
    return planned


PLAN_THEN_ANSWER = Technique(
    name="plan_then_answer",
    applies=lambda signature: FIELD not in signature.fields,
    transform=with_plan,
    words="First write a plan: what to look at, and in which order. Then follow it to the answer.",
    reply_tokens=lambda signature: thought_tokens(signature, PLAN_TOKENS),
    reasons=True,
)
"""One call that plans and answers."""
