"""Votes: the majority, the first of equals, the mean of numbers, and calls that differ."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompting.techniques.scripted import Scripted

from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.self_consistency import agreed

Letter = Literal["a", "b", "c"]


def of(annotation: Any) -> type[dspy.Signature]:
    made = dspy.Signature("question -> dummy").delete("dummy")
    return made.append("kind", dspy.OutputField(), annotation)


def voted(annotation: Any, values: list[Any]) -> Any:
    return agreed(of(annotation), [{"kind": value} for value in values])["kind"]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_the_most_frequent_label_wins_and_of_equals_the_first(labels: list[str]) -> None:
    counts = Counter(labels)
    winner = voted(Letter, labels)
    assert counts[winner] == max(counts.values())
    assert labels.index(winner) == min(labels.index(x) for x in counts if counts[x] == counts[winner])


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9))
def test_a_real_number_is_the_mean(numbers: list[float]) -> None:
    assert min(numbers) <= voted(float, numbers) <= max(numbers)
    assert voted(float, [numbers[0]] * 3) == numbers[0]


def test_a_real_number_is_averaged() -> None:
    assert voted(float, [1.0, 2.0, 6.0]) == 3.0


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=9), st.integers(-50, 50))
def test_a_whole_number_most_replies_give_wins_whatever_the_others_are(others: list[int], most: int) -> None:
    assert voted(int, [*others, *[most] * (len(others) + 1)]) == most


def test_texts_agree_but_for_case_and_spaces() -> None:
    assert voted(str, ["Paris", "Rome", "paris "]) == "Paris"
    assert voted(str, ["Bern", "Rome", "Paris"]) == "Bern"


def test_none_is_an_answer_like_others() -> None:
    assert voted(Letter | None, [None, "a", None]) is None
    assert voted(int | None, [None, 4, 6]) == 4
    assert voted(int | None, [None, None, 6]) is None


def test_the_reasoning_shown_is_one_that_led_to_the_answer() -> None:
    made = TECHNIQUES["chain_of_thought"].transform(of(Letter))
    replies = [{"reasoning": f"because {n}", "kind": kind} for n, kind in enumerate("bacac")]
    assert agreed(made, replies) == {"reasoning": "because 1", "kind": "a"}


def test_every_call_has_a_seed_of_its_own_and_broken_replies_do_not_vote() -> None:
    technique = TECHNIQUES["self_consistency_5"]
    answers = iter([None, {"kind": "b"}, None, {"kind": "a"}, {"kind": "a"}])
    predict = Scripted(of(Letter), answers)
    assert technique.run is not None
    assert technique.run(predict, {"question": "?"}) == {"kind": "a"}
    assert [settings["seed"] for *_, settings in predict.asked] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [3, 5, 9])
def test_it_works_with_and_without_reasoning(count: int) -> None:
    plain, reasoned = (TECHNIQUES[f"self_consistency_{count}{end}"] for end in ("", "_reasoned"))
    assert list(plain.transform(of(Letter)).output_fields) == ["kind"]
    assert list(reasoned.transform(of(Letter)).output_fields) == ["reasoning", "kind"]
    assert plain.calls(of(Letter)) == reasoned.calls(of(Letter)) == count
    assert plain.sampling == reasoned.sampling == "needed"
