"""The notation: a checked text names the signature's fields and labels, all of them and no others."""

from __future__ import annotations

from typing import Literal

import dspy
import pytest
from prompting.proposals.scripted import asked, proposer

from optimizers.prompting.proposals.notation import LEGEND, as_instruction, problems, write_notation


class Sentiment(dspy.Signature):
    """Tell how the writer feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()
    reason: str = dspy.OutputField()


TEXT = """IN review
OUT sentiment: positive|negative
OUT reason
# who writes
praise | thanks -> sentiment = positive
praise & irony -> sentiment = negative
else -> sentiment = positive
any -> reason = the words that decide"""

TRAIN = [
    dspy.Example(review=f"the lamp number {n} never worked for me", sentiment="negative", reason="r")
    .with_inputs("review")
    for n in range(5)
]  # fmt: skip


def test_a_sound_text_has_no_problems() -> None:
    assert problems(TEXT, Sentiment) == ()
    assert problems(TEXT.replace("\n", "\n\n"), Sentiment) == ()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("IN review", "IN text", "IN must name review."),
        ("OUT reason\n", "", "OUT must name sentiment, reason"),
        ("positive|negative", "good|bad", "Line 2 must list positive|negative."),
        (": positive|negative", "", "Line 2 must list positive|negative."),
        ("else -> sentiment = positive", "else -> sentiment = mixed", "none of positive, negative"),
        ("else -> sentiment", "else -> mood", "Line 7 gives mood, which is no output."),
        ("praise & irony -> sentiment = negative", "", "No rule gives sentiment = negative."),
        ("any -> reason = the words that decide", "", "No rule gives reason."),
        ("# who writes", "The writer feels.", "Line 4 is no IN, OUT, rule or comment."),
        ("# who writes", "#\n" * 40, "at most 40 fit"),
    ],
)
def test_each_problem_is_named(old: str, new: str, problem: str) -> None:
    assert any(problem in said for said in problems(TEXT.replace(old, new), Sentiment))


def test_many_labels_need_no_rule_each() -> None:
    kinds = tuple(f"k{n}" for n in range(20))
    signature = dspy.Signature(
        {"text": (str, dspy.InputField()), "kind": (Literal[kinds], dspy.OutputField())}  # type: ignore[valid-type]
    )
    text = f"IN text\nOUT kind: {'|'.join(kinds)}\nelse -> kind = k3"
    assert problems(text, signature) == ()


def test_optional_outputs_may_be_none() -> None:
    signature = dspy.Signature("text -> answer: Optional[bool]")
    text = "IN text\nOUT answer: true|false|none\nyes -> answer = true\nno -> answer = false"
    assert problems(text, signature) == ("No rule gives answer = none.",)
    assert problems(f"{text}\nelse -> answer = none", signature) == ()


def test_the_request_states_the_legend_and_a_sound_reply_is_used() -> None:
    lm, engine = proposer(f"```\n<notation>\n{TEXT}\n</notation>\n```")
    assert write_notation(lm, Sentiment, TRAIN, seed=0) == as_instruction(TEXT) == f"{LEGEND}\n\n{TEXT}"
    request = asked(engine)
    assert LEGEND in request
    assert "IN review\nOUT sentiment: positive|negative\nOUT reason\n" in request


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("review", "text"),
        TEXT.replace("# who writes", f"# as in {TRAIN[2].review}"),
    ],
)
def test_other_replies_give_nothing(text: str) -> None:
    lm, _ = proposer(f"<notation>{text}</notation>")
    assert write_notation(lm, Sentiment, TRAIN, seed=0) is None
    assert write_notation(proposer(TEXT)[0], Sentiment, TRAIN, seed=0) is None
