"""What a reader of a result must know about the sizes of train, dev and test."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

FEW_TEST_ROWS, FEW_GROUPS = 200, 30
"""Fewer test rows, or fewer groups among them, get a warning."""

_REACH = 1.6449 + 0.8416
"""z(0.95) + z(0.80)"""

_DISAGREEMENT = 0.2


def detectable_difference(n: int, disagreement: float = _DISAGREEMENT) -> float:
    """The smallest difference in mean score that ``n`` paired examples show.

    For a one-sided test at 5% with 80% power of two candidates that disagree on a share of
    the examples: ``(z(0.95) + z(0.80)) * sqrt(disagreement / n)``, the normal approximation
    to McNemar's test (Connor, Biometrics 43, 1987).

    Args:
        n: Test examples, at least 1.
        disagreement: Share of examples that only one of the two answers well.
    """
    return _REACH * math.sqrt(disagreement / n)


def rows_needed(margin: float, disagreement: float = _DISAGREEMENT) -> int:
    """Test examples at which ``detectable_difference`` comes down to a margin.

    Args:
        margin: In score units, above 0.
        disagreement: Share of examples that only one of the two answers well.
    """
    return math.ceil(disagreement * (_REACH / margin) ** 2)


def size_note(n: int, margin: float | None) -> str | None:
    """One sentence on what ``n`` test rows can show and what they cannot; None where nothing is amiss.

    Args:
        n: Test examples, at least 1.
        margin: The quality that the user accepts to lose, in score units; None where unknown.
    """
    seen = detectable_difference(n)
    short = margin is not None and seen > margin
    if n >= FEW_TEST_ROWS and not short:
        return None
    odds = "(80% power, one-sided 5%, two prompts that differ on one row in five)"
    can = f"with {n} test rows, expect to see gaps of about {seen:.2f} and more"
    if margin is None:
        return f"{can}; smaller ones look like chance {odds}"
    if not short:
        return f"{can}; that is enough for the margin of {margin:g} {odds}"
    if margin == 0:
        return f"{can}; no number of rows proves a match of equals at a margin of 0 {odds}"
    needed = f"to prove a match at the margin of {margin:g} reliably, you need about"
    return f"{can}; {needed} {_two_digits(rows_needed(margin)):,} rows {odds}"


def group_note(groups: int, column: str) -> str | None:
    """A warning where the test set has few groups; None otherwise."""
    if groups >= FEW_GROUPS:
        return None
    rough = f"intervals that allow for groups are rough below {FEW_GROUPS}"
    return f"the test set has {groups} groups by {column!r}: {rough}"


def part_notes(parts: Mapping[str, Sequence[str]], asked: Mapping[str, int]) -> list[str]:
    """What a part lacks: rows that were asked for, or a label that other parts have.

    Args:
        parts: Name of a part -> the label of each row, its closed outputs as a JSON list.
        asked: Name of a part -> the rows asked for; empty when none were.
    """
    notes = []
    every = {label for labels in parts.values() for label in labels}
    for name, labels in parts.items():
        if len(labels) < asked.get(name, 0):
            notes.append(f"{name} has {len(labels)} rows, not the {asked[name]} asked for")
        lacking = sorted(every - set(labels))
        if lacking and labels:
            names = ", ".join("/".join(map(str, json.loads(label))) for label in lacking)
            notes.append(f"{name} has no row labelled {names}")
    return notes


def _two_digits(count: int) -> int:
    """Rounded to two significant digits."""
    return round(count, 2 - len(str(count)))
