"""From rows to train, dev and test: checked, without duplicates, split by content.

A row's part of the data depends on a hash of what it says or of the group it belongs to,
not on its position, so that a split survives sorting the file and adding to it. Added
near-duplicates may move those that they are like.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from optimizers.errors import DataError
from optimizers.records.json_values import json_value
from optimizers.records.rows import SplitSizes
from optimizers.task.data.load import Rows
from optimizers.task.data.near_duplicates import TokenSets, alike_across, group_leaders, token_sets
from optimizers.task.data.power import FEW_TEST_ROWS, group_note, part_notes, size_note
from optimizers.task.data.validate import check_groups, complete_rows, spelling, unlabelled_notes

if TYPE_CHECKING:
    import dspy

TEST_SHARE, DEV_SHARE = 0.35, 0.25
MOST_TEST, MOST_DEV = 600, 400
"""Shares and caps when no sizes are asked for; the rest is train."""

FEWEST_ROWS = 40
"""Fewer rows are refused."""


@dataclass(frozen=True)
class Dataset:
    """A task's data, ready to use.

    Attributes:
        train: For demos and reflection.
        dev: For the search.
        test: Sealed until the search is over.
        fingerprint: 16 hex digits of the examples and their split.
        duplicates: Rows dropped because another row says the same.
        notes: Warnings that a reader of the result must know.
        near_duplicates: Rows that say nearly the same as another and were kept together with it.
        leaks_removed: Rows dropped from train or dev because a row of a later part says nearly
            the same.
        groups: Example id -> the group it belongs to; empty where no column names groups.
    """

    train: tuple[dspy.Example, ...]
    dev: tuple[dspy.Example, ...]
    test: tuple[dspy.Example, ...]
    fingerprint: str
    duplicates: int
    notes: tuple[str, ...]
    near_duplicates: int = 0
    leaks_removed: int = 0
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitRow:
    """An example with what decides where it goes."""

    example: dspy.Example
    id: str
    said: str  # its inputs in lower case with single spaces
    key: str  # the same without punctuation: equal for rows that belong together
    answer: str  # its outputs as JSON
    stratum: str  # its closed outputs as JSON
    group: str | None  # what the group column says


@dataclass(frozen=True)
class _Cluster:
    """Rows that must stay in one part."""

    place: float  # a hash in [0, 1), which chooses the part
    rows: tuple[SplitRow, ...]


Parts = tuple[list[SplitRow], list[SplitRow], list[SplitRow]]
"""Train, dev and test."""


def make_dataset(
    rows: Rows,
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    labels: Mapping[str, tuple[Any, ...]],
    sizes: SplitSizes | None = None,
    seed: int = 0,
    group: str | None = None,
    margin: float | None = None,
) -> Dataset:
    """Check rows against a program and split them.

    Rows with the same inputs, letter case, white space and punctuation aside, become one.
    Near-duplicates (see ``near_duplicates``) stay in one part, as do all rows of one group.
    Without ``sizes`` a row's part depends on its own hash or its group's, up to 600 test and
    400 dev rows; with ``sizes`` each label is drawn in proportion. What has no room in test or
    dev goes to train. In the end no row of train or dev says nearly the same as one of a later
    part.

    Args:
        rows: The data; columns beyond inputs and outputs are kept for the metric.
        inputs: Columns the program reads.
        outputs: Columns the metric compares with.
        labels: Closed output -> its allowed values; cells are turned into these.
        sizes: Rows per part, after duplicates are dropped.
        seed: Another seed is another split.
        group: Column that names what a row shares with others: its author, document or
            conversation.
        margin: Quality that the user accepts to lose, in score units, for a note on whether the
            test set can show it.

    Raises:
        DataError: A column or a group is lacking, a label is not allowed, or there are too few
            rows or groups.
    """
    found, notes = complete_rows(rows, inputs, outputs, labels)
    if group is not None:
        check_groups(rows, found, group)
    checked = [row_of(example, inputs, outputs, labels, group) for _, example in found]
    kept, conflicts = without_duplicates(checked)
    duplicates = len(found) - len(kept)
    _check_count(rows, len(found), len(kept), sizes)
    telling = token_sets({row.key for row in kept})
    leaders = group_leaders(telling)
    parts, leaks = without_leaks(_split(clusters_of(kept, leaders, seed), sizes), telling)
    if not (parts[1] and parts[2]):
        raise _inseparable(rows, group)
    if conflicts:
        at = [place for (place, _), row in zip(found, checked, strict=True) if row.said == conflicts[0]]
        notes.append(
            f"inputs that appear with different outputs: {len(conflicts)}, the first {', '.join(at[:3])}; "
            "the commonest output is kept"
        )
    notes += unlabelled_notes(found, labels)
    notes += warnings_of(parts, sizes, group, margin, leaks)
    alike = Counter(leaders[row.key] for row in kept)
    train, dev, test = (tuple(row.example for row in part) for part in parts)
    return Dataset(
        train,
        dev,
        test,
        fingerprint_of(parts),
        duplicates,
        (*rows.notes, *notes),
        near_duplicates=sum(rows for rows in alike.values() if rows > 1),
        leaks_removed=leaks,
        groups={row.id: row.group for row in chain(*parts) if row.group is not None},
    )


def example_id(example: dspy.Example) -> str:
    """Content hash of an example: 16 hex digits, whatever the order of its fields.

    Raises:
        DataError: A value has no JSON form.
    """
    return _hash(_json({name: example[name] for name in example.keys()}))  # noqa: SIM118 - iterating adds internals


def _json(value: Any) -> str:
    return json.dumps(json_value(value), sort_keys=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _check_count(rows: Rows, complete: int, kept: int, sizes: SplitSizes | None) -> None:
    needed = FEWEST_ROWS if sizes is None else max(FEWEST_ROWS, sizes.dev + sizes.test)
    if kept < needed:
        dropped = f" once {complete - kept} duplicates are dropped" if complete > kept else ""
        lacking = len(rows.rows) - complete
        blank = f"; of {len(rows.rows)} rows, {lacking} lack an input or an output" if lacking else ""
        raise DataError(
            f"There are {kept} usable rows{dropped}; train, dev and test need at least {needed}{blank}.",
            where=rows.source,
            fix=f"add rows; {math.ceil(FEW_TEST_ROWS / TEST_SHARE)} make a test set of {FEW_TEST_ROWS}",
        )


def _inseparable(rows: Rows, group: str | None) -> DataError:
    if group is None:
        what = "The rows are too much alike to be kept apart: dev or test would be empty."
        return DataError(what, where=rows.source, fix="add rows that differ in more than a few words")
    what = "The groups are too few, too large or too much alike to be kept apart: dev or test would be empty."
    fix = "add groups, or name a column with smaller ones"
    return DataError(what, where=f"{rows.source}, column {group!r}", fix=fix)


def row_of(
    example: dspy.Example,
    inputs: Sequence[str],
    outputs: Sequence[str],
    labels: Mapping[str, tuple[Any, ...]],
    group: str | None,
) -> SplitRow:
    """An example with its identity, its texts in plain form, its answer and its label."""
    texts = [
        value if isinstance(value, str) else _json(value)
        for value in (example[name] for name in sorted(inputs))
    ]
    said = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]
    # A text of signs alone, such as an emoticon, has nothing but them to be known by.
    bare = [" ".join(re.findall(r"[^\W_]+", text)) or text for text in said]
    return SplitRow(
        example=example,
        id=example_id(example),
        said="\n".join(said),
        key="\n".join(bare),
        answer=_json([example[name] for name in outputs]),
        stratum=_json([example[name] for name in outputs if name in labels]),
        group=None if group is None else spelling(example[group]),
    )


def without_duplicates(rows: Sequence[SplitRow]) -> tuple[list[SplitRow], list[str]]:
    """One row per thing said, and the inputs (``said``) that had more than one answer.

    Where only punctuation differs and the answers do too (``2*3``, ``2-3``), both rows stay.
    """
    by_said: dict[str, list[SplitRow]] = defaultdict(list)
    for row in rows:
        by_said[row.said].append(row)
    conflicts = [said for said, same in by_said.items() if len({row.answer for row in same}) > 1]
    kept: dict[tuple[str, str], SplitRow] = {}
    for same in by_said.values():
        votes = Counter(row.answer for row in same)
        best = min(same, key=lambda row: (-votes[row.answer], row.answer, row.id))
        place = (best.key, best.answer)
        if place not in kept or best.id < kept[place].id:
            kept[place] = best
    return sorted(kept.values(), key=lambda row: row.id), conflicts


def clusters_of(rows: Sequence[SplitRow], leaders: Mapping[str, str], seed: int) -> list[_Cluster]:
    """Rows that belong together, in hash order.

    Those are near-duplicates and rows of one group, and what is joined by both. A cluster's
    place is that of the text that leads it, or of a group where there are groups: added rows
    then leave it where it is, unless one joins it and leads.
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent[above]
            node = above
        return node

    for row in rows:
        if row.group is not None:
            parent[root(("text", leaders[row.key]))] = root(("group", row.group))
    members: dict[tuple[str, str], list[SplitRow]] = defaultdict(list)
    for row in rows:
        members[root(("text", leaders[row.key]))].append(row)
    clusters = []
    for same in members.values():
        names = {leaders[row.key] if row.group is None else row.group for row in same}
        lead = min(names, key=_hash)
        ordered = sorted(same, key=lambda row: (row.key != lead, row.id))
        clusters.append(_Cluster(_unit(lead, seed), tuple(ordered)))
    return sorted(clusters, key=lambda cluster: (cluster.place, cluster.rows[0].key))


def _unit(key: str, seed: int) -> float:
    """A hash in [0, 1)."""
    return int(_hash(f"{seed}\n{key}"), 16) / 16**16


def _split(clusters: Sequence[_Cluster], sizes: SplitSizes | None) -> Parts:
    if sizes is not None:
        return _by_size(clusters, sizes)
    parts = _by_share(clusters)
    if all(parts):
        return parts
    # A handful of groups may leave a part empty: better a split that moves when rows are added.
    rows = sum(len(cluster.rows) for cluster in clusters)
    dev, test = min(int(rows * DEV_SHARE), MOST_DEV), min(int(rows * TEST_SHARE), MOST_TEST)
    return _by_size(clusters, SplitSizes(train=rows, dev=dev, test=test))


def _by_share(clusters: Sequence[_Cluster]) -> Parts:
    """Each cluster where its own hash puts it; what exceeds the largest dev and test goes to train."""
    train: list[SplitRow] = []
    dev: list[SplitRow] = []
    test: list[SplitRow] = []
    for cluster in clusters:
        if cluster.place < TEST_SHARE:
            part, most = test, MOST_TEST
        elif cluster.place < TEST_SHARE + DEV_SHARE:
            part, most = dev, MOST_DEV
        else:
            part, most = train, len(train) + len(cluster.rows)
        (part if len(part) + len(cluster.rows) <= most else train).extend(cluster.rows)
    return train, dev, test


def _by_size(clusters: Sequence[_Cluster], sizes: SplitSizes) -> Parts:
    """Parts of the sizes asked for, test first, every label in proportion, in hash order."""
    left = [cluster.rows for cluster in clusters]
    parts = []
    for size in (sizes.test, sizes.dev, sizes.train):
        room = _apportion(size, Counter(row.stratum for rows in left for row in rows))
        part: list[SplitRow] = []
        passed: list[tuple[SplitRow, ...]] = []
        for rows in left:
            need = Counter(row.stratum for row in rows)
            if all(room[stratum] >= count for stratum, count in need.items()):
                room -= need
                part.extend(rows)
            else:
                passed.append(rows)
        # Clusters of several rows may not fit their label's room exactly: fill up with any that fit.
        left = []
        for rows in passed:
            if len(part) + len(rows) <= size:
                part.extend(rows)
            else:
                left.append(rows)
        parts.append(part)
    test, dev, train = parts
    # No part comes after train, so it may take some of a cluster and leave the rest out.
    train.extend(list(chain(*left))[: sizes.train - len(train)])
    return train, dev, test


def without_leaks(parts: Parts, telling: TokenSets) -> tuple[Parts, int]:
    """The parts with nothing in train or dev that is alike to a row of a later part, and the rows dropped."""
    train, dev, test = parts
    sealed = [row.key for row in test]
    leaking = alike_across(telling, (row.key for row in dev), sealed)
    kept_dev = [row for row in dev if row.key not in leaking]
    measured = sealed + [row.key for row in kept_dev]
    leaking = alike_across(telling, (row.key for row in train), measured)
    kept_train = [row for row in train if row.key not in leaking]
    return (kept_train, kept_dev, test), len(train) + len(dev) - len(kept_train) - len(kept_dev)


def _apportion(size: int, counts: Counter[str]) -> Counter[str]:
    """``size`` places over the strata in proportion, by largest remainder; never more than there are."""
    total = max(counts.total(), 1)
    size = min(size, counts.total())
    room = Counter({stratum: size * count // total for stratum, count in counts.items()})
    by_remainder = sorted(counts, key=lambda stratum: (-(size * counts[stratum] % total), stratum))
    room.update(by_remainder[: size - room.total()])
    return room


def warnings_of(
    parts: Parts, sizes: SplitSizes | None, group: str | None, margin: float | None, leaks: int
) -> list[str]:
    """What a reader of the result must know about these parts."""
    test = parts[2]
    notes = [size_note(len(test), margin)]
    if group is not None:
        notes.append(group_note(len({row.group for row in test}), group))
    if leaks:
        notes.append(f"rows dropped because a row of another part says nearly the same: {leaks}")
    named = zip(("train", "dev", "test"), parts, strict=True)
    strata = {name: [row.stratum for row in part] for name, part in named}
    notes += part_notes(strata, {} if sizes is None else sizes.model_dump())
    return [note for note in notes if note is not None]


def fingerprint_of(parts: Parts) -> str:
    """16 hex digits of the rows and the part each is in."""
    return _hash(json.dumps([sorted(row.id for row in part) for part in parts]))
