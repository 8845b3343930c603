"""A language model as judge: how it is asked, how its word becomes a score, and whether to trust it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dspy
import numpy as np
import pytest
from fake_judge import judge
from hypothesis import given
from hypothesis import strategies as st

from metrics.judge import agreement, graded, preferred
from optimizers.errors import MetricError, ModelError

EXAMPLE = dspy.Example(question="Why is the sky blue?", answer="It scatters blue light.").with_inputs(
    "question"
)
PREDICTED = dspy.Prediction(answer="Because of the sea.")


def grade(number: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({"grade": number})


@pytest.mark.parametrize(
    ("given_grade", "levels", "expected"), [(1, 5, 0.0), (4, 5, 0.75), (5, 5, 1.0), (2, 3, 0.5)]
)
def test_a_grade_becomes_a_score(given_grade: int, levels: int, expected: float) -> None:
    lm, engine = judge(grade(given_grade))
    assert graded("answer", "Is it true?", judge=lm, levels=levels)(EXAMPLE, PREDICTED) == expected
    (request,) = engine.requests
    assert "Is it true?" in str(request.system)
    text = request.messages[-1].text or ""
    assert all(
        part in text for part in ("Why is the sky blue?", "It scatters blue light.", "Because of the sea.")
    )


@pytest.mark.parametrize("reply", ["Excellent!", '{"grade": 9}', '{"grade": "good"}', ""])
def test_a_reply_that_is_no_grade_is_an_error_after_one_call(reply: str) -> None:
    lm, engine = judge(lambda text: reply)
    with pytest.raises(MetricError, match="judge"):
        graded("answer", "Is it true?", judge=lm)(EXAMPLE, PREDICTED)
    assert len(engine.requests) == 1


def test_nothing_predicted_is_not_worth_a_call() -> None:
    lm, engine = judge(grade(5))
    assert graded("answer", "Is it true?", judge=lm)(EXAMPLE, dspy.Prediction(other="x")) == 0.0
    assert preferred("answer", "Is it true?", judge=lm)(EXAMPLE, None) == 0.0
    assert engine.requests == []


def test_a_judge_is_not_loaded_before_it_is_asked() -> None:
    metric = graded("answer", "Is it true?", judge="no-such-model")
    with pytest.raises(ModelError, match="provider"):
        metric(EXAMPLE, PREDICTED)
    with pytest.raises(ValueError, match="levels"):
        graded("answer", "Is it true?", judge="openai/judge", levels=1)


def picks(better: Callable[[str, str], str]) -> Callable[[str], str]:
    def reply(text: str) -> str:
        lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        return json.dumps({"better": better(lines["First"], lines["Second"])})

    return reply


@pytest.mark.parametrize(
    ("better", "expected"),
    [
        (lambda first, second: "first" if "sea" in first else "second", 1.0),
        (lambda first, second: "second" if "sea" in first else "first", 0.0),
        (lambda first, second: "first", 0.5),  # goes by the place alone
        (lambda first, second: "tie", 0.5),
        (lambda first, second: "first" if "sea" in first else "tie", 0.75),
    ],
)
def test_a_comparison_is_made_in_both_orders(better: Callable[[str, str], str], expected: float) -> None:
    lm, engine = judge(picks(better))
    assert preferred("answer", "Which is better?", judge=lm)(EXAMPLE, PREDICTED) == expected
    assert len(engine.requests) == 2


def test_the_program_around_a_judge_keeps_its_own_settings() -> None:
    lm, _ = judge(grade(3))
    adapter = dspy.ChatAdapter()
    with dspy.context(adapter=adapter):
        graded("answer", "Is it true?", judge=lm)(EXAMPLE, PREDICTED)
        assert dspy.settings.adapter is adapter


def test_kappa_of_a_known_table() -> None:
    # 20 both yes, 15 both no, 5 only the human yes, 10 only the judge yes: 0.7 against 0.5 by chance.
    human = ["yes"] * 25 + ["no"] * 25
    judged = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(human, judged)
    assert (found.observed, found.expected, found.n) == (0.7, 0.5, 50)
    assert found.kappa == pytest.approx(0.4)
    assert found.low < 0.2
    assert found.high > 0.55


def test_full_agreement_on_few_examples_is_not_certain() -> None:
    found = agreement([1, 2] * 10, [1, 2] * 10)
    assert found.kappa == found.high == 1.0
    assert 0.5 < found.low < 0.75


def test_the_interval_holds_its_level_where_raters_nearly_always_agree() -> None:
    random, kappa, share = np.random.default_rng(0), 0.9, np.array([0.2, 0.8])
    joint = kappa * np.diag(share) + (1 - kappa) * np.outer(share, share)
    held = 0
    for _ in range(400):
        cells = random.choice(4, size=60, p=joint.ravel())
        found = agreement([int(cell) // 2 for cell in cells], [int(cell) % 2 for cell in cells])
        held += found.low <= kappa <= found.high
    assert held / 400 >= 0.92


labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=50)


@given(labels)
def test_agreement_is_symmetric_and_in_its_range(pairs: list[tuple[int, int]]) -> None:
    human, judged = [one for one, _ in pairs], [other for _, other in pairs]
    if len({*human, *judged}) == 1:
        with pytest.raises(ValueError, match="same"):
            agreement(human, judged)
        return
    found = agreement(human, judged)
    assert -1 <= found.low <= found.kappa <= found.high <= 1
    assert found == agreement(judged, human)


def test_what_cannot_be_compared_is_an_error() -> None:
    for human, judged in (([1], [1, 2]), ([], [])):
        with pytest.raises(ValueError, match="one pair per example"):
            agreement(human, judged)
