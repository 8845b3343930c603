"""What went wrong on dev, in Markdown: labels, wrong answers, unreadable replies, sample errors."""

from __future__ import annotations

from collections.abc import Iterable

from optimizers.results.failures import UNREADABLE, Confusion, ModelFailures, SampleError, Shared, joined
from optimizers.results.render.escaping import bullets, escape, table
from optimizers.results.study_report import StudyReport

LONGEST = 240
"""Characters shown of an input or an answer."""

MOST_CONFUSED = 4
"""Wrong answers named per label."""


def failures(report: StudyReport) -> Iterable[str]:
    """The section on failures."""
    yield "## What went wrong"
    yield "Of each model's best, on dev alone: errors on the sealed test stay unread."
    if not any(one.n for one in report.failures):
        yield "No answer on dev is on record."
        return
    for one in report.failures:
        yield from _of_model(one)
    yield from _shared(report.shared, report.manifest.reference, len(report.failures))


def _of_model(one: ModelFailures) -> Iterable[str]:
    yield f"### {escape(one.model)}: {one.wrong} of {one.n} wrong"
    if one.failed:
        kinds = ", ".join(f"{escape(kind)} {count}" for kind, count in one.failed.items())
        yield f"Rollouts without a score, by kind: {kinds}."
    if one.unreadable:
        yield f"{one.unreadable} replies did not keep the output format:"
        yield bullets(escape(text) for text in one.garbled)
    for confusion in one.confusions:
        yield _confusion(confusion)
    if one.answers:
        said = [f"{escape(wrong.said)} → {escape(wrong.right)} ({wrong.count})" for wrong in one.answers]
        yield f"Commonest wrong answers, said → right: {'; '.join(said)}."


def _confusion(confusion: Confusion) -> str:
    rows = []
    for row in confusion.rows:
        instead = [f"{escape(text)} {count}" for text, count in row.said[:MOST_CONFUSED]]
        rest = sum(count for _, count in row.said[MOST_CONFUSED:])
        rows.append(
            (
                escape(row.right),
                str(row.n),
                f"{row.hits / row.n:.0%}",
                ", ".join(instead + ([f"others {rest}"] if rest else [])),
            )
        )
    return table((escape(confusion.field), "n", "right", "said instead"), rows, numbers=[1, 2])


def _shared(shared: Shared, reference: str, models: int) -> Iterable[str]:
    if models > 1 and shared.n:
        yield "### Shared errors"
        yield table(
            ("model", "n", "both right", "only it wrong", "only the reference wrong", "both wrong"),
            (
                (
                    escape(one.model),
                    str(one.n),
                    str(one.both_right),
                    str(one.only_it_wrong),
                    str(one.only_reference_wrong),
                    str(one.both_wrong),
                )
                for one in shared.versus
            ),
            numbers=[1, 2, 3, 4, 5],
        )
        yield (
            f"{shared.by_all} of {shared.n} dev examples that all ran are wrong with every model: there the "
            "label may be wrong, or the task at its limit. What only a smaller model gets wrong is what a "
            "larger one adds."
        )
    if shared.samples:
        yield "### Some errors" if models == 1 else "### Some that every model got wrong"
        yield bullets(shown_error(one) for one in shared.samples)
    if shared.alone:
        yield f"### Some that {escape(reference)} got right and another model wrong"
        yield bullets(shown_error(one) for one in shared.alone)


def shown_error(error: SampleError) -> str:
    """An example with its declared answer and what was said, on one line."""
    said = "; ".join(
        f"{escape(one.by)} said **{escape(UNREADABLE if one.error else joined(one.output), LONGEST)}**"
        for one in error.said
    )
    inputs = "; ".join(
        f"{escape(name, LONGEST)}: {escape(value, LONGEST)}" for name, value in error.inputs.items()
    )
    return f"{inputs} → **{escape(joined(error.right))}**; {said}"
