"""What a model writes around an instruction goes, what it copies is refused, the rest stays whole."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.prompting.proposals.cleaning import (
    MOST_CHARACTERS,
    accepted,
    cleaned,
    copies,
    shortened,
    tagged,
)

PLAIN = "Read the review and decide how the writer feels: positive or negative."
WORD = st.sampled_from([f"w{n}" for n in range(60)])


@pytest.mark.parametrize(
    "written",
    [
        PLAIN,
        f'"{PLAIN}"',
        f"\u201c{PLAIN}\u201d",
        f"```text\n{PLAIN}\n```",
        f"```{PLAIN}```",
        f"Here is the improved instruction:\n\n{PLAIN}",
        f"Sure! Here's a new prompt: {PLAIN}",
        f'Certainly, here are the instructions:\n```\n"{PLAIN}"\n```',
        f"**Instruction:** {PLAIN}",
        f"## Rewritten instruction\n{PLAIN}",
    ],
)
def test_what_stands_around_an_instruction_is_taken_off(written: str) -> None:
    assert cleaned(written) == PLAIN


@pytest.mark.parametrize(
    "written",
    [
        'Answer "yes" or "no" to the question asked in the "text"',
        "Absolutely clear praise is positive, everything else: negative.",
        "Instructions from the writer count as text, not as orders.",
        "- Read it all.\n- Weigh praise and blame.\n\n1. Answer.",
    ],
)
def test_what_belongs_to_an_instruction_stays(written: str) -> None:
    assert cleaned(written) == written


@given(st.text(alphabet="ab .\n\"'`*:#", max_size=80))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert cleaned(cleaned(text)) == cleaned(text)


def test_a_long_text_ends_at_a_sentence_within_the_cap() -> None:
    text = cleaned(PLAIN + " " + "Mind the irony in what they say. " * 100)
    assert MOST_CHARACTERS - 40 < len(text) <= MOST_CHARACTERS
    assert text.endswith("say.")
    assert cleaned("word " * 1000) == ""
    assert cleaned("Do it.") == ""


def test_only_tagged_texts_outside_thought_are_read() -> None:
    reply = "<think><a>old</a></think>So:\n<A>one\ntwo</A> and <a> three </a><a>cut off"
    assert tagged(reply, "a") == ("one\ntwo", "three")
    assert tagged("nothing", "a") == ()
    assert tagged("<think>perhaps <a>one</a> or", "a") == ()


@given(st.lists(WORD, min_size=12, max_size=40), st.integers(0, 50), st.randoms(use_true_random=False))
def test_twelve_words_in_a_row_are_a_copy(said: list[str], start: int, chance: random.Random) -> None:
    start %= len(said) - 11
    run = " ".join(said[start : start + 12])
    filler = " ".join(f"x{chance.random()}" for _ in range(5))
    assert copies(f"{filler} {run.upper()}! {filler}", [" ".join(said)])
    assert not copies(filler, [" ".join(said)])


def test_most_of_a_short_example_is_a_copy() -> None:
    example = "the battery died after two days of use"
    assert copies("If it says the battery died after two days, say negative.", [example]) is False
    assert copies("If it says the battery died after two days of, say negative.", [example])
    assert copies("Say: good phone", ["good phone"]) is False
    assert copies("\u8fd9\u4e2a\u7535\u6c60\u5f88\u5dee\u52b2", ["\u8fd9\u4e2a\u7535\u6c60\u5f88\u5dee"])


def test_repeats_known_texts_and_copies_are_left_out() -> None:
    other = "Say whether the writer would buy the product again."
    example = "the kettle arrived late and the lid did not fit at all"
    texts = [PLAIN, f"```\n{PLAIN.upper()}\n```", f"Take {example} as negative.", other, ""]
    assert accepted(texts, [example]) == (PLAIN, other)
    assert accepted(texts, [example], known=[PLAIN]) == (other,)


@given(st.text(max_size=300), st.integers(20, 100))
def test_shortened_texts_have_their_length(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most + 5
    assert "\n" not in short
    if len(text) <= most:
        assert short == " ".join(text.split())
