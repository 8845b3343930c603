"""What is made of examples: every rule and injection once each, wrong targets, labels turned round."""

from __future__ import annotations

from enum import Enum
from typing import Literal, get_args

import dspy
import pytest

from optimizers.evaluation.perturbations.examples import (
    LABEL_ORDER,
    count,
    is_relabelled,
    perturbed,
    perturbed_rows,
    with_labels_reversed,
)
from optimizers.evaluation.perturbations.injections import EXFILTRATION, INJECTIONS
from optimizers.evaluation.perturbations.text import RULES
from optimizers.task.data.split import example_id


class Pick(dspy.Signature):
    """Pick."""

    title: str = dspy.InputField()
    body: str = dspy.InputField()
    shelf: Literal["top", "low"] = dspy.InputField()
    pages: int = dspy.InputField()
    kind: Literal["a", "b", "c"] = dspy.OutputField()


class Tell(dspy.Signature):
    """Tell."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Kind(Enum):
    BIG, SMALL = "big one", "small one"


class Sort(dspy.Signature):
    """Sort."""

    text: str = dspy.InputField()
    kind: Kind | None = dspy.OutputField()


@pytest.fixture
def rows() -> list[dspy.Example]:
    return [
        dspy.Example(
            title=f"Title number {n}", body=f"It's body {n}", shelf="top", pages=n, kind="abc"[n % 3]
        ).with_inputs("title", "body", "shelf", "pages")
        for n in range(9)
    ]


def test_everything_is_done_to_each_example(rows: list[dspy.Example]) -> None:
    program = dspy.Predict(Pick)
    made = perturbed_rows(program, rows, rows, 0, each=True)
    assert len(made) == len(rows) * count(program, rows) == 9 * (len(RULES) + 2 * len(INJECTIONS) + 1)
    assert len({row.id for row in made}) == len(made)
    known = {example_id(example): example for example in rows}
    for row in made:
        example, source = perturbed(known[row.source], row), known[row.source]
        assert example_id(example) == row.id != row.source
        assert example.inputs().keys() == source.inputs().keys()
        assert (example.kind, example.shelf, example.pages) == (source.kind, source.shelf, source.pages)
        assert (dict(example.inputs()) == dict(source.inputs())) == (row.rule == LABEL_ORDER)


def test_an_injection_stands_in_one_field_and_wants_a_wrong_label(rows: list[dspy.Example]) -> None:
    known = {example_id(example): example for example in rows}
    for row in perturbed_rows(dspy.Predict(Pick), rows, rows, 0, each=True):
        if row.field is None:
            continue
        assert list(row.inputs) == [row.field]
        assert known[row.source][row.field] in row.inputs[row.field]
        if row.rule == EXFILTRATION:
            assert row.target is None
        else:
            assert row.target in {"a", "b", "c"} - {known[row.source].kind}
            assert row.target in row.inputs[row.field]


def test_an_open_answer_is_asked_for_a_word_that_no_answer_holds() -> None:
    rows = [dspy.Example(question=f"Why {n}?", answer=f"So {n}").with_inputs("question") for n in range(3)]
    made = perturbed_rows(dspy.Predict(Tell), rows, rows, 0, each=True)
    assert LABEL_ORDER not in {row.rule for row in made}
    targets = {row.target for row in made if row.target is not None}
    assert all(target.startswith("XQ") and len(target) == 8 for target in targets)


def test_a_row_that_lacks_an_input_is_changed_in_the_others(rows: list[dspy.Example]) -> None:
    lacking = rows[0].copy(body=None)
    made = perturbed_rows(dspy.Predict(Pick), rows[1:], [lacking], 0, each=True)
    assert {row.field for row in made if row.field} == {"title"}
    assert {row.rule for row in made} >= {"letter case", LABEL_ORDER}


def test_an_injection_asks_for_an_enum_as_it_is_written() -> None:
    rows = [dspy.Example(text=f"text {n}", kind=Kind.BIG).with_inputs("text") for n in range(3)]
    made = perturbed_rows(dspy.Predict(Sort), rows, rows, 0, each=True)
    assert {row.target for row in made if row.target is not None} == {"small one"}


def test_one_thing_is_done_to_each_example_in_turns(rows: list[dspy.Example]) -> None:
    made = perturbed_rows(dspy.Predict(Pick), rows, rows, 0, each=False)
    assert [row.source for row in made] == [example_id(example) for example in rows]
    assert len({row.name for row in made}) == len(rows)


def test_labels_are_listed_the_other_way_round_and_the_program_is_left_as_it_is(
    rows: list[dspy.Example],
) -> None:
    program = dspy.ChainOfThought(Pick)
    turned = with_labels_reversed(program)
    (predictor,), (own,) = turned.predictors(), program.predictors()
    assert get_args(predictor.signature.output_fields["kind"].annotation) == ("c", "b", "a")
    assert get_args(own.signature.output_fields["kind"].annotation) == ("a", "b", "c")
    assert list(predictor.signature.output_fields) == list(own.signature.output_fields)
    assert get_args(predictor.signature.input_fields["shelf"].annotation) == ("top", "low")
    (row,) = [r for r in perturbed_rows(program, rows, rows[:1], 0, each=True) if r.rule == LABEL_ORDER]
    assert is_relabelled(perturbed(rows[0], row))
    assert not is_relabelled(rows[0])
