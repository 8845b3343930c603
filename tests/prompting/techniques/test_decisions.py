"""Techniques that decide between calls: which call follows which answer, and what demos they show."""

from __future__ import annotations

from typing import Any, Literal

import dspy
import pytest
from prompting.techniques.scripted import Scripted

from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.claims import claims

CHECK, YES_NO = TECHNIQUES["self_check"], TECHNIQUES["yes_no_per_label"]
COLORS = ("red", "green", "blue")


def of(annotation: Any, name: str = "color") -> type[dspy.Signature]:
    made = dspy.Signature("text -> dummy", "Name the color.").delete("dummy")
    return made.append(name, dspy.OutputField(), annotation)


Color = of(Literal["red", "green", "blue"])
DEMOS = [{"text": f"{color} {n}", "color": color} for n in range(4) for color in COLORS]


def run(technique: Any, signature: type[dspy.Signature], *answers: Any, demos: Any = ()) -> tuple[Any, Any]:
    predict = Scripted(signature, iter(answers), demos=demos)
    return technique.run(predict, {"text": "the sea"}), predict.asked


@pytest.mark.parametrize(
    ("answers", "color"),
    [(["yes"], "red"), (["no", "yes"], "green"), (["no", "no"], "blue"), ([None, "no"], "blue")],
)
def test_the_first_yes_wins_and_the_last_label_needs_none(answers: list[str | None], color: str) -> None:
    values, asked = run(YES_NO, Color, *[answer and {"answer": answer} for answer in answers])
    assert values == {"color": color}
    assert [inputs["question"] for inputs, *_ in asked] == [
        f'Is the color "{one}"?' for one in COLORS[: len(answers)]
    ]


def test_no_to_every_label_is_none_where_that_is_allowed() -> None:
    values, asked = run(YES_NO, of(Literal["red", "green"] | None), *[{"answer": "no"}] * 2)
    assert (values, len(asked)) == ({"color": None}, 2)
    assert YES_NO.calls(of(Literal["red", "green"] | None)) == 2


def test_yes_no_questions_share_their_demos_so_that_a_prefix_cache_holds_them() -> None:
    _, asked = run(YES_NO, Color, {"answer": "no"}, {"answer": "no"}, demos=DEMOS)
    (_, signature, first, _), (_, _, second, _) = asked
    assert first == second
    assert list(signature.input_fields) == ["text", "question"]
    for demo in first:
        assert (demo["answer"] == "yes") == (demo["question"] == f'Is the color "{demo["color"]}"?')


def test_yes_no_is_for_a_choice_of_a_few_labels() -> None:
    assert YES_NO.applies(Color)
    for other in (bool, str, int, Literal["one"], Literal[tuple("abcdefghi")]):
        assert not YES_NO.applies(of(other))
    assert not YES_NO.applies(dspy.Signature("question -> answer").with_updated_fields("answer", bool))


def test_an_answer_found_correct_stays_and_one_found_wrong_is_revised_once() -> None:
    first = {"color": "red"}
    kept, asked = run(CHECK, Color, first, {"verdict": "correct", "color": "blue"})
    assert kept == first
    inputs, signature, *_ = asked[1]
    assert inputs == {"text": "the sea", "proposed_color": "red"}
    assert list(signature.output_fields) == ["verdict", "color"]
    revised, asked = run(CHECK, Color, first, {"verdict": "wrong", "color": "blue"})
    assert (revised, len(asked)) == ({"color": "blue"}, 2)
    assert run(CHECK, Color, first, None)[0] == first


def test_a_check_is_shown_right_and_wrong_proposals() -> None:
    _, asked = run(CHECK, Color, {"color": "red"}, {"verdict": "correct", "color": "red"}, demos=DEMOS)
    shown = asked[1][2]
    assert {demo["verdict"] for demo in shown} == {"correct", "wrong"}
    for demo in shown:
        assert (demo["verdict"] == "correct") == (demo["proposed_color"] == demo["color"])
    _, asked = run(CHECK, of(str), {"color": "red"}, {"verdict": "correct", "color": "red"}, demos=DEMOS[:2])
    assert [demo["proposed_color"] for demo in asked[1][2]] == ["red", "green"]


@pytest.mark.parametrize("labels", [2, 3, 6])
def test_claims_give_no_label_away(labels: int) -> None:
    names = [f"label {n}" for n in range(labels)]
    demos = [{"kind": name} for _ in range(4) for name in names]
    made = list(claims(demos, "kind", str, names))
    assert len(made) == len(demos)
    assert all((claimed == demo["kind"]) == right for demo, claimed, right in made)
    for name in names:
        assert [right for demo, _, right in made if demo["kind"] == name].count(True) == 2
        assert [right for _, claimed, right in made if claimed == name].count(False) in (1, 2, 3)
