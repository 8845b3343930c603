"""Racing: stop measuring a candidate once a rival that is no dearer is shown better.

Candidates run the dev examples block by block in one common order, so every
comparison is paired. A candidate is only ever stopped by a rival that costs no
more, so a small model is never stopped because a big one is better.

The promise: a candidate that is truly no worse than every rival it is compared with is
eliminated with probability at most ``ALPHA``, over all looks and all rivals together. Each
rival bets against the candidate (:func:`optimizers.frontier.paired.wealth_against`); the
candidate is eliminated when the mean of the rivals' wealths reaches 1 / ``ALPHA``. If no
rival is better, each wealth is a supermartingale over the examples, whatever binds the
rivals' scores to each other; so is their mean, and Ville's inequality bounds the chance
that it ever gets there, at any number of looks. Alpha is thus spent over looks and rivals
at once, and many rivals that agree cost no power, as dividing alpha among them would.

Every measured candidate that is no dearer counts as a rival, on the frontier or not: the
frontier holds those that were lucky on these very examples, and testing against the
luckiest of many equals would break the promise (by simulation, 15% for the best of 40).
It holds for examples drawn independently; a pause is a matter of thrift and is not
covered by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from optimizers.frontier.paired import wealth_against

if TYPE_CHECKING:
    import dspy

    from optimizers.search.board import Board, Standing

BLOCK = 10
"""Examples per block: few, so that a hopeless candidate costs little."""

ALPHA = 0.05
"""Chance, over all looks and rivals, of eliminating a candidate that is no worse than any of them."""

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

    ``eliminate`` when the rivals that are no dearer are, taken together, better with
    confidence: see the module's promise. ``pause`` when it is not shown worse but is unlikely
    to join the frontier: one standard error of luck would not carry it past such a rival there.

    Args:
        challenger: The candidate that has just run a block.
        board: All standings.
    """
    rivals = [
        rival for rival in board.measured() if rival is not challenger and board.spares(rival, challenger)
    ]
    pairs = [challenger.shared(rival) for rival in rivals]
    wealths = [wealth_against(own, theirs) for own, theirs in pairs if own]
    if wealths and sum(wealths) / len(wealths) >= 1 / ALPHA:
        return "eliminate"
    frontier = {standing.candidate.id for standing in board.frontier()}
    hopeless = any(
        board.quality(challenger) + _luck(challenger) < board.quality(rival)
        for rival, (own, _) in zip(rivals, pairs, strict=True)
        if rival.candidate.id in frontier and len(own) >= BLOCK // 2
    )
    return "pause" if hopeless else "continue"


def _luck(standing: Standing) -> float:
    """One standard error of the mean, never zero: all right so far is not always right."""
    n = max(1, len(standing.scores))
    mean = (sum(standing.scores.values()) + 1) / (n + 2)
    return math.sqrt(mean * (1 - mean) / n)
