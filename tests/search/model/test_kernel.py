"""What candidates have in common: by choice, whatever model a choice is for."""

from __future__ import annotations

import numpy as np

from optimizers.search.model.kernel import SHARED, STEP, features

SMALL = {"model": "small", "small.p.instruction": "own", "small.p.demos": 4, "small.p.demos.from": "balanced"}


def test_the_same_choice_of_two_models_is_alike_in_part() -> None:
    other = {name.replace("small", "large"): value for name, value in SMALL.items()}
    changed = {**SMALL, "small.p.instruction": "brief"}
    found = features([SMALL, other | {"model": "large"}, changed], ["small", "large"])
    assert found.alike["p.instruction"][0].tolist() == [1.0, SHARED, 0.0]
    assert found.same_model[0].tolist() == [1.0, 0.0, 1.0]


def test_a_model_whose_name_begins_with_anothers_keeps_its_own_choices() -> None:
    other = {name.replace("small", "small.1"): value for name, value in SMALL.items()}
    changed = {**SMALL, "small.p.instruction": "brief"}
    found = features([SMALL, other | {"model": "small.1"}, changed], ["small", "small.1"])
    assert set(found.parts) == {"p.instruction"}
    assert found.alike["p.instruction"][0].tolist() == [1.0, SHARED, 0.0]


def test_what_all_candidates_share_tells_none_apart() -> None:
    found = features([SMALL, {**SMALL, "small.p.demos": 1}], ["small"])
    assert set(found.parts) == {"p.demos", "p shows"}


def test_near_numbers_are_more_alike_than_far_ones() -> None:
    found = features([{**SMALL, "small.p.demos": size} for size in (1, 2, 4)], ["small"])
    assert found.alike["p.demos"][0].tolist() == [1.0, STEP, STEP**2]


def test_which_demos_are_shown_counts_as_one_choice_of_its_own() -> None:
    drawn = [{**SMALL, "small.p.balanced.draw": draw} for draw in (0, 1, 1)]
    found = features(drawn, ["small"])
    assert found.alike["p shows"].tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]


def test_the_fewer_choices_two_candidates_share_the_less_alike_they_are() -> None:
    one = {**SMALL, "small.p.instruction": "brief"}
    two = {**one, "small.p.demos": 1}
    near = features([SMALL, one, two], ["small"]).near
    assert near[0, 0] == 1 > near[0, 1] > near[0, 2] > 0
    assert np.array_equal(near, near.T)
