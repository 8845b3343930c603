"""Near-duplicates: every pair is found that the definition names, in any script, and in seconds."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.task.data.near_duplicates import alike_across, group_leaders, token_sets

WORDS = [f"word{number}" for number in range(4000)]
HANZI = [chr(0x4E00 + number) for number in range(3000)]


def sentences(count: int, length: int, *, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.sample(WORDS, length)) for _ in range(count)]


def chinese(count: int, length: int) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.sample(HANZI, length)) for _ in range(count)]


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(5, 120), seed=st.integers(0, 1000))
def test_no_pair_across_parts_is_missed_or_made_up(length: int, seed: int) -> None:
    draw = random.Random(seed)
    others = sentences(12, length, seed=seed)
    texts = []
    for other in others:
        words = other.split()
        kept = draw.sample(words, draw.randint(max(1, length * 8 // 10), length))
        texts.append(" ".join(kept + draw.sample(WORDS, draw.randint(0, length // 8))))
    # Words of a few texts only, so that none counts as a template's.
    telling = token_sets(dict.fromkeys([*texts, *others, *sentences(150, 5, seed=seed + 1)]))
    expected = {
        text
        for text in texts
        if any(telling[text] and jaccard(telling[text], telling[other]) >= 0.9 - 1e-12 for other in others)
    }
    assert alike_across(telling, texts, others) == expected


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_group_is_what_its_leader_is_alike_to(seed: int) -> None:
    draw = random.Random(seed)
    texts = sentences(60, 20, seed=seed)
    texts += [" ".join([*text.split()[1:], "extra"]) for text in draw.sample(texts, 20)]
    leaders = group_leaders(token_sets(texts))
    telling = token_sets(texts)
    for text, leader in leaders.items():
        assert leaders[leader] == leader
        assert text == leader or jaccard(telling[text], telling[leader]) >= 0.9
    draw.shuffle(texts)
    assert group_leaders(token_sets(texts)) == leaders


def test_the_same_text_is_found_however_short() -> None:
    texts = ["yes", "no", *sentences(50, 8)]
    assert alike_across(token_sets(texts), ["yes", "no"], ["yes"]) == {"yes"}


def test_chinese_texts_with_one_character_more_are_alike() -> None:
    texts = chinese(60, 30)
    near = [text + "吗" for text in texts[:20]]
    telling = token_sets([*texts, *near])
    assert alike_across(telling, near, texts) == set(near)
    assert alike_across(telling, texts[30:], texts[:30]) == set()


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("portable kettle replacement", "portable kettle replacements", True),
        ("portable kettle replacement", "portable radio replacement", False),
        ("12 plus 350", "12 plus 351", False),
        ("lamp", "lamps", False),
    ],
)
def test_short_texts_are_compared_by_their_characters(one: str, other: str, alike: bool) -> None:
    telling = token_sets([one, other, *sentences(60, 8)])
    assert (alike_across(telling, [one], [other]) == {one}) is alike


def test_a_shared_template_makes_nothing_alike() -> None:
    preamble = " ".join(f"rule{number}" for number in range(400))
    long = [f"{preamble} {text}" for text in sentences(100, 12)]
    short = [f"请判断这个词的意思 {text}" for text in chinese(100, 3)]
    for texts in (long, short):
        leaders = group_leaders(token_sets(texts))
        assert all(text == leader for text, leader in leaders.items())


def test_members_of_different_groups_that_are_alike_are_found_across_parts() -> None:
    # A ladder of texts, each with one word more: some neighbours have different leaders.
    ladder = [" ".join(WORDS[:length]) for length in range(20, 40)]
    telling = token_sets([*ladder, *sentences(200, 12)])
    leaders = group_leaders(telling)
    apart = [(a, b) for a, b in pairwise(ladder) if leaders[a] != leaders[b]]
    assert apart
    for one, other in apart:
        assert alike_across(telling, [one], [other]) == {one}


def test_twenty_thousand_texts_take_seconds() -> None:
    texts = sentences(20_000, 20)
    start = time.process_time()
    telling = token_sets(texts)
    leaders = group_leaders(telling)
    found = alike_across(telling, texts[1000:], texts[:1000])
    assert time.process_time() - start < 10
    assert len(set(leaders.values())) == 20_000
    assert found == set()
