"""Texts as words: what likeness and copying are judged by."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from optimizers.near_duplicates import UNSPACED

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
