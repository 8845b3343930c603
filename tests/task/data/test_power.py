"""Notes on the sizes of a split: what can be concluded, what cannot, and what it would take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.task.data.power import detectable_difference, group_note, part_notes, rows_needed, size_note


def test_the_detectable_difference_is_that_of_the_formula() -> None:
    # (1.645 + 0.842) * sqrt(0.2 / 100)
    assert detectable_difference(100) == pytest.approx(0.1112, abs=1e-4)
    # 0.2 * (2.4865 / 0.02) ** 2
    assert rows_needed(0.02) == 3092


@given(margin=st.floats(0.001, 0.5))
def test_the_rows_needed_show_the_margin_and_fewer_do_not(margin: float) -> None:
    needed = rows_needed(margin)
    assert detectable_difference(needed) <= margin * (1 + 1e-9)
    assert needed == 1 or detectable_difference(needed - 1) > margin * (1 - 1e-9)


@pytest.mark.parametrize(
    ("rows", "margin", "said"),
    [
        (100, None, "gaps of about 0.11 and more; smaller ones look like chance"),
        (100, 0.02, "to prove a match at the margin of 0.02 reliably, you need about 3,100 rows"),
        (1000, 0.02, "to prove a match at the margin of 0.02 reliably, you need about 3,100 rows"),
        (100, 0.5, "that is enough for the margin of 0.5"),
        (100, 0.0, "no number of rows proves a match of equals at a margin of 0"),
    ],
)
def test_the_note_says_what_this_many_rows_can_show_and_what_not(
    rows: int, margin: float | None, said: str
) -> None:
    note = size_note(rows, margin)
    assert note is not None
    assert f"with {rows} test rows" in note
    assert said in note


def test_enough_rows_and_groups_go_without_a_note() -> None:
    assert size_note(200, None) is None
    assert size_note(200, 0.2) is None
    assert group_note(30, "author") is None
    assert group_note(29, "author") is not None


def test_parts_that_lack_rows_or_labels_are_named() -> None:
    parts = {"train": ['["pos"]'] * 3, "test": ['["pos"]', '["neg"]']}
    assert part_notes(parts, {"train": 5, "test": 2}) == [
        "train has 3 rows, not the 5 asked for",
        "train has no row labelled neg",
    ]
    assert part_notes({name: labels * 2 for name, labels in parts.items() if name == "test"}, {}) == []
