"""Rules leave what a text says: they are repeatable, change something, and keep its words where they must."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.evaluation.perturbations.text import ASIDES, FILLER, LONG_WORDS, RULES, Rule

texts = st.text(min_size=1, max_size=200).filter(lambda text: any(map(str.isalpha, text)))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


@given(texts, st.sampled_from(sorted(RULES)), st.integers(0, 9))
def test_a_rule_gives_the_same_for_the_same_seed(text: str, name: str, seed: int) -> None:
    assert RULES[name](text, Random(seed)) == RULES[name](text, Random(seed))


@given(texts, st.sampled_from(["aside", "very long"]), st.integers(0, 9))
def test_what_is_put_beside_a_text_leaves_it_whole(text: str, name: str, seed: int) -> None:
    assert text in RULES[name](text, Random(seed))


@given(texts, st.integers(0, 9))
def test_white_space_alone_changes(text: str, seed: int) -> None:
    changed = RULES["white space"](text, Random(seed))
    assert changed.split() == text.split()
    assert changed != text


@given(st.text("abcdefghij klmnop", min_size=30, max_size=200).filter(lambda t: t.strip()), st.integers(0, 9))
def test_typos_are_few(text: str, seed: int) -> None:
    changed = RULES["typos"](text, Random(seed))
    assert abs(len(changed) - len(text)) <= max(1, round(0.06 * len(text)))
    assert changed.count(" ") == text.count(" ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It's very small, isn't it?", "It is really little, is not it?"),
        ("I don\u2019t buy it.", "I do not purchase it."),
        ("A bigger smallpox", None),
    ],
)
def test_wordings_are_whole_words_with_their_case(text: str, said: str | None) -> None:
    changed = RULES["wording"](text, Random(0))
    assert changed == said if said else changed.endswith(f": {text}")


def test_very_long_is_long_and_an_aside_is_one_sentence() -> None:
    rules: dict[str, Rule] = dict(RULES)
    assert len(rules["very long"]("Short.", Random(0)).split()) > LONG_WORDS
    assert any(rules["aside"]("Short.", Random(0)).replace("Short.", "").strip() == one for one in ASIDES)


def test_what_is_added_holds_no_figures_a_task_could_take_for_its_own() -> None:
    assert not re.search(r"\d", " ".join([*ASIDES, *FILLER]))
