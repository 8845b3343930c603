"""Few-shot examples drawn from the train split, balanced over the labels."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from optimizers.prompting.renderings.fields import closed_values, format_value, without_none
from optimizers.prompting.renderings.fields import json_value as output_value
from optimizers.prompting.techniques.technique import THOUGHTS
from optimizers.records.json_values import json_value

if TYPE_CHECKING:
    import dspy

SIZES = (0, 1, 2, 4, 8)
"""Demos per label to choose from."""

CHARACTERS_PER_TOKEN = 3.5
"""Rough, and on the careful side for English."""

LONGEST_SHARE = 0.1
"""Share of the longest examples that are passed over: they cost much and show no more."""

Demo = dict[str, Any]

DemoPools = Mapping[str, Sequence[Demo]]
"""Label -> the demos that have it; one pool called "" without a closed output."""


def labelled_demos(
    pools: DemoPools, signature: type[dspy.Signature], *, per_label: int, seed: int
) -> tuple[Demo, ...]:
    """Draw demos, as many of each label as of any other.

    The demos come in rounds, each with one demo per label in its own random order, so that a
    draw of ``k`` per label is how a draw of ``2 k`` with the same seed begins. A label with
    too few examples sits out the later rounds.

    Args:
        pools: Where to draw from, by :func:`demo_pools`.
        signature: Whose fields the demos fill.
        per_label: Demos per label, or half the demos when no output is closed.
        seed: The same seed is the same draw.

    Returns:
        Field name -> JSON value, one mapping per demo, none repeated.
    """
    # One generator per pool and one for the order, so that a label more changes no other's draw.
    shuffled = {
        label: random.Random(f"{seed} {label}").sample(pool, len(pool)) for label, pool in pools.items()
    }
    return deal(shuffled, per_label=per_label, seed=seed)


def deal(pools: DemoPools, *, per_label: int, seed: int) -> tuple[Demo, ...]:
    """Take demos from the front of each pool, in rounds of one per label.

    Args:
        pools: Label -> its demos, best first, as :func:`demo_pools` names them.
        per_label: Rounds; twice as many where no output is closed.
        seed: Of the order within each round.
    """
    rounds = islice(_rounds(pools, seed), 2 * per_label if "" in pools else per_label)
    return tuple(demo for demos in rounds for demo in demos)


def demo_sizes(pools: DemoPools, *, max_tokens: int) -> tuple[int, ...]:
    """The demos per label that fit a model, 0 first.

    Args:
        pools: Where the demos will be drawn from.
        max_tokens: The model's context; demos may take half of it, by a rough estimate.

    Returns:
        Those of 0, 1, 2, 4 and 8 that fit, and for which there are examples enough to make a
        larger draw than the size before.
    """
    lengths = [_length(demo) for pool in pools.values() for demo in pool]
    if not lengths:
        return (0,)
    tokens = sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN
    sizes, former = [0], 0
    for size in SIZES[1:]:
        count = len(deal(pools, per_label=size, seed=0))
        if count > former and count * tokens <= max_tokens / 2:
            sizes.append(size)
        former = count
    return tuple(sizes)


def balanced_output(signature: type[dspy.Signature]) -> str | None:
    """The first closed output, whose labels demos are balanced over; None where all are open."""
    outputs = signature.output_fields.items()
    return next((name for name, info in outputs if _labels(info.annotation)), None)


def demo_label(demo: Mapping[str, Any], signature: type[dspy.Signature]) -> str:
    """What a demo's balanced output says, as it is written; "" where no output is closed."""
    balanced = balanced_output(signature)
    return format_value(demo[balanced], signature.fields[balanced].annotation) if balanced else ""


def demo_pools(train: Sequence[dspy.Example], signature: type[dspy.Signature]) -> dict[str, list[Demo]]:
    """What demos are drawn from.

    Returns:
        Label -> its distinct demos in an order of their own, the longest left out; one pool
        called "" without a closed output. Empty when ``train`` lacks an output of the signature, or
        all its inputs: a predictor inside a pipeline may also read what no data holds.
    """
    balanced = balanced_output(signature)
    labels = _labels(signature.fields[balanced].annotation) if balanced else ("",)
    found: dict[str, dict[str, Demo]] = {label: {} for label in labels}
    for example in train:
        if not is_labelled(example, signature):
            return {}
        demo = as_demo(example, signature)
        label = demo_label(demo, signature)
        if label in found:
            found[label][demo_key(demo)] = demo
    pools = {}
    for label, demos in found.items():
        by_length = sorted(demos, key=lambda text: (len(text), text))
        shorter = sorted(by_length[: len(by_length) - int(len(by_length) * LONGEST_SHARE)])
        if shorter:
            pools[label] = [demos[text] for text in shorter]
    return pools


def is_labelled(example: dspy.Example, signature: type[dspy.Signature]) -> bool:
    """Whether an example has every output of a signature, a thought aside, and an input to read it from."""
    known = all(name in example or name in THOUGHTS for name in signature.output_fields)
    return known and any(name in example for name in signature.input_fields)


def as_demo(example: dspy.Example, signature: type[dspy.Signature]) -> Demo:
    """What an example has of a signature's fields as a demo: field name -> JSON value."""
    inputs = {name: json_value(example[name]) for name in signature.input_fields if name in example}
    outputs = {
        name: output_value(example[name], info.annotation)
        for name, info in signature.output_fields.items()
        if name in example
    }
    return {**inputs, **outputs}


def demo_key(demo: Mapping[str, Any]) -> str:
    """A demo as one text, the same for equal demos."""
    return json.dumps(demo, sort_keys=True)


def _rounds(pools: Mapping[str, Sequence[Demo]], seed: int) -> Iterator[list[Demo]]:
    """Rounds of one demo per label, until every pool is used up."""
    order = random.Random(seed)
    for number in range(max(map(len, pools.values()), default=0)):
        demos = [pool[number] for pool in pools.values() if number < len(pool)]
        order.shuffle(demos)
        yield demos


def _labels(annotation: Any) -> tuple[str, ...]:
    """The labels of a closed output as they are written; empty when it is open."""
    inner, nullable = without_none(annotation)
    labels = closed_values(inner) or ()
    return (*labels, "none") if labels and nullable else labels


def _length(demo: Demo) -> int:
    """Characters of a demo written as ``field: value`` lines."""
    return sum(len(name) + len(str(value)) + 3 for name, value in demo.items())
