"""Two steps on the returns of ``rules.py``: first pick the facts that matter, then decide by them.

The two predictors have signatures of their own, so a search chooses an instruction and demos
for each. Both have labels: the data says which facts each decision rests on.
"""

from __future__ import annotations

import dspy

from metrics.exact import exact_match
from optimizers import Task
from programs.rules import Decision, rows


class PickFacts(dspy.Signature):
    """Copy the sentences of the case that the policy's rules look at, and leave out the others."""

    policy: str = dspy.InputField(desc="the rules, in order of precedence")
    case: str = dspy.InputField(desc="all the facts of one return")
    facts: str = dspy.OutputField(desc="the sentences that matter, copied in the order of the rules")


class DecideByFacts(dspy.Signature):
    """Decide a return by the shop's policy, and by nothing else."""

    policy: str = dspy.InputField(desc="the rules, in order of precedence")
    facts: str = dspy.InputField(desc="the facts that matter")
    decision: Decision = dspy.OutputField()


class Pipeline(dspy.Module):
    """Two calls: policy and case give the facts, policy and facts give the decision."""

    def __init__(self) -> None:
        """Set up the two predictors."""
        super().__init__()
        self.pick = dspy.Predict(PickFacts)
        self.decide = dspy.Predict(DecideByFacts)

    def forward(self, policy: str, case: str) -> dspy.Prediction:
        """Decide one case."""
        facts = self.pick(policy=policy, case=case).facts
        return self.decide(policy=policy, facts=facts)


task = Task(
    program=Pipeline(),
    metric=exact_match("decision"),
    data=list(rows()),
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
