"""How alike candidates are, by the choices they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizers.records.parameters import Parameter
from optimizers.search.space.parts import MODEL, part_of

Floats = NDArray[np.float64]
Choices = Mapping[Parameter, Any]

SHOWN = "shows"
"""Part of the kernel's own parameter for which demos are shown, next to those of the search space."""

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
        parts: Parameter of no model in particular -> of each candidate, the number of its value; -1 where it
            has no such choice.
        numeric: Parameters whose values are numbers, numbered in their order.
    """

    model: NDArray[np.int64]
    served: NDArray[np.int64]
    parts: Mapping[Parameter, NDArray[np.int64]]
    numeric: frozenset[Parameter] = frozenset()

    @cached_property
    def same_model(self) -> Floats:
        """1 where two candidates have the same model, else 0."""
        return _equal(self.model)

    @cached_property
    def alike(self) -> dict[Parameter, Floats]:
        """Parameter -> how alike each two candidates are in it, n x n, from 0 to 1."""
        share = np.where(self.same_model > 0, 1.0, SHARED)
        within = share * np.where(_equal(self.served) > 0, 1.0, SHARED)
        return {
            parameter: (share if _is_serving(parameter) else within) * self._likeness(parameter)
            for parameter in self.parts
        }

    @cached_property
    def near(self) -> Floats:
        """How alike each two candidates are in everything: choices may do more together than apart."""
        differ = np.zeros((len(self.model),) * 2)
        for codes in self.parts.values():
            differ += 1.0 - _equal(codes)
        near: Floats = np.exp(-DECAY * differ) * self.same_model
        return near

    def _likeness(self, parameter: Parameter) -> Floats:
        codes = self.parts[parameter]
        if parameter not in self.numeric:
            return _equal(codes)
        apart = np.abs(codes[:, None] - codes[None, :])
        absent = (codes[:, None] < 0) | (codes[None, :] < 0)
        likeness: Floats = np.where(absent, _equal(codes), STEP ** apart.astype(float))
        return likeness


def features(candidates: Sequence[Choices]) -> Features:
    """What candidates have in common.

    Args:
        candidates: The choices that each is made of.
    """
    rows = [_parts(choices) for choices in candidates]
    # In the order of their names: sums over parameters must not depend on which candidate came first.
    parameters = sorted({parameter for row in rows for parameter in row}, key=_name)
    models = _numbered([choices.get(MODEL, "") for choices in candidates])[0]
    served = [
        str(sorted((str(parameter), value) for parameter, value in row.items() if _is_serving(parameter)))
        for row in rows
    ]
    parts, numeric = {}, set()
    for parameter in parameters:
        codes, ordered = _numbered([row.get(parameter) for row in rows])
        if len(set(codes.tolist())) > 1:
            parts[parameter] = codes
            numeric |= {parameter} if ordered else set()
    return Features(models, _numbered(served)[0], parts, frozenset(numeric))


def _parts(choices: Choices) -> dict[Parameter, Any]:
    """Parameter -> value, whatever model it is for, and which demos a predictor shows as one more."""
    found: dict[Parameter, Any] = {}
    shown: dict[str | None, list[str]] = {}
    for parameter, value in choices.items():
        if parameter == MODEL:
            continue
        own = parameter.for_model(None)
        found[own] = value
        if part_of(own).group == "demos":
            shown.setdefault(own.predictor, []).append(f"{own}={value}")
    return found | {shown_by(predictor): "; ".join(sorted(which)) for predictor, which in shown.items()}


def shown_by(predictor: str | None) -> Parameter:
    """Which demos a predictor shows: all choices of demos as one parameter of the kernel."""
    return Parameter(None, predictor, SHOWN)


def _is_serving(parameter: Parameter) -> bool:
    return parameter.part != SHOWN and part_of(parameter).group == "serving"


def _name(parameter: Parameter) -> str:
    return f"{parameter.predictor} {SHOWN}" if parameter.part == SHOWN else str(parameter)


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
