"""Texts as vectors: of length 1, alike where they share what tells, whatever the script."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from optimizers.prompting.proposals.tfidf import vectors
from optimizers.prompting.proposals.words import words

TEXTS = st.lists(st.text(alphabet="ab cd.\u4e2d\u6587", max_size=12), min_size=1, max_size=8)


@given(texts=TEXTS)
def test_likeness_is_a_cosine(texts: list[str]) -> None:
    found = vectors(texts)
    likeness = (found @ found.T).toarray()
    assert likeness.min() >= 0
    assert likeness.max() <= 1 + 1e-9
    assert np.allclose(np.diag(likeness), [1.0 if words(text) else 0.0 for text in texts])


def test_a_rare_shared_word_tells_more_than_common_ones() -> None:
    texts = ["the screen is dim", "the sound is poor", "a dim lamp", *["the box is red"] * 10]
    likeness = (vectors(texts) @ vectors(texts).T).toarray()
    assert likeness[0, 2] > likeness[0, 3] > 0


def test_letters_case_forms_and_scripts() -> None:
    assert words("Don't STOP, \uff21 snake_case \u4e2d\u6587") == [
        "don", "t", "stop", "a", "snake", "case", "\u4e2d", "\u6587",
    ]  # fmt: skip
    likeness = (lambda v: (v @ v.T).toarray())(
        vectors(["\u4e2d\u6587\u597d", "\u6587\u4e2d", "\u4e2d\u6587"])
    )
    assert likeness[0, 2] > likeness[0, 1]
