"""Texts as words: what likeness and copying are judged by."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Japanese, Chinese
)
"""Ranges of characters, for a regular expression, that are written with no space between words."""

_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_CHARACTER = re.compile(f"[{UNSPACED}]")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    In scripts that put no space between words, each character is one.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def terms(text: str) -> list[str]:
    """What texts are compared by: their words, and pairs of neighbours where words are characters."""
    found = words(text)
    pairs = [
        one + other
        for one, other in pairwise(found)
        if _CHARACTER.fullmatch(one) and _CHARACTER.fullmatch(other)
    ]
    return found + pairs
