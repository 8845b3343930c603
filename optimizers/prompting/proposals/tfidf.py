"""Texts as vectors: TF-IDF weights, normed, so that a product of two is their cosine.

A term found t times in a text weighs (1 + ln t) x (1 + ln((1 + N) / (1 + n))), where n of N
texts have it (Salton and Buckley, "Term-weighting approaches in automatic text retrieval",
Information Processing & Management 1988; the ones keep every weight above 0).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from optimizers.prompting.proposals.words import terms


def rarity(texts: Sequence[str]) -> dict[str, float]:
    """Term -> how much it tells, from 1 for a term in every text upwards."""
    count = Counter(term for text in texts for term in set(terms(text)))
    return {term: 1 + math.log((1 + len(texts)) / (1 + n)) for term, n in sorted(count.items())}


def weights(text: str, known: Mapping[str, float]) -> dict[str, float]:
    """The weights of a text's known terms, of length 1 together; empty where none is known."""
    count = Counter(term for term in terms(text) if term in known)
    raw = {term: (1 + math.log(times)) * known[term] for term, times in count.items()}
    norm = math.sqrt(sum(weight * weight for weight in raw.values()))
    return {term: weight / norm for term, weight in raw.items()}


def vectors(texts: Sequence[str]) -> Any:
    """The texts as rows of a sparse matrix with one column per term."""
    known = rarity(texts)
    column = {term: number for number, term in enumerate(known)}
    rows = [weights(text, known) for text in texts]
    data = [weight for row in rows for weight in row.values()]
    columns = [column[term] for row in rows for term in row]
    starts = np.cumsum([0, *map(len, rows)])
    return sparse.csr_matrix((data, columns, starts), shape=(len(texts), len(column)))
