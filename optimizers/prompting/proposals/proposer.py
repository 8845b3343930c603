"""One question to the model that writes proposals, and what it is told about the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizers.prompting.proposals.cleaning import shortened
from optimizers.prompting.proposals.demos import (
    as_demo,
    balanced_output,
    demo_label,
    demo_pools,
    is_labelled,
    labelled_demos,
)
from optimizers.prompting.proposals.strategies import input_text
from optimizers.prompting.proposals.words import words
from optimizers.prompting.renderings.fields import closed_values, format_value, without_none
from optimizers.prompting.renderings.rendering import CONFIG_SETTINGS, SEEDS

if TYPE_CHECKING:
    import dspy

MOST_LABELS = 30
"""Labels listed with their counts."""

MOST_EXAMPLES = 6
"""Examples shown."""

MOST_VALUE = 200
"""Characters of a value shown."""


def ask(lm: dspy.LM, question: str, *, max_tokens: int, seed: int) -> str:
    """Put one question to a model, in one call.

    Args:
        lm: A model that takes a conversation, ``instruct`` or ``chat``, with its own settings.
        question: The one user turn.
        max_tokens: Longest reply, where the model's settings say nothing.
        seed: Seed of the sampling, sent when the model samples at a temperature.

    Returns:
        The reply; "" when the model did not answer in text. Errors of the call pass through.
    """
    from dspy.lm15 import Config, Message, Request

    own = {key: lm.kwargs[key] for key in CONFIG_SETTINGS if lm.kwargs.get(key) is not None}
    limit = lm.kwargs.get("max_completion_tokens") or own.get("max_tokens") or max_tokens
    settings = {**own, "max_tokens": limit}
    if (own.get("temperature") or 0) > 0:
        settings["seed"] = seed % SEEDS
    request = Request(model=lm.model, messages=(Message.user(question),), config=Config(**settings))
    return lm(request).text or ""


def train_texts(train: Sequence[dspy.Example], signature: type[dspy.Signature]) -> tuple[str, ...]:
    """The inputs of each train example as one text, which no proposal may copy.

    All the example's inputs, not only this predictor's: in a pipeline a later predictor never
    reads them, but its instruction could still repeat them.
    """
    return tuple(
        "\n".join(
            format_value(example[name])
            for name in dict.fromkeys([*example.inputs().keys(), *signature.input_fields])
            if name in example
        )
        for example in train
    )


def fields_summary(signature: type[dspy.Signature]) -> str:
    """A line per field: its name, what the user says about it, and what an output may be."""
    lines = []
    for side, fields in (("input", signature.input_fields), ("output", signature.output_fields)):
        for name, info in fields.items():
            desc = str((info.json_schema_extra or {}).get("desc") or "")
            said = "" if desc in ("", f"${{{name}}}") else f" ({desc})"
            inner, nullable = without_none(info.annotation)
            closed = (*(closed_values(inner) or ()), *(["none"] if nullable else []))
            kind = f", one of: {', '.join(closed)}" if closed_values(inner) else ""
            lines.append(f"- {side} {name}{said}{kind}")
    return "\n".join(lines)


def data_summary(train: Sequence[dspy.Example], signature: type[dspy.Signature], *, seed: int) -> str:
    """What the data looks like: its size, the inputs' lengths, the labels' counts, some examples.

    Args:
        train: Nothing else is ever shown.
        signature: Whose fields. Where the data lacks some, as for a predictor inside a
            pipeline, there is only the size.
        seed: Of the examples shown.
    """
    lines = [f"{len(train)} examples."]
    if not train or not all(is_labelled(example, signature) for example in train):
        return lines[0]
    demos = [as_demo(example, signature) for example in train]
    lengths = sorted(len(words(input_text(demo, signature))) for demo in demos)
    lines.append(f"Words of input: {lengths[0]} to {lengths[-1]}, half under {lengths[len(lengths) // 2]}.")
    if (balanced := balanced_output(signature)) is not None:
        counts = Counter(demo_label(demo, signature) for demo in demos).most_common(MOST_LABELS)
        lines.append(f"Values of {balanced}: {', '.join(f'{label} {count}' for label, count in counts)}.")
    pools = demo_pools(train, signature)
    shown = labelled_demos(pools, signature, per_label=MOST_EXAMPLES, seed=seed)[:MOST_EXAMPLES]
    lines += ["Some of them, shortened:", *(f"- {values_line(demo)}" for demo in shown)]
    return "\n".join(lines)


def values_line(values: Mapping[str, Any], most: int = MOST_VALUE) -> str:
    """Some fields' values on one line, each shortened."""
    return " | ".join(f"{name}: {shortened(format_value(value), most)}" for name, value in values.items())
