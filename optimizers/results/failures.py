"""What candidates got wrong on dev: which labels, what they said instead, and what models share.

Errors on the sealed test are never shown: tuning by them would unseal the test.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from optimizers.records.record import Record
from optimizers.records.rows import ExampleRow, Rollout
from optimizers.results.label_noise import RIGHT
from optimizers.results.render.escaping import plain

MOST_WRONG = 8
"""Wrong answers listed of a model, the commonest."""

MOST_SAMPLES = 5
"""Errors shown in full of a kind."""

MOST_LABELS = 20
"""An output field with more values than this is no label."""

LONGEST = 240
"""Characters shown of an input or an answer."""

UNREADABLE = "(unreadable)"


class LabelRow(Record):
    """The examples with one declared answer.

    Attributes:
        right: The declared answer.
        n: Examples scored.
        hits: Of them answered with it.
        said: What was said instead, the commonest first, with how often.
    """

    right: str
    n: int
    hits: int
    said: tuple[tuple[str, int], ...]


class Confusion(Record):
    """An output field with few values, declared against said."""

    field: str
    rows: tuple[LabelRow, ...]


class WrongAnswer(Record):
    """A wrong answer and how often it was given."""

    said: str
    right: str
    count: int = Field(ge=1)


class Answer(Record):
    """What somebody answered to an example.

    Attributes:
        by: Who: a model's short name, or a few words; empty where it is plain.
        output: The outputs given; empty where the reply could not be read.
        error: Why the reply could not be read, if it could not.
        score: Its score, in [0, 1]; None where it has none.
    """

    by: str = ""
    output: dict[str, Any]
    error: str | None = None
    score: float | None = Field(default=None, ge=0, le=1)


class SampleError(Record):
    """An example that was answered wrong, on dev.

    Attributes:
        inputs: Its input fields.
        right: Its declared outputs.
        said: The answers to it.
    """

    inputs: dict[str, Any]
    right: dict[str, Any]
    said: tuple[Answer, ...]


class LabelScore(Record):
    """The mean score of the examples with one declared answer.

    Attributes:
        field: The output field.
        label: Its declared value.
        mean: Mean score, in [0, 1].
        n: Examples scored.
    """

    field: str
    label: str
    mean: float = Field(ge=0, le=1)
    n: int = Field(ge=1)


class CandidateErrors(Record):
    """Where one candidate errs.

    Attributes:
        labels: Its mean score by declared answer.
        labels_on: The part of the data that ``labels`` are of.
        errors: Some of its errors on dev, the lowest scores first.
    """

    labels: tuple[LabelScore, ...] = ()
    labels_on: Literal["dev", "test"] = "dev"
    errors: tuple[SampleError, ...] = ()


class ModelFailures(Record):
    """What a model's best got wrong on dev.

    Attributes:
        model: The model's short name.
        n: Dev examples that got a score.
        wrong: Of them answered wrong: a score below one half.
        unreadable: Of those, replies that did not keep the output format.
        failed: Kind of infrastructure failure -> rollouts left without a score.
        confusions: Of each output field with few values.
        answers: The commonest wrong answers that could be read.
        garbled: The beginnings of some unreadable replies.
    """

    model: str
    n: int
    wrong: int
    unreadable: int
    failed: dict[str, int]
    confusions: tuple[Confusion, ...]
    answers: tuple[WrongAnswer, ...]
    garbled: tuple[str, ...]


class Versus(Record):
    """A model's best compared with the reference's best, on the dev examples both have a score for."""

    model: str
    n: int
    both_right: int
    only_it_wrong: int
    only_reference_wrong: int
    both_wrong: int


class Shared(Record):
    """Errors that models share, and errors of one alone.

    Attributes:
        n: Dev examples that every model's best has a score for.
        by_all: Of them wrong with every model.
        versus: Each other model compared with the reference.
        samples: Some that every model got wrong: the label, or the task, may be at its limit.
        alone: Some that another model got wrong and the reference right.
    """

    n: int
    by_all: int
    versus: tuple[Versus, ...]
    samples: tuple[SampleError, ...]
    alone: tuple[SampleError, ...]


@dataclass(frozen=True)
class Best:
    """A model's best, and its first rollouts on dev.

    Attributes:
        model: The model's name, one that no other model of the study has.
        rows: Example id -> rollout, failures included.
    """

    model: str
    rows: Mapping[str, Rollout]

    @property
    def scored(self) -> dict[str, Rollout]:
        """Those with a score."""
        return {example: row for example, row in self.rows.items() if row.score is not None}


def failures_of(best: Best, examples: Mapping[str, ExampleRow]) -> ModelFailures:
    """What a model's best got wrong on dev.

    Args:
        best: The model's best; rollouts of examples not in ``examples`` are left out.
        examples: Dev example id -> example.
    """
    answered = [(examples[example], row) for example, row in best.scored.items() if example in examples]
    wrong = [(example, row) for example, row in answered if _is_wrong(row)]
    said = Counter((_said(row, example), joined(example.gold)) for example, row in wrong if row.parsed)
    garbled = [row for _, row in wrong if not row.parsed]
    failed = Counter(row.failure for row in best.rows.values() if row.failure is not None)
    return ModelFailures(
        model=best.model,
        n=len(answered),
        wrong=len(wrong),
        unreadable=len(garbled),
        failed={str(kind): count for kind, count in failed.items()},
        confusions=tuple(
            Confusion(field=field, rows=_label_rows(field, answered)) for field in closed_fields(examples)
        ),
        answers=tuple(
            WrongAnswer(said=text, right=right, count=count)
            for (text, right), count in said.most_common(MOST_WRONG)
        ),
        garbled=tuple(plain(row.error or "", LONGEST) for row in garbled[:MOST_SAMPLES]),
    )


def shared_errors(bests: Sequence[Best], reference: str, examples: Mapping[str, ExampleRow]) -> Shared:
    """Errors on dev that models share, and those of one alone.

    Args:
        bests: The best of each model.
        reference: Short name of the reference model.
        examples: Dev example id -> example.
    """
    common = _common(bests, examples)
    by_all = [example for example in common if all(_is_wrong(best.rows[example]) for best in bests)]
    reference_best = next((best for best in bests if best.model == reference), None)
    versus, alone = [], []
    for best in bests:
        if reference_best is None or best is reference_best:
            continue
        outcome = {
            example: (_is_wrong(best.rows[example]), _is_wrong(reference_best.rows[example]))
            for example in _common([best, reference_best], examples)
        }
        versus.append(_versus(best.model, outcome.values()))
        own = [example for example, found in outcome.items() if found == (True, False)]
        alone += [
            _sample(examples[example], [(best.model, best.rows[example])]) for example in own[:MOST_SAMPLES]
        ]
    return Shared(
        n=len(common),
        by_all=len(by_all),
        versus=tuple(versus),
        samples=tuple(
            _sample(examples[example], [(best.model, best.rows[example]) for best in bests])
            for example in by_all[:MOST_SAMPLES]
        ),
        alone=tuple(alone),
    )


def _versus(model: str, outcomes: Collection[tuple[bool, bool]]) -> Versus:
    """How often each of (it is wrong, the reference is wrong) occurred."""
    counts = Counter(outcomes)
    return Versus(
        model=model,
        n=len(outcomes),
        both_right=counts[False, False],
        only_it_wrong=counts[True, False],
        only_reference_wrong=counts[False, True],
        both_wrong=counts[True, True],
    )


def errors_of(rollouts: Sequence[Rollout], examples: Mapping[str, ExampleRow]) -> CandidateErrors:
    """Where one candidate errs.

    Args:
        rollouts: The candidate's; those on train, repeats and failures do not count.
        examples: Example id -> example, of dev and test.
    """
    scored: dict[str, dict[str, Rollout]] = {"dev": {}, "test": {}}
    for row in rollouts:
        if row.number == 0 and row.score is not None and row.split in scored and row.example in examples:
            scored[row.split][row.example] = row
    # Hashes come in no order that means anything, so among equal scores these are a fair sample.
    worst = sorted(scored["dev"].values(), key=lambda row: (row.score, row.example))
    labels_on: Literal["dev", "test"] = "test" if scored["test"] else "dev"
    return CandidateErrors(
        labels=tuple(_label_scores(scored[labels_on], examples)),
        labels_on=labels_on,
        errors=tuple(
            _sample(examples[row.example], [("", row)])
            for row in worst[:MOST_SAMPLES]
            if (row.score or 0) < 1
        ),
    )


def _label_scores(rows: Mapping[str, Rollout], examples: Mapping[str, ExampleRow]) -> list[LabelScore]:
    """Scores by value, of the output fields that have few values."""
    answered = {example: examples[example] for example in rows}
    found = []
    for field in closed_fields(answered, fewest=1):
        by_label: dict[str, list[float]] = defaultdict(list)
        for example, row in rows.items():
            if field in answered[example].gold:
                by_label[str(answered[example].gold[field])].append(row.score or 0.0)
        found += [
            LabelScore(field=field, label=label, mean=min(1.0, sum(scores) / len(scores)), n=len(scores))
            for label, scores in sorted(by_label.items())
        ]
    return found


def closed_fields(examples: Mapping[str, ExampleRow], *, fewest: int = 2) -> list[str]:
    """Output fields that have few values: labels rather than answers.

    Args:
        examples: Example id -> example.
        fewest: Values that a field has at least.
    """
    values: dict[str, Counter[str]] = {}
    for example in examples.values():
        for field, value in example.gold.items():
            values.setdefault(field, Counter())[plain(value, LONGEST)] += 1
    return [
        field
        for field, found in values.items()
        if fewest <= len(found) <= MOST_LABELS and 2 * len(found) <= found.total()
    ]


def _label_rows(field: str, answered: Sequence[tuple[ExampleRow, Rollout]]) -> tuple[LabelRow, ...]:
    said: dict[str, Counter[str]] = {}
    for example, row in answered:
        if field in example.gold:
            right = plain(example.gold[field], LONGEST)
            answer = plain(row.output[field], LONGEST) if field in row.output else UNREADABLE
            # Letter case is for the metric to judge; here it would hide what was meant.
            same = answer.casefold() == right.casefold()
            said.setdefault(right, Counter())[right if same else answer] += 1
    return tuple(
        LabelRow(
            right=right,
            n=found.total(),
            hits=found[right],
            said=tuple((answer, count) for answer, count in found.most_common() if answer != right),
        )
        for right, found in sorted(said.items())
    )


def _common(bests: Sequence[Best], examples: Mapping[str, ExampleRow]) -> list[str]:
    """Examples that all have a score for. By hash: an order that means nothing, so a fair sample."""
    scored = [best.scored for best in bests]
    return sorted(example for example in examples if scored and all(example in rows for rows in scored))


def _sample(example: ExampleRow, rows: Sequence[tuple[str, Rollout]]) -> SampleError:
    """An example with what was answered, by whom."""
    return SampleError(
        inputs=example.inputs,
        right=example.gold,
        said=tuple(
            Answer(
                by=who,
                output={name: row.output[name] for name in example.gold if name in row.output},
                error=None if row.parsed else row.error or UNREADABLE,
                score=row.score,
            )
            for who, row in rows
        ),
    )


def _is_wrong(row: Rollout) -> bool:
    return row.score is not None and row.score < RIGHT


def _said(row: Rollout, example: ExampleRow) -> str:
    """What a rollout answered, in the fields that the data declares."""
    if not row.parsed:
        return UNREADABLE
    return joined({name: row.output[name] for name in example.gold if name in row.output})


def joined(outputs: Mapping[str, object]) -> str:
    """Output values as one text, with their names where there are several."""
    if len(outputs) == 1:
        return plain(next(iter(outputs.values())), LONGEST)
    return plain("; ".join(f"{name}: {plain(value)}" for name, value in outputs.items()), LONGEST)
