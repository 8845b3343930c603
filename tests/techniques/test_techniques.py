"""Techniques: what the model then sees, and room enough for what it must write."""

from __future__ import annotations

from typing import Any, Literal

import dspy
import pytest

from optimizers.renderings import rendering
from optimizers.techniques import TECHNIQUES


class Sentiment(dspy.Signature):
    """Say how the review feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


DIRECT, THOUGHT = TECHNIQUES["direct"], TECHNIQUES["chain_of_thought"]


def test_direct_changes_nothing_and_always_applies() -> None:
    assert DIRECT.applies(Sentiment)
    assert DIRECT.transform(Sentiment) is Sentiment


def test_chain_of_thought_is_dspys_own() -> None:
    ours, theirs = THOUGHT.transform(Sentiment), dspy.ChainOfThought(Sentiment).predict.signature
    assert ours.dump_state() == theirs.dump_state()
    assert list(ours.output_fields) == ["reasoning", "sentiment"]


def test_a_signature_that_reasons_already_is_left_alone() -> None:
    assert THOUGHT.applies(Sentiment)
    assert not THOUGHT.applies(THOUGHT.transform(Sentiment))
    assert not THOUGHT.applies(
        Sentiment.with_updated_fields("review").prepend("reasoning", dspy.InputField(), str)
    )


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (Literal["positive", "negative"], ["positive", "negative"]),
        (Literal["日本語のとても長い値", "x"], ["日本語のとても長い値"]),
        (bool, [True, False]),
        (Literal["a", "b"] | None, ["a", None]),
        (int, [-999_999_999_999_999_999]),
    ],
)
def test_a_closed_answer_is_never_cut(annotation: Any, values: list[Any]) -> None:
    signature = (
        dspy.Signature("review -> dummy").delete("dummy").append("kind", dspy.OutputField(), annotation)
    )
    signature = signature.append("second_kind", dspy.OutputField(), annotation)
    (limit,) = DIRECT.reply_tokens(signature)
    for value in values:
        demo = {"review": "x", "kind": value, "second_kind": value}
        answer = rendering("completion").format(signature, [demo], {"review": "y"})[0]["content"]
        reply = answer.split("\nKind:")[1].split("\n\n")[0]
        # A token holds at least one byte; one more ends the reply.
        assert len(reply.encode()) + 1 <= limit


def test_a_short_closed_answer_stays_a_short_call() -> None:
    assert DIRECT.reply_tokens(Sentiment) == (12,)


def test_free_text_and_reasoning_have_choices() -> None:
    free = dspy.Signature("question -> answer")
    assert DIRECT.reply_tokens(free) == (64, 256, 512)
    short, long = THOUGHT.reply_tokens(Sentiment)
    assert short >= 128 + DIRECT.reply_tokens(Sentiment)[0]
    assert long - short == 128
    assert list(THOUGHT.reply_tokens(free)) == sorted(set(THOUGHT.reply_tokens(free)))
