"""The exact texts and how replies to them are read: what a user sees in a report and an export."""

from __future__ import annotations

from typing import Any, Literal

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from optimizers.prompting.renderings import rendering


class Sentiment(dspy.Signature):
    """Say how the review feels."""

    review_text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


REASONED = Sentiment.prepend("reasoning", dspy.OutputField(), str)
ANSWERED = dspy.Signature("question -> answer", "Answer.")
DEMOS = [
    {"review_text": "It broke\n\n after a day.", "sentiment": "Negative"},
    {"review_text": "Great", "sentiment": "positive"},
]
INPUTS = {"review_text": "So so"}
TEXT = """Say how the review feels.

Review text: It broke after a day.
Sentiment: negative

Review text: Great
Sentiment: positive

Review text: So so
Sentiment:"""


def contents(name: str, signature: type[dspy.Signature], demos: list[dict[str, Any]]) -> list[str]:
    messages = rendering(name).format(signature, demos, dict.fromkeys(signature.input_fields, "So so"))
    return [message["content"] for message in messages]


def test_completion_is_lines_and_a_cue_without_a_space() -> None:
    assert contents("completion", Sentiment, DEMOS) == [TEXT]


def test_compact_is_the_same_text_as_one_turn() -> None:
    assert contents("compact", Sentiment, DEMOS) == [TEXT]


def test_turns() -> None:
    assert contents("turns", Sentiment, DEMOS) == [
        "Say how the review feels.",
        "Review text: It broke after a day.",
        "negative",
        "Review text: Great",
        "positive",
        "Review text: So so",
    ]


def test_json_names_keys_and_values_and_keeps_line_breaks() -> None:
    system, first, answer, *_ = contents("json_object", Sentiment, DEMOS)
    assert system.startswith("Say how the review feels.\n\n")
    assert '"sentiment" (one of "positive", "negative")' in system
    assert first == "Review text: It broke\n\n after a day."
    assert answer == '{"sentiment":"negative"}'


def test_an_empty_instruction_leaves_nothing_behind() -> None:
    # DSPy replaces an empty instruction with its own default; a blank one it keeps.
    bare = Sentiment.with_instructions(" ")
    assert contents("completion", bare, []) == ["Review text: So so\nSentiment:"]
    assert contents("turns", bare, []) == ["Review text: So so"]


@pytest.mark.parametrize("name", ["compact", "turns"])
def test_several_outputs_are_asked_for_by_label(name: str) -> None:
    assert "Reasoning, Sentiment (positive or negative)." in contents(name, REASONED, [])[0]


@pytest.mark.parametrize("name", ["completion", "compact", "turns"])
@pytest.mark.parametrize(
    "reply",
    [
        " positive",
        "Positive.",
        "positive\nReview text: another",
        "positive\n\nBecause it is.",
        "Sentiment: positive",
        "sentiment : Positive",
    ],
)
def test_text_replies_that_are_read(name: str, reply: str) -> None:
    assert rendering(name).parse(Sentiment, reply) == {"sentiment": "positive"}


@pytest.mark.parametrize("name", ["completion", "compact", "turns"])
def test_labelled_lines_are_read_in_order(name: str) -> None:
    adapter = rendering(name)
    wanted = {"reasoning": "It says: nice.\nTwice.", "sentiment": "positive"}
    assert (
        adapter.parse(REASONED, "It says: nice.\nTwice.\n\nSentiment: positive\n\nReview text: x") == wanted
    )
    assert adapter.parse(REASONED, "Reasoning: It says: nice.\nTwice.\nSentiment: positive") == wanted
    for reply in ("It is nice.", "positive", "Nice.\nSentiment:", "Nice.\nSentiment: so-so"):
        with pytest.raises(AdapterParseError):
            adapter.parse(REASONED, reply)


def test_where_a_free_text_ends() -> None:
    reply = "Paris.\nOf course.\n\nMore.\nQuestion: next?"
    assert rendering("completion").parse(ANSWERED, reply) == {"answer": "Paris.\nOf course."}
    assert rendering("compact").parse(ANSWERED, reply) == {"answer": "Paris.\nOf course."}
    assert rendering("turns").parse(ANSWERED, reply) == {"answer": "Paris.\nOf course.\n\nMore."}


def test_stop_texts() -> None:
    def stops(name: str, signature: type[dspy.Signature]) -> tuple[str, ...]:
        return rendering(name).prompt(signature, [], dict.fromkeys(signature.input_fields, "x")).stop

    assert stops("completion", Sentiment) == ("\n",)
    assert stops("completion", ANSWERED) == ("\n\n", "\nQuestion:")
    assert stops("turns", ANSWERED) == ("\nQuestion:",)
    # Without a grammar to keep it off blank lines, a chat model must not be stopped at one.
    assert stops("compact", ANSWERED.append("tags", dspy.OutputField(), list[str])) == ()


@pytest.mark.parametrize("reply", ['{"sentiment":"positive"}', ' {"sentiment": "positive"}\n'])
def test_json_may_stand_in_a_fence(reply: str) -> None:
    adapter = rendering("json_object")
    for text in (reply, f"```json\n{reply}\n```", f"```\n{reply}\n```\n"):
        assert adapter.parse(Sentiment, text) == {"sentiment": "positive"}
    for text in (
        f"Here: {reply}",
        f"{reply}\nDone.",
        '{"sentiment":"Positive"}',
        "{'sentiment': 'positive'}",
    ):
        with pytest.raises(AdapterParseError):
            adapter.parse(Sentiment, text)


def test_outputs_with_defaults_may_be_left_out() -> None:
    signature = ANSWERED.append("note", dspy.OutputField(default="none"), str)
    for name, reply in (("turns", "Answer: yes"), ("compact", "yes"), ("json_object", '{"answer":"yes"}')):
        assert rendering(name).parse(signature, reply) == {"answer": "yes", "note": "none"}
