"""From rows to train, dev and test: checked, without duplicates, split by content.

A row's part of the data depends on a hash of what it says, not on where it stands, so
that a split survives sorting the file and adding to it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from optimizers.data import Rows, json_value
from optimizers.errors import DataError
from optimizers.records.rows import SplitSizes

if TYPE_CHECKING:
    import dspy

TEST_SHARE, DEV_SHARE = 0.35, 0.25
MOST_TEST, MOST_DEV = 600, 400
"""Shares and caps when no sizes are asked for; the rest is train."""

FEWEST_ROWS, FEW_TEST_ROWS = 40, 200
"""Fewer rows are refused; fewer test rows get a warning."""

TEMPLATE_SHARE = 0.2
"""A word in more rows than this belongs to a template, and says nothing about likeness."""

FEWEST_WORDS, MOST_RIVALS = 5, 50
"""Texts of fewer telling words are not compared; nor is any with more texts than this."""


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
    """

    train: tuple[dspy.Example, ...]
    dev: tuple[dspy.Example, ...]
    test: tuple[dspy.Example, ...]
    fingerprint: str
    duplicates: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """An example with what decides where it goes."""

    example: dspy.Example
    id: str
    said: str  # its inputs in lower case with single spaces
    key: str  # the same without punctuation: equal for rows that belong together
    answer: str  # its outputs as JSON
    stratum: str  # its closed outputs as JSON


Group = tuple[_Row, ...]
"""Rows so alike that they must stay in one part."""


def make_dataset(
    rows: Rows,
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    labels: Mapping[str, tuple[Any, ...]],
    sizes: SplitSizes | None = None,
    seed: int = 0,
) -> Dataset:
    """Check rows against a program and split them.

    Rows with the same inputs, letter case, white space and punctuation aside, become one.
    Near-duplicates (word sets with a Jaccard index of at least 0.9) stay in one part. Without
    ``sizes`` a row's part depends on its own hash, up to 600 test and 400 dev rows; with
    ``sizes`` each label is drawn in proportion.

    Args:
        rows: The data; columns beyond inputs and outputs are kept for the metric.
        inputs: Columns the program reads.
        outputs: Columns the metric compares with.
        labels: Closed output -> its allowed values; cells are turned into these.
        sizes: Rows per part, after duplicates are dropped.
        seed: Another seed is another split.

    Raises:
        DataError: A column is lacking, a label is not allowed, or there are too few rows.
    """
    rows.require((*inputs, *outputs))
    found, notes = _complete(rows, inputs, outputs, labels)
    kept, conflicts = _without_duplicates([_row(example, inputs, outputs, labels) for example in found])
    duplicates = len(found) - len(kept)
    needed = FEWEST_ROWS if sizes is None else max(FEWEST_ROWS, sizes.dev + sizes.test)
    if len(kept) < needed:
        dropped = f" once {duplicates} duplicates are dropped" if duplicates else ""
        raise DataError(
            f"There are {len(kept)} usable rows{dropped}; train, dev and test need at least {needed}.",
            where=rows.source,
            fix=f"add rows; {math.ceil(FEW_TEST_ROWS / TEST_SHARE)} make a test set of {FEW_TEST_ROWS}",
        )
    groups = _groups(kept, seed)
    parts = _by_share(groups, seed) if sizes is None else _by_size(groups, sizes)
    if not (parts[1] and parts[2]):
        what = "The rows are too much alike to be kept apart: dev or test would be empty."
        raise DataError(what, where=rows.source, fix="add rows that differ in more than a few words")
    if conflicts:
        notes.append(f"inputs that appear with different outputs: {conflicts}; the commonest output is kept")
    notes += _warnings(parts, sizes)
    train, dev, test = (tuple(row.example for row in part) for part in parts)
    return Dataset(train, dev, test, _fingerprint(parts), duplicates, (*rows.notes, *notes))


def example_id(example: dspy.Example) -> str:
    """Content hash of an example: 16 hex digits, whatever the order of its fields.

    Raises:
        DataError: A value has no JSON form.
    """
    return _hash(_json({name: example[name] for name in example.keys()}))  # noqa: SIM118 - iterating adds internals


def detectable_difference(n: int, disagreement: float = 0.2) -> float:
    """The smallest difference in mean score that ``n`` paired examples show.

    For a one-sided test at 5% with 80% power of two candidates that disagree on a share of
    the examples: ``(z(0.95) + z(0.80)) * sqrt(disagreement / n)``, the normal approximation
    to McNemar's test (Connor, Biometrics 43, 1987).

    Args:
        n: Test examples, at least 1.
        disagreement: Share of examples that only one of the two answers well.
    """
    return (1.6449 + 0.8416) * math.sqrt(disagreement / n)


def _json(value: Any) -> str:
    return json.dumps(json_value(value), sort_keys=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _complete(
    rows: Rows, inputs: Sequence[str], outputs: Sequence[str], labels: Mapping[str, tuple[Any, ...]]
) -> tuple[list[dspy.Example], list[str]]:
    """The rows that have what they need as examples, and a note about those left out."""
    import dspy

    spellings = {field: _spellings(values) for field, values in labels.items() if field in outputs}
    required = [field for field in outputs if None not in labels.get(field, ())]
    examples: list[dspy.Example] = []
    left_out: list[str] = []
    foreign: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for row, origin in zip(rows.rows, rows.origin, strict=True):
        if any(_blank(row.get(field)) for field in required) or all(_blank(row.get(name)) for name in inputs):
            left_out.append(origin)
            continue
        values = {**dict.fromkeys((*inputs, *outputs)), **row}
        for field, known in spellings.items():
            exact = _spelling(values[field])
            spelling = exact if exact in known else exact.casefold()
            if spelling in known:
                values[field] = known[spelling]
            else:
                foreign[field].append((origin, values[field]))
        examples.append(dspy.Example(values).with_inputs(*inputs))
    if foreign:
        field, entries = next(iter(foreign.items()))
        raise _foreign_label(field, entries, labels[field])
    count = len(left_out)
    notes = (
        [f"rows left out for want of an input or an output: {count}, the first {left_out[0]}"]
        if count
        else []
    )
    return examples, notes


def _foreign_label(field: str, entries: Sequence[tuple[str, Any]], allowed: Sequence[Any]) -> DataError:
    origin, value = entries[0]
    more = f"; rows like it: {len(entries)}" if len(entries) > 1 else ""
    names = ", ".join(repr(json_value(label)) for label in allowed)
    return DataError(
        f"The {field!r} {json_value(value)!r} is not one that the program declares{more}.",
        where=origin,
        fix=f"use one of {names}, or declare it in the signature",
    )


def _blank(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return not value.strip() if isinstance(value, str) else value is None


def _spellings(allowed: Sequence[Any]) -> dict[str, Any]:
    """How a cell may spell each allowed value: exactly, else in any letter case."""
    known = {_spelling(value): value for value in allowed}
    for spelling, value in list(known.items()):
        known.setdefault(spelling.casefold(), value)
    if {"True", "False"} <= known.keys():
        known |= {"1": True, "0": False}
    return known


def _spelling(value: Any) -> str:
    plain = None if _blank(value) else json_value(value)
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return " ".join(str(plain).split())


def _row(
    example: dspy.Example,
    inputs: Sequence[str],
    outputs: Sequence[str],
    labels: Mapping[str, tuple[Any, ...]],
) -> _Row:
    texts = [
        value if isinstance(value, str) else _json(value)
        for value in (example[name] for name in sorted(inputs))
    ]
    said = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts]
    # A text of signs alone, such as an emoticon, has nothing but them to be known by.
    bare = [" ".join(re.findall(r"[^\W_]+", text)) or text for text in said]
    return _Row(
        example=example,
        id=example_id(example),
        said="\n".join(said),
        key="\n".join(bare),
        answer=_json([example[name] for name in outputs]),
        stratum=_json([example[name] for name in outputs if name in labels]),
    )


def _without_duplicates(rows: Sequence[_Row]) -> tuple[list[_Row], int]:
    """One row per thing said, and how many inputs had more than one answer.

    Where only punctuation differs and the answers do too (``2*3``, ``2-3``), both rows stay.
    """
    by_said: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_said[row.said].append(row)
    conflicts = sum(len({row.answer for row in same}) > 1 for same in by_said.values())
    kept: dict[tuple[str, str], _Row] = {}
    for same in by_said.values():
        votes = Counter(row.answer for row in same)
        best = min(same, key=lambda row: (-votes[row.answer], row.answer, row.id))
        place = (best.key, best.answer)
        if place not in kept or best.id < kept[place].id:
            kept[place] = best
    return sorted(kept.values(), key=lambda row: row.id), conflicts


def _groups(rows: Sequence[_Row], seed: int) -> list[Group]:
    """Rows that belong together, each group led by the row whose key is hashed, in hash order."""
    leaders = _leaders({row.key for row in rows})
    members: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        members[leaders[row.key]].append(row)
    ordered = sorted(members, key=lambda key: (_unit(key, seed), key))
    return [tuple(sorted(members[key], key=lambda row: (row.key != key, row.id))) for key in ordered]


def _leaders(keys: Iterable[str]) -> dict[str, str]:
    """Each text with the text that leads its group of near-duplicates, often itself.

    Two word sets with a Jaccard index of at least 0.9 share one of their rarest 10% of words,
    so only those are looked up (prefix filtering: Bayardo, Ma and Srikant, WWW 2007).
    Members are compared with their leader, not with each other, so that no chain of small
    steps joins texts that differ.
    """
    words = {key: frozenset(key.split()) for key in sorted(keys, key=_hash)}
    count = Counter(word for found in words.values() for word in found)
    template = max(TEMPLATE_SHARE * len(words), 1)
    index: dict[str, list[str]] = defaultdict(list)
    telling: dict[str, frozenset[str]] = {}
    leaders: dict[str, str] = {}
    for key, found in words.items():
        mine = telling[key] = frozenset(word for word in found if count[word] <= template)
        leaders[key] = key
        if len(mine) < FEWEST_WORDS:
            continue
        rarest = sorted(mine, key=lambda word: (count[word], word))[: len(mine) // 10 + 1]
        rivals = islice((rival for word in rarest for rival in index[word]), MOST_RIVALS)
        leaders[key] = next((rival for rival in rivals if _alike(mine, telling[rival])), key)
        if leaders[key] == key:
            for word in rarest:
                index[word].append(key)
    return leaders


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if 9 * max(len(one), len(other)) > 10 * min(len(one), len(other)):
        return False
    shared = len(one & other)
    return 10 * shared >= 9 * (len(one) + len(other) - shared)


def _unit(key: str, seed: int) -> float:
    """A hash in [0, 1)."""
    return int(_hash(f"{seed}\n{key}"), 16) / 16**16


Parts = tuple[list[_Row], list[_Row], list[_Row]]
"""Train, dev and test."""


def _by_share(groups: Sequence[Group], seed: int) -> Parts:
    """Each group where its own hash puts it; what exceeds the largest dev and test goes to train."""
    train: list[_Row] = []
    dev: list[_Row] = []
    test: list[_Row] = []
    for group in groups:
        place = _unit(group[0].key, seed)
        if place < TEST_SHARE:
            part, most = test, MOST_TEST
        elif place < TEST_SHARE + DEV_SHARE:
            part, most = dev, MOST_DEV
        else:
            part, most = train, len(train) + len(group)
        (part if len(part) + len(group) <= most else train).extend(group)
    return train, dev, test


def _by_size(groups: Sequence[Group], sizes: SplitSizes) -> Parts:
    """Parts of the sizes asked for, test first, every label in proportion, in hash order."""
    left = list(groups)
    parts = []
    for size in (sizes.test, sizes.dev, sizes.train):
        room = _apportion(size, Counter(row.stratum for group in left for row in group))
        part: list[_Row] = []
        passed: list[Group] = []
        for group in left:
            need = Counter(row.stratum for row in group)
            if all(room[stratum] >= rows for stratum, rows in need.items()):
                room -= need
                part.extend(group)
            else:
                passed.append(group)
        # Groups of several rows may not fit their label's room exactly: fill up with any that fit.
        left = []
        for group in passed:
            if len(part) + len(group) <= size:
                part.extend(group)
            else:
                left.append(group)
        parts.append(part)
    return parts[2], parts[1], parts[0]


def _apportion(size: int, counts: Counter[str]) -> Counter[str]:
    """``size`` places over the strata in proportion, by largest remainder; never more than there are."""
    total = max(counts.total(), 1)
    size = min(size, counts.total())
    room = Counter({stratum: size * count // total for stratum, count in counts.items()})
    by_remainder = sorted(counts, key=lambda stratum: (-(size * counts[stratum] % total), stratum))
    room.update(by_remainder[: size - room.total()])
    return room


def _warnings(parts: Parts, sizes: SplitSizes | None) -> list[str]:
    train, dev, test = parts
    notes = []
    if len(test) < FEW_TEST_ROWS:
        shown = f"differences of about {detectable_difference(len(test)):.2f} and more"
        odds = "80% power, one-sided 5%, candidates that disagree on one row in five"
        notes.append(f"the test set has {len(test)} rows: it shows {shown} ({odds})")
    asked = (len(train), len(dev), len(test)) if sizes is None else (sizes.train, sizes.dev, sizes.test)
    every = {row.stratum for part in parts for row in part}
    for name, part, size in zip(("train", "dev", "test"), parts, asked, strict=True):
        if len(part) < size:
            notes.append(f"{name} has {len(part)} rows, not the {size} asked for")
        lacking = sorted(every - {row.stratum for row in part})
        if lacking and part:
            names = ", ".join("/".join(map(str, json.loads(stratum))) for stratum in lacking)
            notes.append(f"{name} has no row labelled {names}")
    return notes


def _fingerprint(parts: Parts) -> str:
    return _hash(json.dumps([sorted(row.id for row in part) for part in parts]))
