"""Metrics of free text: word overlap, a text that must occur, a pattern that must match."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from typing import Any

from metrics.fields import MISSING, Metric, accepted, named, predicted

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def token_f1(field: str) -> Metric:
    """A metric of the words that a predicted text shares with the labelled one.

    The F1 of SQuAD: harmonic mean of precision and recall over words, repeats counted
    (Rajpurkar, Zhang, Lopyrev & Liang, "SQuAD", EMNLP 2016, section 6.1), on texts
    normalised as in :func:`normalised`. Where the label is a list of accepted texts, the
    best of them counts. Two texts without any word agree.

    Args:
        field: Output field to compare.

    Returns:
        ``metric(example, pred, trace=None)``, from 0.0 to 1.0. A field that the prediction
        lacks scores 0.0.
    """

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, field)
        if value is MISSING or value is None:
            return 0.0
        return max((_f1(text, str(value)) for text in accepted(example[field])), default=0.0)

    return named(metric, f"token_f1({field})")


def contains(field: str) -> Metric:
    """A metric that is 1.0 when the labelled text occurs in the predicted one as whole words, else 0.0.

    Both are normalised as in :func:`normalised`. Where the label is a list of accepted
    texts, any of them will do. A label without any word is found nowhere.

    Args:
        field: Output field to look in, whose label is what to look for.
    """

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, field)
        if value is MISSING or value is None:
            return 0.0
        found = f" {normalised(str(value))} "
        wanted = (normalised(text) for text in accepted(example[field]))
        return float(any(text and f" {text} " in found for text in wanted))

    return named(metric, f"contains({field})")


def matches(field: str, pattern: str) -> Metric:
    """A metric that is 1.0 when the whole predicted text matches a regular expression, else 0.0.

    White space around the text does not count; ``.`` matches line breaks too, so that
    ``.*word.*`` looks anywhere.

    Args:
        field: Output field to look at.
        pattern: Regular expression in Python's notation.

    Raises:
        ValueError: The pattern is no regular expression.
    """
    try:
        compiled = re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"matches({field!r}, {pattern!r}): no regular expression: {error}") from error

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, field)
        if value is MISSING or value is None:
            return 0.0
        return float(compiled.fullmatch(str(value).strip()) is not None)

    return named(metric, f"matches({field}, {pattern})")


def normalised(text: str) -> str:
    """A text as SQuAD compares it: lower case, no punctuation, no English articles, single spaces.

    Punctuation is what ASCII and Unicode call so, as in the evaluation of MLQA (Lewis, Oguz,
    Rinott, Riedel & Schwenk, ACL 2020), which carried SQuAD's to other languages.
    """
    bare = "".join(character for character in text.lower() if not _punctuation(character))
    return " ".join(_ARTICLES.sub(" ", bare).split())


def _punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _f1(label: str, text: str) -> float:
    wanted, found = Counter(normalised(label).split()), Counter(normalised(text).split())
    if not wanted or not found:
        return float(wanted == found)
    return 2 * (wanted & found).total() / (wanted.total() + found.total())
