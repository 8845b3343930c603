"""The dev set in blocks, the same for all candidates, so that comparisons are paired."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dspy

BLOCK = 10
"""Examples per block: few, so that a hopeless candidate costs little."""


def blocks(
    examples: Sequence[dspy.Example], outputs: Sequence[str], seed: int
) -> list[tuple[dspy.Example, ...]]:
    """The examples in one order for all candidates, each block holding its share of every label.

    Args:
        examples: The examples.
        outputs: The output fields whose values are the labels.
        seed: Seed of the order.
    """
    by_label: dict[tuple[str, ...], list[dspy.Example]] = {}
    shuffled = list(examples)
    Random(seed).shuffle(shuffled)
    for example in shuffled:
        by_label.setdefault(tuple(str(example.get(output)) for output in outputs), []).append(example)
    placed = [
        ((position + 0.5) / len(group), label, example)
        for label, group in sorted(by_label.items())
        for position, example in enumerate(group)
    ]
    placed.sort(key=lambda item: item[:2])
    ordered = [example for _, _, example in placed]
    return [tuple(ordered[start : start + BLOCK]) for start in range(0, len(ordered), BLOCK)]
