"""Techniques: what the model then sees, and room enough for what it must write."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import dspy
import pytest
from pydantic import Field

from optimizers.prompting.renderings import rendering
from optimizers.prompting.renderings.constraints import most_characters
from optimizers.prompting.renderings.fields import label
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.technique import (
    THOUGHT_CHARACTERS,
    output_tokens,
    with_bounded_thoughts,
    with_instruction,
)


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
        (Annotated[str, Field(max_length=12)], ["東京都新宿区西新宿二丁目"]),
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
    assert len(THOUGHT.reply_tokens(Sentiment)) == 1
    assert len(THOUGHT.reply_tokens(free)) == 3


@pytest.mark.parametrize("name", ["chain_of_thought", "concise", "plan_then_answer"])
@pytest.mark.parametrize("shown", ["completion", "compact", "turns"])
def test_a_thought_is_bounded_and_leaves_room_for_the_answer(name: str, shown: str) -> None:
    technique = TECHNIQUES[name]
    thinking = technique.transform(Sentiment)
    thought, answer = thinking.output_fields
    most = most_characters(thinking.output_fields[thought])
    assert most is not None
    grammar = rendering(shown).prompt(thinking, [], {"review": "x"}).grammar
    assert grammar is not None
    assert rf"value0 ::= [^ \t\r\n] [^\r\n]{{0,{most - 1}}}" in grammar.splitlines()
    # A token holds at least one byte; one more ends the reply.
    longest = f"{label(thought)}: {'1' * most}\n{label(answer)}: negative"
    (limit,) = technique.reply_tokens(Sentiment)
    assert len(longest) + 1 <= limit
    assert rendering(shown).read(thinking, longest)[answer] == "negative"


@pytest.mark.model
@pytest.mark.parametrize("shown", ["completion", "json_object"])
def test_a_small_model_that_goes_on_and_on_comes_to_the_answer(shown: str) -> None:
    from optimizers.models.lm import language_model
    from optimizers.models.resolve import model
    from optimizers.models.sampling import Sampling

    technique = TECHNIQUES["plan_then_answer"]
    thinking = with_instruction(technique.transform(Sentiment), Sentiment.instructions, technique.words)
    sampling = Sampling(max_tokens=technique.reply_tokens(Sentiment)[0] + 48)
    lm = language_model(model("local/smollm2-135m-instruct"), sampling)
    (reply,) = rendering(shown)(lm, {}, thinking, [], {"review": "It broke after a day."})
    assert reply["sentiment"] in ("positive", "negative")
    assert len(reply["plan"]) <= (most_characters(thinking.output_fields["plan"]) or 0)


def test_a_users_own_chain_of_thought_is_bounded_and_leaves_room_for_the_answer() -> None:
    own = dspy.ChainOfThought("question -> answer: Literal['yes', 'no']").predict.signature
    bounded = with_bounded_thoughts(own)
    assert most_characters(bounded.output_fields["reasoning"]) == THOUGHT_CHARACTERS
    assert bounded.instructions == own.instructions
    (limit,) = output_tokens(bounded)
    assert limit > THOUGHT_CHARACTERS + len("yes")
    assert with_bounded_thoughts(bounded) is bounded
