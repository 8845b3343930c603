"""Rows checked against a program: nothing it needs is lacking, every label is one it declares."""

from __future__ import annotations

import difflib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

from optimizers.errors import DataError
from optimizers.prompting.renderings.fields import parse_value
from optimizers.records.json_values import json_value
from optimizers.task.data.load import Rows

if TYPE_CHECKING:
    import dspy

Located = list[tuple[str, "dspy.Example"]]
"""Examples, each with its place in the data."""


MOST_LABELS = 5
"""Further labels named in a message."""


def complete_rows(
    rows: Rows, inputs: Sequence[str], outputs: Sequence[str], labels: Mapping[str, tuple[Any, ...]]
) -> tuple[Located, list[str]]:
    """The rows that have what the program needs, and a note about those left out.

    Args:
        rows: The data.
        inputs: Columns the program reads; a row has at least one of them.
        outputs: Columns the metric compares with; a row has all that must not be None.
        labels: Closed output -> its allowed values; cells are turned into these.

    Raises:
        DataError: A column is lacking, a cell has no JSON form or a label is not allowed.
    """
    import dspy

    rows.require((*inputs, *outputs))
    spellings = {field: _spellings(values) for field, values in labels.items() if field in outputs}
    required = [field for field in outputs if None not in labels.get(field, ())]
    examples: Located = []
    left_out: list[str] = []
    foreign: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for row, origin in zip(rows.rows, rows.origin, strict=True):
        if any(_blank(row.get(field)) for field in required) or all(_blank(row.get(name)) for name in inputs):
            left_out.append(origin)
            continue
        values = {**dict.fromkeys((*inputs, *outputs)), **row}
        for column, value in values.items():
            values[column] = None if _is_nan(value) else value
            _check_cell(values[column], column in inputs or column in outputs, f"{origin}, column {column!r}")
        for field, known in spellings.items():
            exact = spelling(values[field])
            spelled = exact if exact in known else exact.casefold()
            if spelled in known:
                values[field] = known[spelled]
            else:
                foreign[field].append((origin, values[field]))
        examples.append((origin, dspy.Example(values).with_inputs(*inputs)))
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


def read_structures(rows: Rows, types: Mapping[str, Any]) -> Rows:
    """The rows with lists and records in the place of cells that spell them as JSON, as text files do.

    Args:
        rows: The data.
        types: Output -> its type.

    Raises:
        DataError: A cell is no value of the type.
    """
    read = [dict(row) for row in rows.rows]
    for (row, origin), name in product(zip(read, rows.origin, strict=True), types):
        if isinstance(cell := row.get(name), str) and not _blank(cell):
            try:
                row[name] = json_value(parse_value(cell, types[name]))
            except ValueError as error:
                raise DataError(
                    f"A label is no value of its type: {error}.",
                    where=f"{origin}, column {name!r}",
                    fix='write it as JSON, such as ["a", "b"]',
                ) from error
    return replace(rows, rows=tuple(read))


def _foreign_label(field: str, entries: Sequence[tuple[str, Any]], allowed: Sequence[Any]) -> DataError:
    found: dict[str, list[str]] = defaultdict(list)
    for origin, value in entries:
        found[repr(json_value(value))].append(origin)
    (first, origins), *others = found.items()
    more = f"; rows like it: {len(origins)}" if len(origins) > 1 else ""
    rest = ", ".join(f"{value} ({places[0]})" for value, places in others[:MOST_LABELS])
    more += f"; nor are {len(others)} more: {rest}" if others else ""
    more += ", ..." if len(others) > MOST_LABELS else ""
    names = [repr(json_value(label)) for label in allowed]
    close = difflib.get_close_matches(first, names, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return DataError(
        f"The {field!r} {first} is not one that the program declares{more}.",
        where=origins[0],
        fix=f"{meant}use one of {', '.join(names)}, or declare it in the signature",
    )


def unlabelled_notes(found: Located, labels: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Notes on declared labels that no row has: nothing can be measured of them.

    Args:
        found: The rows that are used.
        labels: Closed output -> its allowed values.
    """
    notes = []
    for field, allowed in labels.items():
        used = [example.get(field) for _, example in found]
        unused = [repr(json_value(label)) for label in allowed if label is not None and label not in used]
        if unused:
            shown = ", ".join(unused[:MOST_LABELS]) + (", ..." if len(unused) > MOST_LABELS else "")
            notes.append(f"no row has the {field!r} {shown}")
    return notes


def check_groups(rows: Rows, found: Located, group: str) -> None:
    """Refuse data in which not every row names its group.

    Args:
        rows: The data.
        found: The rows of it that are used.
        group: The column that names groups.

    Raises:
        DataError: The column or a cell of it is lacking.
    """
    there = list(dict.fromkeys(column for row in rows.rows for column in row))
    if group not in there:
        raise DataError(
            f"The data lacks the column {group!r} that is to name groups.",
            where=f"{rows.source}, columns {', '.join(map(repr, there))}",
            fix="name one of these columns as the group, or none",
        )
    blank = [origin for origin, example in found if _blank(example.get(group))]
    if blank:
        more = f"; rows like it: {len(blank)}" if len(blank) > 1 else ""
        raise DataError(
            f"The group {group!r} is blank{more}.",
            where=f"{blank[0]}, column {group!r}",
            fix="fill it in; a row that belongs with no other gets a group of its own",
        )


def _check_cell(value: Any, used: bool, where: str) -> None:
    """Refuse what the ledger and the exports could not write and read again."""
    try:
        json.dumps(json_value(value), ensure_ascii=False, allow_nan=not used).encode()
    except DataError as error:
        raise DataError(error.what, where=where, fix=error.fix) from None
    except UnicodeEncodeError as error:
        fix = "write the character whole, or leave it out"
        raise DataError("A cell holds half a character (a lone surrogate).", where=where, fix=fix) from error
    except (ValueError, OverflowError, RecursionError) as error:
        fix = "use finite numbers, or text"
        raise DataError(f"A cell has no JSON form: {error}.", where=where, fix=fix) from error


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else value is None or _is_nan(value)


def _spellings(allowed: Sequence[Any]) -> dict[str, Any]:
    """How a cell may spell each allowed value: exactly, else in any letter case."""
    known = {spelling(value): value for value in allowed}
    for exact, value in list(known.items()):
        known.setdefault(exact.casefold(), value)
    if {"True", "False"} <= known.keys():
        known |= {"1": True, "0": False}
    return known


def spelling(value: Any) -> str:
    """A cell as text that is equal for cells that mean the same: ``3``, ``3.0`` and ``" 3 "``."""
    plain = None if _blank(value) else json_value(value)
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return " ".join(str(plain).split())
