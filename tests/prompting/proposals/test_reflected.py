"""Reflection: the request shows what failed and keeps what works, the reply is guarded."""

from __future__ import annotations

from typing import Literal

import dspy
from prompting.proposals.scripted import asked, proposer

from optimizers.prompting.proposals.reflected import MOST_FAILURES, Failure, reflect, reflection_request


class Sentiment(dspy.Signature):
    """Tell how the writer feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


TRAIN = [
    dspy.Example(review=f"what a joy {n} it was to wait", sentiment="negative").with_inputs("review")
    for n in range(12)
]
FAILURES = [
    Failure(
        inputs={"review": example.review + " and wait" * 300},
        output={"sentiment": "positive"},
        gold={"sentiment": "negative"},
        feedback="irony missed",
    )
    for example in TRAIN
]
OLD = "Tell how the writer feels."
NEW = "Tell how the writer feels, and read praise of a bad thing as blame."


def test_the_request_shows_the_failures_shortened() -> None:
    lm, engine = proposer(f"Irony.\n<instruction>{OLD}</instruction> <instruction>{NEW}</instruction>")
    assert reflect(lm, Sentiment, OLD, FAILURES, TRAIN, seed=0) == NEW
    request = asked(engine)
    assert OLD in request
    assert "Keep what works" in request
    assert request.count("answered: sentiment: positive") == MOST_FAILURES
    assert request.count("right: sentiment: negative") == MOST_FAILURES
    assert request.count("feedback: irony missed") == MOST_FAILURES
    assert max(map(len, request.splitlines())) < 600


def test_a_reply_that_did_not_parse_is_shown_as_it_came() -> None:
    failure = Failure(inputs={"review": "fine"}, output="I think\nit is", gold={})
    request = reflection_request(Sentiment, " ", [failure])
    assert "answered: I think it is" in request
    assert "Instruction:\n(none)" in request
    assert "feedback:" not in request


def test_copies_repeats_and_unreadable_replies_give_nothing() -> None:
    copies = [f"Know that {TRAIN[3].review} is negative.", f"Learn {FAILURES[0].inputs['review'][:200]}."]
    for text in (*copies, OLD, f'"{OLD.upper()}"', ""):
        lm, _ = proposer(f"<instruction>{text}</instruction>")
        assert reflect(lm, Sentiment, OLD, FAILURES, TRAIN, seed=0) is None
    assert reflect(proposer(NEW)[0], Sentiment, OLD, FAILURES, TRAIN, seed=0) is None


def test_without_failures_nobody_is_asked() -> None:
    lm, engine = proposer(f"<instruction>{NEW}</instruction>")
    assert reflect(lm, Sentiment, OLD, [], TRAIN, seed=0) is None
    assert engine.requests == []
