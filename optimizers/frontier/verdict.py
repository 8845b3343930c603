"""The verdict: does a point match the reference, within the margin the user declared?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizers.frontier.report import Comparison, Verdict
from optimizers.frontier.statistics import holm, noninferiority_p, paired_difference

ALPHA = 0.05
"""Chance, over all points compared, of calling one a match that is worse by the margin or more."""


@dataclass(frozen=True)
class Contender:
    """A point to compare.

    Attributes:
        scores: Example id -> score on the test set.
        cost: Mean serving cost of a rollout.
    """

    scores: Mapping[str, float]
    cost: float


def compare(
    contenders: Sequence[Contender], reference: Contender, *, against: str, margin: float
) -> list[Comparison]:
    """Compare points with the reference on the test examples both have a score for.

    ``match`` when the Holm-adjusted non-inferiority test shows the loss below the margin,
    ``no match`` when the whole interval of the difference lies below minus the margin,
    else ``indecisive``.

    Args:
        contenders: The points.
        reference: The reference model's best.
        against: Its candidate id.
        margin: Quality the user accepts to lose, in score units.

    Returns:
        One comparison per contender, in order.
    """
    pairs = [_paired(contender, reference) for contender in contenders]
    adjusted = holm([noninferiority_p(own, theirs, margin) for own, theirs in pairs])
    comparisons = []
    for contender, (own, theirs), p_value in zip(contenders, pairs, adjusted, strict=True):
        difference, low, high = paired_difference(own, theirs)
        comparisons.append(
            Comparison(
                against=against,
                difference=difference,
                low=low,
                high=high,
                margin=margin,
                p_value=p_value,
                verdict=_verdict(p_value, high, margin),
                cost_ratio=contender.cost / reference.cost if reference.cost > 0 else 1.0,
                n=len(own),
            )
        )
    return comparisons


def _paired(contender: Contender, reference: Contender) -> tuple[list[float], list[float]]:
    shared = [example for example in contender.scores if example in reference.scores]
    return [contender.scores[e] for e in shared], [reference.scores[e] for e in shared]


def _verdict(p_value: float, high: float, margin: float) -> Verdict:
    if p_value <= ALPHA:
        return "match"
    return "no match" if high < -margin else "indecisive"
