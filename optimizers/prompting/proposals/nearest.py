"""Demos chosen anew for each input: the train examples most like it.

Demos near the question help more than fixed ones (Liu et al., "What Makes Good In-Context
Examples for GPT-3?", DeeLIO 2022), and comparing by words needs no second model and comes
close to comparing by embeddings (Rubin, Herzig and Berant, "Learning To Retrieve Prompts for
In-Context Learning", NAACL 2022).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizers.prompting.proposals.demos import Demo
from optimizers.prompting.proposals.tfidf import rarity, weights
from optimizers.prompting.renderings.fields import format_value

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class NearestIndex:
    """Train examples, ready to be looked up by likeness.

    Attributes:
        inputs: Names of the input fields, which are compared.
        demos: The examples as demos, in an order that decides between equally like ones.
        known: Term -> how much it tells.
        postings: Term -> the demos that have it, as numbers, and its weight in each.
        places: A demo's inputs as one text -> the numbers of the demos that say this.
    """

    inputs: tuple[str, ...]
    demos: tuple[Demo, ...]
    known: Mapping[str, float]
    postings: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
    places: Mapping[str, Sequence[int]]


def nearest(index: NearestIndex, inputs: Mapping[str, Any], k: int) -> tuple[Demo, ...]:
    """The demos most like some inputs, the most like one last, next to the question.

    A demo with these very inputs is left out, so that a train example never sees its own
    answer. Where too few demos share a word with the inputs, others fill up.

    Args:
        index: Where to look.
        inputs: Values of the input fields; others are ignored.
        k: Demos wanted; there are fewer when the index holds fewer.
    """
    text = _text(inputs, index.inputs)
    scores = np.zeros(len(index.demos))
    for term, weight in weights(text, index.known).items():
        numbers, weighed = index.postings[term]
        scores[numbers] += weight * weighed
    own = index.places.get(_said(text), ())
    order = [int(number) for number in np.argsort(-scores, kind="stable")[: k + len(own)]]
    chosen = [number for number in order if number not in own][:k]
    return tuple(index.demos[number] for number in reversed(chosen))


def pool_index(inputs: tuple[str, ...], demos: Sequence[Demo]) -> NearestIndex:
    """Index demos that are drawn already, such as a candidate's pool: the same pool chooses the same demos.

    Args:
        inputs: Names of the input fields, which are compared.
        demos: The pool; its order decides between equally like ones.
    """
    texts = [_text(demo, inputs) for demo in demos]
    known = rarity(texts)
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    places: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        places[_said(text)].append(number)
        for term, weight in weights(text, known).items():
            found[term].append((number, weight))
    postings = {
        term: (np.array([number for number, _ in pairs]), np.array([weight for _, weight in pairs]))
        for term, pairs in found.items()
    }
    return NearestIndex(inputs, tuple(demos), known, postings, dict(places))


def _text(values: Mapping[str, Any], inputs: Sequence[str]) -> str:
    return "\n".join(format_value(values[name]) for name in inputs if values.get(name) is not None)


def _said(text: str) -> str:
    """A text as it is recognised: letter case and white space aside."""
    return " ".join(text.casefold().split())
