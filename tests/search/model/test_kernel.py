"""What candidates have in common: by choice, whatever model a choice is for."""

from __future__ import annotations

from typing import Any

import numpy as np

from optimizers.records.parameters import Parameter
from optimizers.search.model.kernel import SHARED, STEP, features, shown_by
from optimizers.search.space.parts import MODEL

WAY, SIZE, SOURCE = (Parameter("small", "p", part) for part in ("instruction", "demos", "demos.from"))
SMALL: dict[Parameter, Any] = {MODEL: "small", WAY: "own", SIZE: 4, SOURCE: "balanced"}
ANY_WAY, ANY_SIZE, SHOWN = WAY.for_model(None), SIZE.for_model(None), shown_by("p")


def served_by(model: str) -> dict[Parameter, Any]:
    """The same choices of another model."""
    return {one if one == MODEL else one.for_model(model): value for one, value in SMALL.items()} | {
        MODEL: model
    }


def test_the_same_choice_of_two_models_is_alike_in_part() -> None:
    changed = {**SMALL, WAY: "brief"}
    found = features([SMALL, served_by("large"), changed])
    assert found.alike[ANY_WAY][0].tolist() == [1.0, SHARED, 0.0]
    assert found.same_model[0].tolist() == [1.0, 0.0, 1.0]


def test_a_model_whose_name_begins_with_anothers_keeps_its_own_choices() -> None:
    changed = {**SMALL, WAY: "brief"}
    found = features([SMALL, served_by("small.1"), changed])
    assert set(found.parts) == {ANY_WAY}
    assert found.alike[ANY_WAY][0].tolist() == [1.0, SHARED, 0.0]


def test_what_all_candidates_share_tells_none_apart() -> None:
    found = features([SMALL, {**SMALL, SIZE: 1}])
    assert set(found.parts) == {ANY_SIZE, SHOWN}


def test_near_numbers_are_more_alike_than_far_ones() -> None:
    found = features([{**SMALL, SIZE: size} for size in (1, 2, 4)])
    assert found.alike[ANY_SIZE][0].tolist() == [1.0, STEP, STEP**2]


def test_which_demos_are_shown_counts_as_one_choice_of_its_own() -> None:
    drawn = [{**SMALL, Parameter("small", "p", "draw", ("balanced",)): draw} for draw in (0, 1, 1)]
    found = features(drawn)
    assert found.alike[SHOWN].tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]


def test_the_fewer_choices_two_candidates_share_the_less_alike_they_are() -> None:
    one = {**SMALL, WAY: "brief"}
    two = {**one, SIZE: 1}
    near = features([SMALL, one, two]).near
    assert near[0, 0] == 1 > near[0, 1] > near[0, 2] > 0
    assert np.array_equal(near, near.T)
