"""The verdict: does a point match the reference, within the margin the user declared?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from optimizers.records.report import Comparison, Verdict
from optimizers.results.statistics.intervals import holm
from optimizers.results.statistics.paired import examples_to_settle, noninferiority_p, paired_difference

ALPHA = 0.05
"""Chance, over all points compared, of calling one a match that is worse by the margin or more."""


@dataclass(frozen=True)
class Contender:
    """A point to compare.

    Attributes:
        scores: Example id -> score on the test set.
        cost: Mean serving cost of a rollout.
        coverage: Share of the examples tried that got a score, in [0, 1].
        groups: Example id -> group, for examples that come in groups; others are independent.
    """

    scores: Mapping[str, float]
    cost: float
    coverage: float = 1.0
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Paired:
    """A contender's scores and the reference's, on the examples both have."""

    own: list[float]
    theirs: list[float]
    groups: list[str]


def compare(
    contenders: Sequence[Contender],
    reference: Contender,
    *,
    against: str,
    margin: float,
    min_coverage: float,
) -> list[Comparison]:
    """Compare points with one reference, as :func:`compare_pairs` does.

    Args:
        contenders: The points.
        reference: The reference model's best, or its plain default.
        against: Its candidate id.
        margin: Quality the user accepts to lose, in score units.
        min_coverage: Share of the examples that must have got a score, in [0, 1].

    Returns:
        One comparison per contender, in order.
    """
    pairs = [(contender, reference) for contender in contenders]
    return compare_pairs(pairs, against=[against] * len(pairs), margin=margin, min_coverage=min_coverage)


def compare_pairs(
    contests: Sequence[tuple[Contender, Contender]],
    *,
    against: Sequence[str],
    margin: float,
    min_coverage: float,
) -> list[Comparison]:
    """Compare points, each with its own reference, on the test examples both have a score for.

    ``match`` when the non-inferiority test, Holm-adjusted over these contests, shows the
    loss below the margin; ``no match`` when the whole 95% interval of the difference, which
    is each contest's own, lies below minus the margin; else ``indecisive``. What failed
    may be what was hard: with a coverage below ``min_coverage``, on either side, nothing is
    decided.

    Args:
        contests: (point, reference), in any number.
        against: Candidate id of each reference.
        margin: Quality the user accepts to lose, in score units.
        min_coverage: Share of the examples that must have got a score, in [0, 1].

    Returns:
        One comparison per contest, in order.
    """
    pairs = [_paired(contender, reference) for contender, reference in contests]
    adjusted = holm([noninferiority_p(p.own, p.theirs, margin, groups=p.groups) for p in pairs])
    # The level that Holm's procedure asks of the next match.
    matched = sum(p_value <= ALPHA for p_value in adjusted)
    level = ALPHA / max(1, len(pairs) - matched)
    found = []
    for (contender, reference), paired, p_value, identity in zip(
        contests, pairs, adjusted, against, strict=True
    ):
        covered = min(contender.coverage, reference.coverage) >= min_coverage
        difference, low, high = paired_difference(paired.own, paired.theirs, groups=paired.groups)
        verdict = _verdict(p_value, high, margin) if covered else "indecisive"
        more = None
        if covered and verdict == "indecisive":
            more = examples_to_settle(paired.own, paired.theirs, margin, level=level, groups=paired.groups)
        found.append(
            Comparison(
                against=identity,
                difference=difference,
                low=low,
                high=high,
                margin=margin,
                p_value=p_value,
                verdict=verdict,
                cost_ratio=_ratio(contender.cost, reference.cost),
                n=len(paired.own),
                more=more,
            )
        )
    return found


def _paired(contender: Contender, reference: Contender) -> _Paired:
    shared = [example for example in contender.scores if example in reference.scores]
    return _Paired(
        [contender.scores[example] for example in shared],
        [reference.scores[example] for example in shared],
        [contender.groups.get(example, example) for example in shared],
    )


def _ratio(cost: float, of: float) -> float | None:
    """One cost over another: the same where both are free, and none where only the other is."""
    return cost / of if of > 0 else 1.0 if cost == 0 else None


def _verdict(p_value: float, high: float, margin: float) -> Verdict:
    if p_value <= ALPHA:
        return "match"
    return "no match" if high < -margin else "indecisive"
