"""Two finished studies held against each other, as one record."""

from __future__ import annotations

from optimizers.records.report import Amount, Comparison
from optimizers.results.findings import Gap, Measured
from optimizers.results.record import Record


class Difference(Record):
    """Something in which two studies, or two candidates, differ.

    Attributes:
        what: What differs.
        a: What it is in the first.
        b: What it is in the second.
    """

    what: str
    a: str
    b: str


class Contest(Record):
    """A candidate of the second study against its counterpart in the first.

    Attributes:
        of: What they are the best of: ``all models``, a model's name, or both.
        a: The first study's.
        b: The second study's.
        same: Whether they are one and the same candidate, measured twice.
        gap: The second's test score minus the first's; None where either has none.
        comparison: Non-inferiority of the second to the first; None where not paired.
        cost_ratio: Serving cost of the second over the first's, each at its own study's prices;
            None where the first costs nothing.
        choices: In which choices they differ.
    """

    of: str
    a: Measured
    b: Measured
    same: bool
    gap: Gap | None
    comparison: Comparison | None
    cost_ratio: float | None
    choices: tuple[Difference, ...]


class StudyComparison(Record):
    """Two finished studies held against each other, the second against the first.

    Attributes:
        a: Name of the first.
        b: Name of the second.
        task_a: The first's task.
        task_b: The second's task.
        margin: Quality that may be lost: the smaller of both studies' margins.
        differences: In what the studies themselves differ.
        shared: Test examples that bests of both studies have a score for.
        tests: Test examples that the bests of each have a score for.
        contests: The best of all, then each model's that both studies have.
        covered: Share of the quality-cost plane that each frontier dominates on test, on common
            bounds of cost; None where a frontier has no tested point of known cost.
        spend_a: What the first used.
        spend_b: What the second used.
        notes: What a reader must know before believing the numbers.
    """

    a: str
    b: str
    task_a: str
    task_b: str
    margin: float
    differences: tuple[Difference, ...]
    shared: int
    tests: tuple[int, int]
    contests: tuple[Contest, ...]
    covered: tuple[float, float] | None
    spend_a: Amount | None
    spend_b: Amount | None
    notes: tuple[str, ...]
