"""Parts the user has split: kept as given, and nothing of a later part leaks into an earlier one."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import reviews

from optimizers.errors import DataError
from optimizers.task.data.split import Dataset, example_id
from optimizers.task.data.user_splits import Columns, given_dataset, given_rows

COLUMNS = Columns(("review",), ("sentiment",), {"sentiment": ("positive", "negative")})

Row = dict[str, Any]


def dataset(train: list[Row], val: list[Row], test: list[Row] | None = None, **options: Any) -> Dataset:
    return given_dataset(
        given_rows(train, "trainset"),
        given_rows(val, "valset"),
        None if test is None else given_rows(test, "testset"),
        options.pop("columns", COLUMNS),
        **options,
    )


def texts(part: tuple[Any, ...]) -> set[str]:
    return {example.review for example in part}


def test_three_parts_stay_as_they_were_given() -> None:
    rows = reviews(120)
    train, val, test = rows[:40], rows[40:70], rows[70:]
    made = dataset(train, val, test)
    for part, given in ((made.train, train), (made.dev, val), (made.test, test)):
        assert texts(part) == {row["review"] for row in given}
    assert (made.duplicates, made.leaks_removed) == (0, 0)
    assert dataset(train[::-1], val, test[::-1]).fingerprint == made.fingerprint
    assert dataset(train[1:], val, test).fingerprint != made.fingerprint
    assert dataset(val, train, test).fingerprint != made.fingerprint


def test_a_valset_alone_is_split_by_content_into_dev_and_test() -> None:
    rows = reviews(400)
    made = dataset(rows[:100], rows[100:])
    assert texts(made.train) == {row["review"] for row in rows[:100]}
    assert texts(made.dev) | texts(made.test) == {row["review"] for row in rows[100:]}
    assert 1.0 < len(made.test) / len(made.dev) < 2.0
    again = dataset(rows[:100], [*rows[300:], *rows[100:300]])
    assert again.fingerprint == made.fingerprint
    fewer = dataset(rows[:100], rows[100:300])
    assert texts(fewer.test) <= texts(made.test)
    assert texts(fewer.dev) <= texts(made.dev)


def test_nothing_crosses_and_the_later_part_keeps_it() -> None:
    rows = reviews(120)
    changed = [{**row, "review": row["review"].upper() + "!"} for row in rows[70:75]]
    made = dataset([*rows[:40], *rows[40:43], *changed], [*rows[40:70], *rows[75:80]], [*rows[70:], rows[-1]])
    ids = [{example_id(example) for example in part} for part in (made.train, made.dev, made.test)]
    assert len(set().union(*ids)) == sum(map(len, ids))
    assert texts(made.train) == {row["review"] for row in rows[:40]}
    assert texts(made.dev) == {row["review"] for row in rows[40:70]}
    assert len(made.test) == 50
    assert (made.duplicates, made.leaks_removed) == (1, 13)
    assert any("13" in note for note in made.notes)


def test_a_group_is_in_one_part_only() -> None:
    rows = [{**row, "author": f"a{index // 2}"} for index, row in enumerate(reviews(121))]
    columns = Columns(COLUMNS.inputs, COLUMNS.outputs, COLUMNS.labels, "author")
    made = dataset(rows[:41], rows[41:71], rows[71:], columns=columns)
    groups = [{made.groups[example_id(e)] for e in part} for part in (made.train, made.dev, made.test)]
    assert len(set().union(*groups)) == sum(map(len, groups))
    assert (len(made.train), len(made.dev), len(made.test)) == (40, 29, 50)
    assert any("their group is in another part too: 2" in note for note in made.notes)


@pytest.mark.parametrize(
    ("train", "val", "test", "message"),
    [
        (0, 30, 30, "trainset"),
        (5, 15, 15, "at least 40"),
        (60, 8, 20, "8 rows for dev"),
        (60, 20, 8, "8 rows for test"),
        (60, 12, None, "rows for dev|rows for test"),
    ],
)
def test_too_few_rows_say_where(train: int, val: int, test: int | None, message: str) -> None:
    rows = reviews(200)
    with pytest.raises(DataError, match=message):
        dataset(
            rows[:train],
            rows[train : train + val],
            None if test is None else rows[train + val : train + val + test],
        )
