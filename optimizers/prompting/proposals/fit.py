"""Prompts that fit: what a demo set costs before it is run, and demos dropped until it fits.

A token stands for at least one byte of text, so the bytes of a prompt bound its tokens for
every tokenizer; calls are let through a budget by the same measure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from optimizers.models.lm import PER_MESSAGE
from optimizers.prompting.proposals.demos import Demo
from optimizers.prompting.renderings.fields import format_value
from optimizers.prompting.renderings.rendering import Rendering

if TYPE_CHECKING:
    import dspy


BYTES_PER_TOKEN = 2
"""Fewer than any tokenizer in use reads of text at a stretch: a prompt taken to fit does fit."""


def prompt_room(context: int, reply: int) -> int:
    """Bytes of prompt that fit a model together with its reply.

    Args:
        context: Tokens that fit in one call.
        reply: Most tokens of the reply.
    """
    return max(0, context - reply) * BYTES_PER_TOKEN


def prompt_bytes(
    rendering: Rendering,
    signature: type[dspy.Signature],
    demos: Sequence[Demo],
    inputs: Mapping[str, Any],
) -> int:
    """The most tokens that a call can read, at one byte each.

    Args:
        rendering: How the prompt is written.
        signature: With the instruction the candidate gives it.
        demos: In order.
        inputs: Values of the input fields.

    Raises:
        TaskError: A field holds what this rendering cannot write.
    """
    prompt = rendering.prompt(signature, demos, inputs)
    texts = [text for _, text in prompt.messages]
    schema = json.dumps(prompt.schema) if prompt.schema is not None else ""
    size = len("".join([prompt.system or "", schema, *texts]).encode("utf-8", "surrogatepass"))
    return size + PER_MESSAGE * (len(texts) + 2)


def fit_demos(
    demos: Sequence[Demo],
    rendering: Rendering,
    signature: type[dspy.Signature],
    inputs: Mapping[str, Any],
    *,
    max_bytes: int,
    keep: Literal["first", "last"] = "first",
) -> tuple[Demo, ...]:
    """As many demos as leave the prompt within a bound.

    Args:
        demos: In order.
        rendering: How the prompt is written.
        signature: With the instruction the candidate gives it.
        inputs: Values of the input fields; :func:`longest_inputs` for a whole set of examples.
        max_bytes: The bound on :func:`prompt_bytes`: the model's context in tokens, less the
            reply's.
        keep: Which end stays: the first, or the last if the most useful demo is last,
            as in :func:`~optimizers.prompting.proposals.nearest.nearest`.

    Returns:
        The longest such run of demos, in order; none when the prompt is too long without any.
    """
    kept = list(demos)
    while kept and prompt_bytes(rendering, signature, kept, inputs) > max_bytes:
        kept.pop(-1 if keep == "first" else 0)
    return tuple(kept)


def longest_inputs(rows: Sequence[Mapping[str, Any]], signature: type[dspy.Signature]) -> dict[str, Any]:
    """Of each input field the longest value in some rows: no row's inputs are longer as plain text.

    Args:
        rows: Examples' inputs as JSON values.
        signature: Whose input fields.
    """
    longest = {}
    for name in signature.input_fields:
        values = [row[name] for row in rows if name in row]
        if values:
            longest[name] = max(values, key=lambda value: len(format_value(value).encode()))
    return longest
