"""Instructions rewritten from real failures.

A model reads the current instruction with inputs on which it failed, what came out, what
should have, and what the metric says about it, and writes a better one (Agrawal et al.,
"GEPA: Reflective Prompt Evolution Can Outperform Reinforcement Learning", 2025).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizers.prompting.proposals.cleaning import accepted, shortened, tagged
from optimizers.prompting.proposals.proposer import ask, fields_summary, train_texts, values_line
from optimizers.prompting.proposals.strategies import input_text
from optimizers.prompting.proposals.written import REPLY_TOKENS, RULES

if TYPE_CHECKING:
    import dspy

MOST_FAILURES = 8
"""Failures shown, the first ones given."""

MOST_VALUE = 400
"""Characters of a value, or of what the metric says, in a failure."""


@dataclass(frozen=True)
class Failure:
    """One run that went wrong.

    Attributes:
        inputs: What the predictor read.
        output: What it answered, by field, or the reply as it came where it did not parse.
        gold: What it should have answered, as far as the data says.
        feedback: What the metric says about it, or "".
    """

    inputs: Mapping[str, Any]
    output: Mapping[str, Any] | str
    gold: Mapping[str, Any]
    feedback: str = ""


def reflect(
    lm: dspy.LM,
    signature: type[dspy.Signature],
    instruction: str,
    failures: Sequence[Failure],
    train: Sequence[dspy.Example],
    *,
    seed: int,
) -> str | None:
    """Ask a model to rewrite one predictor's instruction, in one call.

    Args:
        lm: The proposer: a declared model that takes a conversation.
        signature: The predictor's signature.
        instruction: Its instruction as it is.
        failures: What went wrong with it, on train examples only. Without any no call is made.
        train: Examples that the result may not copy; nor may it copy the failures.
        seed: Of the sampling.

    Returns:
        The new instruction, cleaned and at most ``MOST_CHARACTERS`` long; None when the reply
        holds none, or one that says nothing new or copies an example.
    """
    if not failures:
        return None
    request = reflection_request(signature, instruction, failures)
    reply = ask(lm, request, max_tokens=2 * REPLY_TOKENS, seed=seed)
    given = [input_text(failure.inputs, signature) for failure in failures]
    texts = [*train_texts(train, signature), *given]
    # The model may quote the old one on the way: the last is the one it means.
    return next(reversed(accepted(tagged(reply, "instruction"), texts, known=[instruction])), None)


def reflection_request(signature: type[dspy.Signature], instruction: str, failures: Sequence[Failure]) -> str:
    """The request that :func:`reflect` sends."""
    shown = [f"Failure {number}\n{_failure(one)}" for number, one in enumerate(failures[:MOST_FAILURES], 1)]
    return "\n\n".join(
        [
            "A small language model does a task by the instruction below, mostly well. It failed on "
            "some inputs. Rewrite the instruction so that it does these right too.",
            f"Instruction:\n{instruction.strip() or '(none)'}",
            f"Fields:\n{fields_summary(signature)}",
            *shown,
            "Think about what the failures have in common and which general rule would have "
            "prevented them. Keep what works: leave in place every rule that these failures do not "
            "speak against, and add no rule for a single case. A label may also be wrong: do not "
            "bend the task to it.",
            RULES,
            "End with the whole new instruction between <instruction> and </instruction>.",
        ]
    )


def _failure(failure: Failure) -> str:
    output = (
        shortened(failure.output, MOST_VALUE)
        if isinstance(failure.output, str)
        else values_line(failure.output, MOST_VALUE)
    )
    lines = [
        f"input: {values_line(failure.inputs, MOST_VALUE)}",
        f"answered: {output or '(nothing)'}",
        f"right: {values_line(failure.gold, MOST_VALUE)}" if failure.gold else "",
        f"feedback: {shortened(failure.feedback, MOST_VALUE)}" if failure.feedback.strip() else "",
    ]
    return "\n".join(line for line in lines if line)
