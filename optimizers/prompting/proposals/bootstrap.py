"""Demos from a teacher's own runs: what each predictor read and wrote when the answer was right.

Such demos show a predictor inside a pipeline, whose outputs no data set labels, and reasoning,
which no data set holds (Khattab et al., "DSPy: Compiling Declarative Language Model Calls into
Self-Improving Pipelines", ICLR 2024; Zelikman et al., "STaR: Bootstrapping Reasoning With
Reasoning", NeurIPS 2022).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from optimizers.prompting.proposals.demos import Demo, demo_key
from optimizers.records.rows import Rollout, Step


def bootstrapped(
    rollouts: Sequence[Rollout], predictor: str, *, threshold: float, seed: int
) -> tuple[Demo, ...]:
    """The demos that a teacher's runs on train hold for one predictor.

    Args:
        rollouts: Of one candidate, with their traces.
        predictor: The predictor's name.
        threshold: Least score of a run that passes.
        seed: Of the choice where a predictor is called several times in a run: one call gives a
            demo, so that no example is shown twice.

    Returns:
        In the order of the examples' ids, none repeated: the inputs a call was given and every
        output of the signature it had, reasoning included. Empty where the predictor was never
        reached in a run that passed.
    """
    found: dict[str, Demo] = {}
    for row in sorted(rollouts, key=lambda row: row.example):
        if row.score is None or row.score < threshold:
            continue
        calls = [step for step in steps_by(row, predictor) if step.outputs]
        if calls:
            step = random.Random(f"{seed} {row.example}").choice(calls)
            demo = {**step.inputs, **step.outputs}
            found.setdefault(demo_key(demo), demo)
    return tuple(found.values())


def steps_by(rollout: Rollout, predictor: str) -> list[Step]:
    """A predictor's calls in a run."""
    return [step for step in (rollout.trace.steps if rollout.trace else ()) if step.predictor == predictor]
