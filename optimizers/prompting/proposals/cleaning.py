"""What a proposer model wrote, made fit for use: cleaned, capped, and no copy of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from optimizers.prompting.proposals.words import words
from optimizers.records.json_values import whole

MOST_CHARACTERS = 1500
"""Longest instruction, some 400 tokens: every call pays for it, and a small model loses the thread."""

FEWEST_WORDS = 3
"""A shorter text says no task."""

COPIED_RUN = 12
"""Words in a row that no instruction shares with an example by chance."""

COPIED_SHARE = 0.6
"""Share of an example's runs of five words from which an instruction holds the example."""

RUN = 5

_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w-]*[ \t]*$", re.MULTILINE)
_PREAMBLE = re.compile(
    r"""\s*(?:
        (?:sure|certainly|of\ course|okay|ok|absolutely)[!.,:]
      | here(?:'s|\u2019s|\ is|\ are)\b[^\n:]{0,120}(?::|\n)
      | [*#\s]*(?:(?:final|new|improved|revised|rewritten|proposed)\s+)?
        (?:instructions?|prompt)[* \t]*[:\n][*]*
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\u3002|\n")


def tagged(reply: str, tag: str) -> tuple[str, ...]:
    """The texts a reply has between ``<tag>`` and ``</tag>``; what it says in thought does not count."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", _THOUGHT.sub("", reply), re.DOTALL | re.IGNORECASE)
    return tuple(text.strip() for text in found)


def cleaned(text: str) -> str:
    """A text without what models put around it, and within :data:`MOST_CHARACTERS`.

    Code fences, a preamble such as "Here is the instruction:" and quotes around the whole are
    taken off. A text that is too long ends at its last sentence or line that fits.

    Returns:
        The text; "" when it holds no instruction, or one too long to be cut at a sentence.
    """
    text = _FENCE.sub("", whole(text)).strip()
    former = None
    while text != former:
        former = text
        text = _PREAMBLE.sub("", text, count=1) if _PREAMBLE.match(text) else text
        if len(text) > 6 and text.startswith("```") and text.endswith("```"):
            text = text[3:-3]
        if len(text) > 1 and text[0] + text[-1] in _QUOTES and text[0] not in text[1:-1]:
            text = text[1:-1]
        text = text.strip()
    text = re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", text)
    if len(text) > MOST_CHARACTERS:
        ends = [found.end() for found in _SENTENCE_END.finditer(text) if found.end() <= MOST_CHARACTERS]
        text = text[: ends[-1]].strip() if ends else ""
    return text if len(words(text)) >= FEWEST_WORDS else ""


def copies(text: str, inputs: Sequence[str]) -> bool:
    """Whether a text holds an example, which would teach the prompt its answer and nothing else.

    Args:
        text: The text to judge.
        inputs: The examples' inputs as texts.

    Returns:
        True when it shares :data:`COPIED_RUN` words in a row with an input, or at least
        :data:`COPIED_SHARE` of an input's runs of five words. An input of fewer than five words
        is never copied: its words are anyone's.
    """
    said = words(text)
    long, short = set(_runs(said, COPIED_RUN)), set(_runs(said, RUN))
    for given in map(words, inputs):
        runs = set(_runs(given, RUN))
        if runs and len(runs & short) >= COPIED_SHARE * len(runs):
            return True
        if long and any(run in long for run in _runs(given, COPIED_RUN)):
            return True
    return False


def accepted(texts: Sequence[str], inputs: Sequence[str], *, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The texts that can be used, cleaned, in order.

    Args:
        texts: As a model wrote them.
        inputs: The examples' inputs as texts, which none may copy.
        known: Instructions there are already. A text that differs from one of these, or from
            one before it, in letter case and punctuation alone is left out.
    """
    seen = {tuple(words(text)) for text in known}
    kept = []
    for text in map(cleaned, texts):
        said = tuple(words(text))
        if text and said not in seen and not copies(text, inputs):
            seen.add(said)
            kept.append(text)
    return tuple(kept)


def shortened(text: str, most: int) -> str:
    """A text on one line, its middle left out where it is longer than ``most`` characters."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = 2 * most // 3
    return f"{line[:head].rstrip()} ... {line[len(line) - (most - head) :].lstrip()}"


def _runs(said: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(said[start : start + length]) for start in range(len(said) - length + 1))
