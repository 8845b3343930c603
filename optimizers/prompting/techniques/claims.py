"""Demos for questions about a given label: half of them about the right one, half about another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optimizers.prompting.renderings.fields import format_value


def claims(
    demos: Sequence[Mapping[str, Any]], name: str, annotation: Any, labels: Sequence[str]
) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Each demo with a label claimed for it, and whether the claim is right.

    Right and wrong claims alternate for the examples of each label, and labels begin
    differently, so neither a label nor a place in the order gives the answer away. Every
    label is claimed wrongly about as often as any other.

    Args:
        demos: Examples; those without the output, or with none of the labels, are left out.
        name: The closed output.
        annotation: Its type.
        labels: At least two labels, as written.
    """
    seen: Counter[int] = Counter()
    for demo in demos:
        text = format_value(demo.get(name), annotation)
        if text not in labels:
            continue
        index = labels.index(text)
        turn, right = seen[index], (seen[index] + index) % 2 == 0
        seen[index] += 1
        other = labels[(index + 1 + turn // 2 % (len(labels) - 1)) % len(labels)]
        yield dict(demo), text if right else other, right
