"""Rules that change a text and leave what it says: typos, case, white space, wording, surrounding text.

Libraries of such changes (garak, textattack) were looked at: they bring PyTorch and dozens of packages,
and pull word vectors or models at run time. These rules need neither, and a person can read what they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

Rule = Callable[[str, Random], str]
"""A text and where chance comes from -> the changed text, or the same where nothing applies."""

TYPO_SHARE = 0.06
"""Share of a text's letters that get a typo, at least one."""

LONG_WORDS = 200
"""Words put next to a text to make it very long: about 270 tokens, which fit together with demos."""

NEIGHBOURS: Mapping[str, str] = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "wa", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "xa",
}  # fmt: skip
"""Letter -> its neighbours on a keyboard."""

WORDINGS: Mapping[str, str] = {
    "don't": "do not", "doesn't": "does not", "didn't": "did not", "isn't": "is not", "wasn't": "was not",
    "aren't": "are not", "won't": "will not", "wouldn't": "would not", "can't": "cannot",
    "couldn't": "could not", "haven't": "have not", "hasn't": "has not", "it's": "it is", "i'm": "I am",
    "i've": "I have", "that's": "that is", "there's": "there is", "you're": "you are", "they're": "they are",
    "big": "large", "small": "little", "buy": "purchase", "bought": "purchased", "began": "started",
    "often": "frequently", "usually": "mostly", "very": "really", "fast": "quick", "quickly": "fast",
    "maybe": "perhaps", "several": "a number of", "many": "a lot of", "believe": "think",
    "difficult": "hard", "easy": "simple", "begins": "starts", "near": "close to", "however": "yet",
}  # fmt: skip
"""A wording -> another one for the same, in any context; used in one direction."""

OPENINGS = ("In other words: ", "To put it plainly: ", "That is to say: ")
"""Put before a text in which no wording was found to replace."""

ASIDES = (
    "The meeting room on the second floor has been booked.",
    "The next train leaves from the other platform.",
    "A new folder was put on the shelf by the door.",
    "The form has two pages and a cover sheet.",
    "Somebody will water the plants in the hall.",
)
"""Sentences that have nothing to do with anything asked."""

FILLER = (
    "This paragraph was added by the system and says nothing about the matter.",
    "It is part of every message and may be passed over.",
    "The text before and after it is what counts.",
    "Messages are kept for a while and are then removed.",
    "Please do not reply to this notice, as nobody reads the replies.",
    "Some mail programs show this notice at the top and some at the bottom.",
)
"""Sentences that a very long text is filled up with; without figures or names that a task could take."""


def typos(text: str, random: Random) -> str:
    """Some letters swapped with the next, left out, doubled, or the neighbouring key."""
    letters = [place for place, sign in enumerate(text) if sign.isalpha()]
    wanted = max(1, round(TYPO_SHARE * len(letters)))
    signs = list(text)
    for place in random.sample(letters, min(wanted, len(letters))):
        sign = text[place]
        near = NEIGHBOURS.get(sign.lower())
        kind = random.choice(("swap", "drop", "double", "near"))
        following = text[place + 1 : place + 2]
        if kind == "swap" and following.isalpha() and following != sign:
            signs[place], signs[place + 1] = signs[place + 1], signs[place]
        elif kind == "near" and near:
            other = random.choice(near)
            signs[place] = other.upper() if sign.isupper() else other
        elif kind == "drop" and len(letters) > 1:
            signs[place] = ""
        else:
            signs[place] = sign * 2
    return "".join(signs)


def letter_case(text: str, random: Random) -> str:
    """All capitals, or none: whichever it is not."""
    first, second = random.sample((text.upper(), text.lower()), 2)
    return first if first != text else second


def white_space(text: str, random: Random) -> str:
    """Spaces doubled, tabs and line ends among them, and some before and after."""
    words = text.split(" ")
    gaps = [random.choice((" ", "  ", "\t", " \n", "   ")) for _ in words]
    return " \n" + "".join(gap + word for gap, word in zip(gaps, words, strict=True)).lstrip() + "  \n"


def wording(text: str, random: Random) -> str:
    """Words and contractions replaced by others that mean the same; an opening where none is found."""

    def other(found: re.Match[str]) -> str:
        new = WORDINGS[found[0].lower().replace("\u2019", "'")]
        return new[:1].upper() + new[1:] if found[0][:1].isupper() else new

    known = "|".join(re.escape(word).replace("'", "['\u2019]") for word in WORDINGS)
    said = re.sub(rf"\b(?:{known})(?!\w)", other, text, flags=re.IGNORECASE)
    return said if said != text else random.choice(OPENINGS) + text


def aside(text: str, random: Random) -> str:
    """A sentence about something else before or after the text."""
    other = random.choice(ASIDES)
    return f"{other} {text}" if random.random() < 0.5 else f"{text} {other}"


def very_long(text: str, random: Random) -> str:
    """The text with paragraphs before or after it that say nothing."""
    sentences: list[str] = []
    words = 0
    while words < LONG_WORDS:
        sentences.append(FILLER[len(sentences) % len(FILLER)])
        words += len(sentences[-1].split())
    filler = " ".join(sentences)
    return f"{filler}\n\n{text}" if random.random() < 0.5 else f"{text}\n\n{filler}"


RULES: Mapping[str, Rule] = {
    "typos": typos,
    "letter case": letter_case,
    "white space": white_space,
    "wording": wording,
    "aside": aside,
    "very long": very_long,
}
"""Name -> rule. The order of labels, which is no rule of a text, is the seventh perturbation."""
