"""Racing: stop measuring a candidate once a rival that is no dearer is shown better.

Candidates run the dev examples block by block in one common order, so every
comparison is paired. A candidate is only ever stopped by a rival that costs no
more, so a small model is never stopped because a big one is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from optimizers.frontier.statistics import alpha_spending, worse_with_confidence

if TYPE_CHECKING:
    import dspy

    from optimizers.search.board import Board, Standing

BLOCK = 10
"""Examples per block: few, so that a hopeless candidate costs little."""

ALPHA = 0.05
"""Chance, over all looks against one rival, of stopping a candidate that is no worse than it."""

CHALLENGE = 60
"""Examples a challenger may run in its own trial; leaders get more, one block per trial."""

Outcome = Literal["continue", "pause", "eliminate"]


def blocks(
    examples: Sequence[dspy.Example], outputs: Sequence[str], seed: int
) -> list[tuple[dspy.Example, ...]]:
    """The dev examples in one order for all candidates, each block holding its share of every label.

    Args:
        examples: The dev set.
        outputs: The output fields whose values are the labels.
        seed: Seed of the order.
    """
    from random import Random

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


def judge(challenger: Standing, board: Board) -> Outcome:
    """What to do with a challenger after a block.

    ``eliminate`` when a rival on the frontier that is no dearer is better with confidence
    (alpha spent over the looks). ``pause`` when it is not shown worse but is unlikely
    to join the frontier: one standard error of luck would not carry it past such a rival.

    Args:
        challenger: The candidate that has just run a block.
        board: All standings.
    """
    look = max(1, challenger.n // BLOCK)
    rivals = [
        rival for rival in board.frontier() if rival is not challenger and not rival.dearer_than(challenger)
    ]
    outcome: Outcome = "continue"
    for rival in rivals:
        own, theirs = challenger.shared(rival)
        if len(own) < BLOCK // 2:
            continue
        if worse_with_confidence(own, theirs, alpha_spending(look, ALPHA)):
            return "eliminate"
        if board.quality(challenger) + _luck(challenger) < board.quality(rival):
            outcome = "pause"
    return outcome


def _luck(standing: Standing) -> float:
    """One standard error of the mean, never zero: all right so far is not always right."""
    n = max(1, len(standing.scores))
    mean = (sum(standing.scores.values()) + 1) / (n + 2)
    return math.sqrt(mean * (1 - mean) / n)
