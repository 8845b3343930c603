"""What a technique is: a change of the signature, and how long its replies may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizers.renderings.fields import closed_values, label, without_none

if TYPE_CHECKING:
    import dspy

FREE_TEXT_TOKENS = (64, 256, 512)
"""Choices for outputs whose length nobody knows."""

SLACK_TOKENS = 4
"""A leading space, a line break, the end of the turn, and one to spare."""

NUMBER_BYTES = 36
"""Longest number a constrained reply can hold."""


@dataclass(frozen=True)
class Technique:
    """One way to use the model call of a predictor.

    Attributes:
        name: Short name, as candidates carry it.
        applies: Whether it changes anything sensible about a signature.
        transform: The signature the model then sees.
        reply_tokens: Choices of ``max_tokens``, rising, for the user's signature.
    """

    name: str
    applies: Callable[[type[dspy.Signature]], bool]
    transform: Callable[[type[dspy.Signature]], type[dspy.Signature]]
    reply_tokens: Callable[[type[dspy.Signature]], tuple[int, ...]]


def output_tokens(signature: type[dspy.Signature]) -> tuple[int, ...]:
    """Choices of ``max_tokens`` for a signature's outputs as plain lines.

    One choice where all outputs are closed values or numbers: a token holds at least one
    byte, so as many tokens as the longest answer has bytes can never cut it. A choice of
    lengths where there is free text or JSON.
    """
    bounds = [_longest(info.annotation) for info in signature.output_fields.values()]
    labels = sum(len(f"\n{label(name)}: ".encode()) for name in list(signature.output_fields)[1:])
    bounded = sum(bound for bound in bounds if bound is not None) + labels + SLACK_TOKENS
    if None not in bounds:
        return (bounded,)
    return tuple(tokens + bounded - SLACK_TOKENS for tokens in FREE_TEXT_TOKENS)


def _longest(annotation: object) -> int | None:
    """Bytes of a type's longest value, None where there is no bound."""
    inner, nullable = without_none(annotation)
    if inner in (int, float):
        return NUMBER_BYTES
    closed = closed_values(inner)
    if closed is None:
        return None
    return max(len(value.encode()) for value in ((*closed, "none") if nullable else closed))
