"""The answer of a study: may a cheaper model replace the reference?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from optimizers.records.record import Record
from optimizers.records.report import FrontierReport, Point, Verdict
from optimizers.results.wording import (
    allowed,
    labels_of,
    loss,
    right,
    score,
    share_of_cost,
)

Answer = Literal["YES", "NO", "NOT SETTLED"]

ANSWERS: dict[Verdict, Answer] = {"match": "YES", "no match": "NO", "indecisive": "NOT SETTLED"}

NOT_TESTED = "Nothing has been measured on the sealed test."

WHOLE = 1e-6
"""How far a sum of 0/1 scores may be from a whole number, for rounding."""


class Headline(Record):
    """The question a study asked, and its answer.

    Attributes:
        question: What was asked, with the names of the models.
        answer: The answer; None where nothing is compared with the reference.
        short: The answer with its numbers: ``No: 343 of 400 right against 381 ...``.
        sentence: Question and answer with their numbers, for notes and lists.
        point: Candidate id of the point that the answer is about; None where nothing was tested.
        reference: Candidate id of the reference's best, where it was tested.
    """

    question: str
    answer: Answer | None
    short: str
    sentence: str
    point: str | None = None
    reference: str | None = None


def headline(report: FrontierReport) -> Headline:
    """The question and the answer of a study."""
    tested = [point for point in report.points if point.test is not None and point.test.n]
    if not tested:
        return Headline(
            question=f"{report.task}: nothing was measured on the sealed test",
            answer=None,
            short=NOT_TESTED,
            sentence=NOT_TESTED,
        )
    names = names_of(report)
    reference = next((point for point in tested if "reference" in point.roles), None)
    about = _decisive(report, answering(tested, report.reference))
    small, large = label_of(about, names), names[report.reference]
    ids = about.candidate.id, reference.candidate.id if reference else None
    found, binary = about.comparison, is_binary(report)
    if about is reference or found is None or reference is None:
        said = f"{score(about.test, binary=binary)}{' right' if binary else ''} on the sealed test"
        lacking = "" if about is reference else f"; {large} was not tested, so nothing is compared"
        said = f"The best prompt of {small}: {said}{lacking}."
        return Headline(
            question=f"{report.task}: how good is {small} with the best prompt?",
            answer=None,
            short=said,
            sentence=said,
            point=ids[0],
            reference=ids[1],
        )
    answer = ANSWERS[found.verdict]
    assert about.test is not None
    assert reference.test is not None
    own, other = (right(one, binary=binary, of=found.n) for one in (about.test, reference.test))
    if not binary:
        counted = f"{own} against {other} on {found.n} rows"
    elif about.test.n == found.n:
        counted = f"{own} of {found.n} right against {other}"
    else:
        counted = f"{own} right against {other}"
    short = (
        f"{answer.capitalize()}: {counted}, {share_of_cost(found)}; "
        f"gap {loss(found)}, {allowed(found.margin)} allowed."
    )
    return Headline(
        question=f"{report.task}: can {small} replace {large}?",
        answer=answer,
        short=short,
        sentence=f"Can {small} replace {large}? {short}",
        point=ids[0],
        reference=ids[1],
    )


def names_of(report: FrontierReport) -> dict[str, str]:
    """Model name -> its name for people, of every model of a report."""
    return labels_of([report.reference, *(name for p in report.points for name in p.candidate.models)])


def label_of(point: Point, names: dict[str, str]) -> str:
    """The names of a point's models, joined where several serve it."""
    return " + ".join(names.get(name, name) for name in point.candidate.models)


def answering(tested: Sequence[Point], reference: str) -> Point:
    """The point that the answer is about: the best of a model other than the reference, where there is one.

    Args:
        tested: The points that were tested, at least one.
        reference: Name of the reference model.
    """
    others = [point for point in tested if point.candidate.models != (reference,)]
    # Chosen by dev, so that the test scores stay free of the choice.
    return max(others or tested, key=lambda point: ("best" in point.roles, point.dev.mean))


def _decisive(report: FrontierReport, nominee: Point) -> Point:
    """The nominee, or the cheapest point that matches where the nominee does not: a match answers yes."""
    if nominee.comparison is None or nominee.comparison.verdict == "match":
        return nominee
    return next(iter(report.matches()), nominee)


def is_binary(report: FrontierReport) -> bool:
    """Whether every score is 0 or 1; inferred from whole sums in records that do not say."""
    if report.binary is not None:
        return report.binary
    known = [found for point in report.points for found in (point.dev, point.test) if found and found.n]
    return all(abs(found.mean * found.n - round(found.mean * found.n)) < WHOLE for found in known)
