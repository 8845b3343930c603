"""How alike candidates are, by the choices they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Choices = Mapping[str, Any]

MODEL = "model"
"""The choice of a model; other choices are named by the model they are for."""

DEMOS = (".demos", ".draw", ".from", ".alternate")
"""Ends of the names of choices that together say which demos are shown."""

SERVING = ("rendering", ".technique", ".elaborate", ".calls")
"""Ends of the names of choices that together say how a program is served."""

SHARED = 0.3
"""Share of what a choice does that it does to every model alike, and of a model's to every way of serving it.

Demos that mislead one rendering often help another.
"""

STEP = 0.5
"""Likeness of two neighbouring values of a number; of values further apart, a power of it."""

DECAY = 0.7
"""How fast candidates of one model stop being alike with every choice they differ in."""


@dataclass(frozen=True)
class Features:
    """Candidates as what they have in common.

    Attributes:
        model: Of each candidate, the number of its model.
        served: Of each candidate, the number of its rendering and techniques taken together.
        parts: Choice -> of each candidate, the number of its value; -1 where it has no such choice.
        numeric: Choices whose values are numbers, numbered in their order.
    """

    model: NDArray[np.int64]
    served: NDArray[np.int64]
    parts: Mapping[str, NDArray[np.int64]]
    numeric: frozenset[str] = frozenset()

    @cached_property
    def same_model(self) -> Floats:
        """1 where two candidates have the same model, else 0."""
        return _equal(self.model)

    @cached_property
    def alike(self) -> dict[str, Floats]:
        """Choice -> how alike each two candidates are in it, from 0 to 1."""
        share = np.where(self.same_model > 0, 1.0, SHARED)
        within = share * np.where(_equal(self.served) > 0, 1.0, SHARED)
        return {
            name: (share if name.endswith(SERVING) else within) * self._likeness(name) for name in self.parts
        }

    @cached_property
    def near(self) -> Floats:
        """How alike each two candidates are in everything: choices may do more together than apart."""
        differ = np.zeros((len(self.model),) * 2)
        for codes in self.parts.values():
            differ += 1.0 - _equal(codes)
        near: Floats = np.exp(-DECAY * differ) * self.same_model
        return near

    def _likeness(self, name: str) -> Floats:
        codes = self.parts[name]
        if name not in self.numeric:
            return _equal(codes)
        apart = np.abs(codes[:, None] - codes[None, :])
        absent = (codes[:, None] < 0) | (codes[None, :] < 0)
        likeness: Floats = np.where(absent, _equal(codes), STEP ** apart.astype(float))
        return likeness


def features(candidates: Sequence[Choices], prefixes: Iterable[str]) -> Features:
    """What candidates have in common.

    Args:
        candidates: The choices that each is made of.
        prefixes: What the choices of each model are named by.
    """
    known = tuple(f"{prefix}." for prefix in prefixes)
    rows = [_parts(choices, known) for choices in candidates]
    names = sorted({name for row in rows for name in row})
    models = _numbered([choices.get(MODEL, "") for choices in candidates])[0]
    served = [str(sorted(item for item in row.items() if item[0].endswith(SERVING))) for row in rows]
    parts, numeric = {}, set()
    for name in names:
        codes, ordered = _numbered([row.get(name) for row in rows])
        if len(set(codes.tolist())) > 1:
            parts[name] = codes
            numeric |= {name} if ordered else set()
    return Features(models, _numbered(served)[0], parts, frozenset(numeric))


def _parts(choices: Choices, prefixes: tuple[str, ...]) -> dict[str, Any]:
    """Choice -> value, whatever model it is for, and which demos are shown as one more."""
    found: dict[str, Any] = {}
    shown: dict[str, list[str]] = {}
    for name, value in choices.items():
        if name == MODEL:
            continue
        # The longest: one model's name may begin with another's and a dot.
        prefix = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default="")
        part = name[len(prefix) :]
        found[part] = value
        if part.endswith(DEMOS):
            shown.setdefault(part.partition(".")[0], []).append(f"{part}={value}")
    return found | {f"{predictor} shows": "; ".join(sorted(which)) for predictor, which in shown.items()}


def _numbered(values: Sequence[Any]) -> tuple[NDArray[np.int64], bool]:
    """Each value's number, -1 for None, and whether they are numbers in their order."""
    present = {value for value in values if value is not None}
    ordered = len(present) > 2 and all(type(value) in (int, float) for value in present)
    places = {value: place for place, value in enumerate(sorted(present, key=None if ordered else str))}
    codes = [-1 if value is None else places[value] for value in values]
    return np.array(codes, dtype=np.int64), ordered


def _equal(codes: NDArray[np.int64]) -> Floats:
    equal: Floats = (codes[:, None] == codes[None, :]).astype(float)
    return equal
