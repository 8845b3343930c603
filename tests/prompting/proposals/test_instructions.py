"""Instructions of parts: each shows its parts, names them, and reads as a person would write it."""

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
from optimizers.prompting.proposals.instructions import PARTS, compose, parts_for


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


def said(signature: type[dspy.Signature], *parts: str) -> str:
    return compose(signature, frozenset(parts)).text


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_parts_of_any_signature_give_distinct_texts_that_read_well(
    signature: type[dspy.Signature],
) -> None:
    known = parts_for(signature)
    sets = [frozenset(), *(frozenset({part}) for part in known - {"own"}), known - {"own"}]
    found = [compose(signature, parts) for parts in sets]
    assert found == [compose(signature, parts) for parts in sets]
    assert len({one.name for one in found}) == len(found)
    # A rule reads the same first or last where it is the only part but the task.
    assert len({one.text for one in found}) == len(found) >= 8
    for one in found:
        assert one.text == one.text.strip()
        assert not re.search(r"\$\{|\bthe the\b|,,|\.\.|None|<class", one.text)
        for name in signature.output_fields:
            words = re.sub(r"[_A-Z]", " ", name).split()
            assert words[0].lower() in one.text.lower()


@pytest.mark.parametrize("signature", SIGNATURES)
def test_parts_that_add_text_are_those_offered(signature: type[dspy.Signature]) -> None:
    known, task = parts_for(signature), said(signature)
    assert {part for part in PARTS if said(signature, part) != task} == known
    assert ("own" in known) == bool(signature.instructions.strip())
    if "own" in known:
        assert said(signature, "own") == signature.instructions


def test_the_task_is_said_in_one_sentence() -> None:
    assert said(Sentiment) == (
        "Read the review (one sentence from a product review) and decide the sentiment: positive or negative."
    )
    assert said(SIGNATURES[2]) == "Read the question and give the answer."
    assert said(Mail) == (
        'Read the mail text and the source URL and give "is spam" (whether it advertises), true or false; '
        "the urgency, low, high or none; the sender; the keywords; and the price."
    )


def test_label_parts_are_only_for_closed_outputs() -> None:
    about_labels = {"labels", "criteria"}
    assert about_labels <= parts_for(Sentiment)
    assert not about_labels & parts_for(SIGNATURES[2])
    assert "- positive\n- negative" in said(Sentiment, "labels")


def test_many_labels_get_no_criteria_that_only_repeat_them() -> None:
    kinds = Literal[tuple(f"kind {number}" for number in range(40))]  # type: ignore[valid-type]
    signature = dspy.Signature({"text": (str, dspy.InputField()), "kind": (kinds, dspy.OutputField())})
    assert "criteria" not in parts_for(signature)
    assert said(signature, "criteria") == said(signature, "labels")


@pytest.mark.parametrize("part", [part for part in PARTS if part != "own"])
def test_every_label_is_named_unless_the_users_own_words_replace_the_task(part: str) -> None:
    assert all(label in said(Sentiment, part) for label in ("positive", "negative"))
    if part != "brief":  # which leaves them out where there are several outputs
        assert all(label in said(Mail, part) for label in ("true", "false", "low", "high", "none"))


def test_output_rules_fit_the_type() -> None:
    rule = said(Mail, "own", "rule")
    assert 'Write "is spam" as exactly one of these, with no other words: true, false.' in rule
    assert "Write the sender in full, with every part filled in: name, age." in rule
    assert "Write the keywords as a list" in rule
    assert "Write the price as a plain number" in rule


def test_pseudo_code_names_the_fields_as_the_signature_does() -> None:
    code = said(Mail, "pseudo-code")
    assert "def run(mailText, source_URL):" in code
    assert "return is_spam, urgency, sender, keywords, price" in code


def test_an_instruction_is_named_by_its_parts() -> None:
    assert compose(Sentiment, frozenset()).name == "task"
    assert compose(Sentiment, frozenset({"rule", "own", "role"})).name == "own+role+rule"


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
    assert said(SIGNATURES[2], "labels") == said(SIGNATURES[2], "criteria") == said(SIGNATURES[2])


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UsageError, match="no part 'tone'"):
        compose(Sentiment, frozenset({"tone", "role"}))
