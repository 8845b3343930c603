"""Texts that say nearly the same: found exactly, in time near linear in their number.

Two texts are alike when the sets of what tells them apart have a Jaccard index of at least
0.9. That is their words, and pairs of neighbouring characters in scripts without spaces
between words. Of a text with few telling words it is each three neighbouring characters.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice

from optimizers.prompting.proposals.words import UNSPACED

TEMPLATE_SHARE = 0.2
"""A word in more texts than this belongs to a template, and says nothing about likeness."""

FEWEST_WORDS, FEWEST_SHINGLES = 5, 9
"""A text of fewer telling words is compared by shingles, one of fewer shingles with none:
under 9, sets that differ at all have an index below 0.9."""

SHINGLE = 3
"""Characters in a shingle."""

MOST_RIVALS = 200
"""Group leaders that a text is compared with, which bounds the time on texts from one mould."""

_RUN = re.compile(f"[{UNSPACED}](?: ?[{UNSPACED}])*")

TokenSets = Mapping[str, frozenset[str]]
"""Each text with what tells it from the others; an empty set is like no other."""

_Mark = tuple[int, int, int]


def token_sets(texts: Collection[str]) -> dict[str, frozenset[str]]:
    """What tells each text from the others, for the functions below.

    Words of a template say nothing: a text that shares a long prompt with all the others is
    known by the rest of it.

    Args:
        texts: Without repeats, in lower case and without punctuation.
    """
    most = max(TEMPLATE_SHARE * len(texts), 1)
    words = {text: _words(text) for text in texts}
    count = Counter(chain.from_iterable(map(set, words.values())))
    telling, short = {}, {}
    for text, found in words.items():
        rare = [word for word in found if count[word] <= most]
        telling[text] = frozenset(rare)
        if len(telling[text]) < FEWEST_WORDS:
            short[text] = _shingles(" ".join(rare))
    count = Counter(chain.from_iterable(short.values()))
    for text, shingles in short.items():
        left = frozenset(shingle for shingle in shingles if count[shingle] <= most)
        telling[text] = left if len(left) >= FEWEST_SHINGLES else frozenset()
    return telling


def group_leaders(telling: TokenSets) -> dict[str, str]:
    """Each text with the text that leads its group of near-duplicates, often itself.

    Members are compared with their leader, not with each other, so that no chain of small
    steps joins texts that differ. Two members of different groups may therefore be alike, as
    may texts with more rivals than are looked at: ``alike_across`` finds those.
    """
    ordered = sorted(telling, key=lambda text: hashlib.sha256(_bytes(text)).digest())
    index: dict[_Mark, list[int]] = defaultdict(list)
    leaders: dict[str, str] = {}
    for place, text in enumerate(ordered):
        mine = telling[text]
        marks = _signatures(mine)
        near = islice(chain.from_iterable(index.get(mark, ()) for mark in marks), MOST_RIVALS)
        rivals = (ordered[rival] for rival in sorted(set(near)))
        leaders[text] = next((rival for rival in rivals if _alike(mine, telling[rival])), text)
        if leaders[text] == text:
            for mark in marks:
                index[mark].append(place)
    return leaders


def alike_across(telling: TokenSets, texts: Iterable[str], others: Sequence[str]) -> set[str]:
    """The texts that are the same as one of the others or alike to it; none is missed.

    Args:
        telling: Of all these texts.
        texts: May be many.
        others: At worst each text is compared with each of these.
    """
    index: dict[_Mark, list[str]] = defaultdict(list)
    for other in others:
        for mark in _signatures(telling[other]):
            index[mark].append(other)
    found = set(others)

    def leaks(text: str) -> bool:
        mine = telling[text]
        rivals = {rival for mark in _signatures(mine) for rival in index.get(mark, ())}
        return any(_alike(mine, telling[rival]) for rival in rivals)

    return {text for text in texts if text in found or leaks(text)}


def _words(text: str) -> list[str]:
    words = _RUN.sub(" ", text).split()
    for run in _RUN.findall(text):
        bare = run.replace(" ", "")
        words += [bare[start : start + 2] for start in range(max(len(bare) - 1, 1))]
    return words


def _shingles(text: str) -> set[str]:
    return {text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1)}


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if 9 * max(len(one), len(other)) > 10 * min(len(one), len(other)):
        return False
    shared = len(one & other)
    return 10 * shared >= 9 * (len(one) + len(other) - shared)


def _signatures(found: frozenset[str]) -> list[_Mark]:
    """Hashes of a set's parts, of which two alike sets share at least one.

    Sets with an index of at least 0.9 differ in at most d members, a ninth of the smaller
    set's size. Members are dealt by their hash to d + 1 parts, so one part is the same in
    both (Arasu, Ganti and Kaushik, "Efficient Exact Set-Similarity Joins", VLDB 2006). Parts
    hold some nine members, so that sets that are not alike seldom share one. The number of
    parts goes by classes of size: alike sets are in one class or in neighbours, so each set
    is marked as one of its own class and as one of the class below.
    """
    if not found:
        return []
    hashes = [_hash(member) for member in found]
    own = bisect_left(_ENDS, len(found))
    marks = []
    for kind in range(max(own - 1, 0), own + 1):
        parts = [0] * (_ENDS[kind] // 9 + 1)
        for value in hashes:
            # The low digits deal, the high ones mark.
            parts[value % len(parts)] += value >> 16
        marks += [(kind, part, total) for part, total in enumerate(parts)]
    return marks


def _class_ends(largest: int) -> list[int]:
    """The largest size of each class: 10/9 of its smallest, so no alike set is two classes away."""
    ends = [1]
    while ends[-1] < largest:
        ends.append(10 * (ends[-1] + 1) // 9)
    return ends


_ENDS = _class_ends(10**9)


@lru_cache(maxsize=1 << 18)
def _hash(member: str) -> int:
    return int.from_bytes(hashlib.blake2b(_bytes(member), digest_size=8).digest(), "big")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
