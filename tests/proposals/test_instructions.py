"""The instruction pool: the user's own text first, and enough distinct, sensible others."""

from __future__ import annotations

import re
from enum import Enum
from typing import Literal, Optional

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from optimizers.errors import UsageError
from optimizers.proposals.instructions import NAMED, PARTS, compose, compose_instructions


class Person(BaseModel):
    name: str
    age: int


class Urgency(Enum):
    LOW = "low"
    HIGH = "high"


class Sentiment(dspy.Signature):
    """Tell how the writer feels.

    Mind irony.
    """

    review: str = dspy.InputField(desc="one sentence from a product review.")
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Mail(dspy.Signature):
    """Sort the mail."""

    mailText: str = dspy.InputField()
    source_URL: str = dspy.InputField()
    is_spam: bool = dspy.OutputField(desc="whether it advertises")
    urgency: Optional[Urgency] = dspy.OutputField()  # noqa: UP045 - the older spelling must work too
    sender: Person = dspy.OutputField()
    keywords: list[str] = dspy.OutputField()
    price: float = dspy.OutputField()


SIGNATURES = [
    Sentiment,
    Mail,
    dspy.Signature("question -> answer"),
    dspy.Signature("question, context -> reasoning, answer: int"),
    dspy.Signature("a -> b: dict[str, float]", "Do it."),
    dspy.Signature("text -> label: Literal['x']"),
    dspy.Signature("text -> label", " "),
]


def pool(signature: type[dspy.Signature], **options: dict[str, str]) -> dict[str, str]:
    return {one.name: one.text for one in compose_instructions(signature, **options)}


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_pool_of_any_signature(signature: type[dspy.Signature]) -> None:
    instructions = compose_instructions(signature)
    assert instructions[0].name == "own"
    assert instructions[0].text == signature.instructions
    names, texts = [one.name for one in instructions], [one.text for one in instructions]
    assert len(instructions) >= 9
    assert len(set(names)) == len(set(texts)) == len(instructions)
    assert instructions == compose_instructions(signature)
    for one in instructions[1:]:
        assert one.text == one.text.strip()
        assert not re.search(r"\$\{|\bthe the\b|,,|\.\.|None|<class", one.text)
        for name in signature.output_fields if one.name != "own-criteria" else ():
            words = re.sub(r"[_A-Z]", " ", name).split()
            assert words[0].lower() in one.text.lower()


def test_the_task_is_said_in_one_sentence() -> None:
    assert pool(Sentiment)["task"] == (
        "Read the review (one sentence from a product review) and decide the sentiment: positive or negative."
    )
    assert pool(SIGNATURES[2])["task"] == "Read the question and give the answer."
    assert pool(Mail)["task"] == (
        'Read the mail text and the source URL and give "is spam" (whether it advertises), true or false; '
        "the urgency, low, high or none; the sender; the keywords; and the price."
    )


def test_label_parts_are_only_for_closed_outputs() -> None:
    about_labels = {"labels", "criteria", "own-criteria"}
    assert about_labels <= pool(Sentiment).keys()
    assert not about_labels & pool(SIGNATURES[2]).keys()
    assert "- positive\n- negative" in pool(Sentiment)["labels"]


def test_criteria_use_the_descriptions_given() -> None:
    described = pool(Sentiment, description_of_labels={"negative": "the writer regrets buying it"})
    assert "- negative: the writer regrets buying it" in described["criteria"]
    assert "- negative: the writer regrets buying it" in described["full"]
    assert re.search(r"^- positive: \S", described["criteria"], re.MULTILINE)


def test_many_labels_get_no_criteria_that_only_repeat_them() -> None:
    kinds = Literal[tuple(f"kind {number}" for number in range(40))]  # type: ignore[valid-type]
    signature = dspy.Signature({"text": (str, dspy.InputField()), "kind": (kinds, dspy.OutputField())})
    assert "criteria" not in pool(signature)
    assert "criteria" in pool(signature, description_of_labels={"kind 3": "the third"})


def test_output_rules_fit_the_type() -> None:
    rule = pool(Mail)["own-rule"]
    assert 'Write "is spam" as exactly one of these, with no other words: true, false.' in rule
    assert "Write the sender in full, with every part filled in: name, age." in rule
    assert "Write the keywords as a list" in rule
    assert "Write the price as a plain number" in rule


def test_pseudo_code_names_the_fields_as_the_signature_does() -> None:
    code = pool(Mail)["pseudo-code"]
    assert "def run(mailText, source_URL):" in code
    assert "return is_spam, urgency, sender, keywords, price" in code


@pytest.mark.parametrize("signature", SIGNATURES)
def test_named_instructions_are_made_of_parts(signature: type[dspy.Signature]) -> None:
    named = pool(signature)
    assert named.keys() - {"own"} <= NAMED.keys()
    for name in named.keys() - {"own"}:
        assert compose(signature, NAMED[name]).text == named[name]
        assert compose(signature, NAMED[name]).name == name


SHOWN = {
    "own": "Mind irony.",
    "brief": "",  # gives way to the user's own text and to the procedure
    "pseudo-code": "def run(review):",
    "rule-first": "Write the sentiment as exactly one of these",
    "role": "You are an experienced annotator",
    "audience": "Others act on the sentiment without seeing the review.",
    "labels": "",  # gives way to the criteria
    "criteria": "- positive: ",
    "steps": "1. Read the review to the end.",
    "principles": "- Always give the sentiment",
    "rule": "Write the sentiment as exactly one of these",
}


@given(parts=st.frozensets(st.sampled_from(PARTS)))
def test_every_set_of_parts_is_an_instruction_that_shows_them(parts: frozenset[str]) -> None:
    text = compose(Sentiment, parts).text
    for part in parts:
        assert SHOWN[part] in text
    absent = {part for part in PARTS if SHOWN[part] and part not in parts} - {"rule", "rule-first"}
    assert not any(SHOWN[part] in text for part in absent)
    assert text.count(SHOWN["rule"]) == bool(parts & {"rule", "rule-first"})
    assert "positive" in text or parts & {"own"}
    assert text == text.strip()
    assert not re.search(r"\n\n\n| \n|  (?! )\b", text.split("def run")[0])


def test_parts_about_labels_say_nothing_without_labels() -> None:
    task = compose(SIGNATURES[2], frozenset())
    assert task.name == "task"
    assert compose(SIGNATURES[2], frozenset({"labels"})).text == task.text
    assert compose(SIGNATURES[2], frozenset({"audience", "role"})).name == "role+audience"


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UsageError, match="no part 'tone'"):
        compose(Sentiment, frozenset({"tone", "role"}))
