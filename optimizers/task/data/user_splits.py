"""Parts of the data that the user has split already: checked as any data, and kept as they were given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from optimizers.errors import DataError
from optimizers.task.data.load import Rows, load_rows
from optimizers.task.data.near_duplicates import group_leaders, token_sets
from optimizers.task.data.split import (
    DEV_SHARE,
    FEWEST_ROWS,
    MOST_DEV,
    MOST_TEST,
    TEST_SHARE,
    Dataset,
    Parts,
    SplitRow,
    clusters_of,
    fingerprint_of,
    row_of,
    warnings_of,
    without_duplicates,
    without_leaks,
)
from optimizers.task.data.validate import check_groups, complete_rows

FEWEST_PART = 10
"""Fewer dev or test rows are refused: the search runs its examples in blocks of ten."""


@dataclass(frozen=True)
class Columns:
    """What a program needs of a row.

    Attributes:
        inputs: Columns it reads.
        outputs: Columns the metric compares with.
        labels: Closed output -> its allowed values.
        group: Column that names what a row shares with others.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    labels: Mapping[str, tuple[Any, ...]]
    group: str | None = None


def given_rows(examples: Sequence[Any], name: str) -> Rows:
    """A list of examples as rows that messages find by the list's name.

    Args:
        examples: ``dspy.Example`` or mappings.
        name: What the caller calls the list, such as ``trainset``.

    Raises:
        DataError: It is empty or holds something else.
    """
    if isinstance(examples, (str, bytes, Path)) or not hasattr(examples, "__iter__"):
        kind = type(examples).__name__
        raise DataError(f"The {name} is a {kind}.", where=name, fix="give a list of dspy.Example")
    try:
        rows = load_rows(list(examples), base=Path())
    except DataError as error:
        where = (error.where or name).replace("data", name, 1)
        raise DataError(error.what, where=where, fix=error.fix) from None
    return replace(rows, origin=tuple(f"{name}[{index}]" for index in range(len(rows.rows))))


def given_dataset(
    train: Rows, val: Rows, test: Rows | None, columns: Columns, *, margin: float | None = None
) -> Dataset:
    """A dataset from parts the user has made.

    Rows are checked as :func:`optimizers.task.data.split.make_dataset` checks them. Repeats within a part
    become one. Nothing crosses: a row of train or dev that says nearly the same as one of a later
    part, or is of a group of a later part, is dropped from the earlier one and counted.

    Args:
        train: For demos.
        val: For dev; without ``test``, for dev and test, each near-duplicate cluster or group
            going where the hash of its content puts it: seven of twelve to test, at most 600,
            the rest to dev, at most 400. What has no room is left out.
        test: Sealed until the search is over.
        columns: What the program needs of a row.
        margin: Quality the user accepts to lose, for a note on whether the test set can show it.

    Raises:
        DataError: As ``make_dataset``, or a part is too small once checked.
    """
    notes: list[str] = []
    checked = [_checked(rows, columns, notes) for rows in (train, val, test) if rows is not None]
    given = sum(len(rows.rows) for rows in (train, val, test) if rows is not None)
    telling = token_sets({row.key for row in chain(*checked)})
    leaders = group_leaders(telling)
    if test is None:
        dev, sealed, surplus = _dev_and_test(checked[1], leaders)
        if surplus:
            notes.append(f"rows of the valset left out, as dev and test are full: {surplus}")
    else:
        dev, sealed = checked[1:]
    parts, grouped = _without_shared_groups((checked[0], dev, sealed))
    if grouped:
        notes.append(f"rows dropped because their group is in another part too: {grouped}")
    parts, leaks = without_leaks(parts, telling)
    _check_sizes(parts, test_given=test is not None)
    notes += warnings_of(parts, None, columns.group, margin, leaks)
    alike = Counter(leaders[row.key] for row in chain(*parts))
    left = sum(map(len, checked))
    train_rows, dev_rows, test_rows = (tuple(row.example for row in part) for part in parts)
    return Dataset(
        train_rows,
        dev_rows,
        test_rows,
        fingerprint_of(parts),
        duplicates=given - left,
        notes=tuple(notes),
        near_duplicates=sum(count for count in alike.values() if count > 1),
        leaks_removed=leaks,
        groups={row.id: row.group for row in chain(*parts) if row.group is not None},
    )


def _checked(rows: Rows, columns: Columns, notes: list[str]) -> list[SplitRow]:
    """A part's rows, one per thing said, by content hash; what was amiss is noted."""
    found, amiss = complete_rows(rows, columns.inputs, columns.outputs, columns.labels)
    if columns.group is not None:
        check_groups(rows, found, columns.group)
    kept, conflicts = without_duplicates(
        [
            row_of(example, columns.inputs, columns.outputs, columns.labels, columns.group)
            for _, example in found
        ]
    )
    notes += [f"{rows.source}: {note}" for note in amiss]
    if conflicts:
        notes.append(
            f"{rows.source}: inputs that appear with different outputs: {len(conflicts)}; "
            "the commonest output is kept"
        )
    return kept


def _dev_and_test(
    rows: Sequence[SplitRow], leaders: Mapping[str, str]
) -> tuple[list[SplitRow], list[SplitRow], int]:
    """Dev and test out of one part, in the proportion that undivided data has, and the rows left out."""
    dev: list[SplitRow] = []
    test: list[SplitRow] = []
    for cluster in clusters_of(rows, leaders, 0):
        sealed = cluster.place < TEST_SHARE / (TEST_SHARE + DEV_SHARE)
        part, most = (test, MOST_TEST) if sealed else (dev, MOST_DEV)
        if len(part) + len(cluster.rows) <= most:
            part.extend(cluster.rows)
    return dev, test, len(rows) - len(dev) - len(test)


def _without_shared_groups(parts: Parts) -> tuple[Parts, int]:
    """The parts with no group in more than one: the later part keeps it."""
    train, dev, test = parts
    sealed = {row.group for row in test} - {None}
    kept_dev = [row for row in dev if row.group not in sealed]
    measured = sealed | {row.group for row in kept_dev} - {None}
    kept_train = [row for row in train if row.group not in measured]
    return (kept_train, kept_dev, test), len(train) + len(dev) - len(kept_train) - len(kept_dev)


def _check_sizes(parts: Parts, *, test_given: bool) -> None:
    if not parts[0]:
        raise DataError(
            "No row of the trainset is left: dev or test has all of them, or nearly the same.",
            where="trainset",
            fix="give a valset of other rows, or the trainset alone, which is then split",
        )
    total = sum(map(len, parts))
    if total < FEWEST_ROWS:
        raise DataError(
            f"There are {total} usable rows once repeats and leaks are dropped; a study needs at least "
            f"{FEWEST_ROWS}.",
            where="trainset, valset" + (", testset" if test_given else ""),
            fix="add rows",
        )
    for name, part in zip(("dev", "test"), parts[1:], strict=True):
        if len(part) < FEWEST_PART:
            where = "testset" if test_given and name == "test" else "valset"
            raise DataError(
                f"There are {len(part)} rows for {name} once repeats and leaks are dropped; "
                f"it needs at least {FEWEST_PART}.",
                where=where,
                fix=f"add rows to the {where} that no other part has",
            )
