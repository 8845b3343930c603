"""Delimited and JSON files as plain rows, read with the standard library: no cell is changed on the way."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from optimizers.errors import DataError

NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?")
"""A cell that is a number and nothing else: no leading zero, which would mark a code."""

MOST_BYTES, MOST_COLUMNS, MOST_CHARACTERS = 500_000_000, 10_000, 10_000_000
"""The most that a file, its header and one cell may hold: no prompt takes more, and a file that does is
seldom what was meant."""


def read_text(path: Path) -> str:
    """A whole text file, UTF-8 with or without a byte order mark.

    Raises:
        DataError: It cannot be read, is empty, too large, or no such text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"The file cannot be read: {error.strerror}.", where=str(path)) from error
    if len(content) > MOST_BYTES:
        what = f"The file holds more than {MOST_BYTES // 1_000_000} MB, which a study has no use for."
        fix = "write it as .csv or .jsonl, which are sampled; some thousands of rows are plenty"
        raise DataError(what, where=str(path), fix=fix)
    if b"\0" in content:
        raise binary_file(str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"{path}, line {line}"
        raise DataError("The file is not UTF-8 text.", where=where, fix="save it as UTF-8") from error
    if not text.strip():
        raise DataError("The file is empty.", where=str(path), fix="give at least 40 labelled rows")
    return text


def binary_file(where: str) -> DataError:
    """That a file is no text."""
    fix = "save it as UTF-8 text; spreadsheets call it CSV UTF-8"
    return DataError("The file holds NUL bytes: it is binary or UTF-16.", where=where, fix=fix)


def broken_quoting(error: csv.Error, where: str) -> DataError:
    """That a delimited file cannot be taken apart."""
    said = f"{MOST_CHARACTERS:,} characters are not the end of a cell" if "limit" in str(error) else error
    fix = 'close every quote, and write one within as ""'
    return DataError(f"The quoting is broken: {said}.", where=where, fix=fix)


USUAL = {".csv": ",", ".tsv": "\t"}
"""Extension -> what usually parts the columns."""

Found = tuple[list[dict[str, Any]], list[int], list[str]]
"""Records, the line of the file that each begins on, if it has lines, and notes about how they were read."""


def _table(text: str, path: Path, as_text: Collection[str]) -> Found:
    (_, header), *below = _cells(text, path, delimiter_of(text, USUAL[path.suffix.lower()]))
    lines = [cells for _, cells in below]
    names = [name.strip() for name in header]
    if len(names) > MOST_COLUMNS:
        what = f"The header has {len(names):,} columns; {MOST_COLUMNS:,} are read at most."
        raise DataError(what, where=str(path), fix="keep those that the program reads and writes")
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise DataError(
            f"Two columns are called {repeated!r}.", where=str(path), fix="give each its own name"
        )
    if not any(names):
        raise DataError(
            "The header names no column.", where=str(path), fix="begin the file with a line of names"
        )
    for number, line in below:
        if len(line) != len(names):
            raise DataError(
                f"A row has {len(line)} cells, the header {len(names)}.",
                where=f"{path}, line {number}",
                fix="quote the cells that hold a delimiter, a quote or a line break",
            )
    columns = {
        name: [line[i] for line in lines] if name in as_text else _typed([line[i] for line in lines])
        for i, name in enumerate(names)
        if name
    }
    notes = [] if all(names) else [f"{path.name}: a column without a name is left out"]
    records = [{name: cells[i] for name, cells in columns.items()} for i in range(len(lines))]
    return records, [number for number, _ in below], notes


def delimiter_of(text: str, usual: str) -> str:
    """What parts the columns of a delimited text, by its first line.

    Args:
        text: Begins with the header.
        usual: What it is where nothing else is found.
    """
    # Where a comma is the decimal sign, spreadsheets part the columns of a .csv by semicolons.
    first = text.lstrip().partition("\n")[0]
    return next((mark for mark in (usual, ";", "\t") if mark in first), usual)


def _cells(text: str, path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows of a delimited file as text, each with the line it begins on; blank lines left out."""
    former = csv.field_size_limit(MOST_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, begins = [], 1
    try:
        for cells in reader:
            if cells:
                rows.append((begins, cells))
            begins = reader.line_num + 1
        return rows
    except csv.Error as error:
        raise broken_quoting(error, f"{path}, line {reader.line_num}") from error
    finally:
        csv.field_size_limit(former)


def _typed(cells: list[str]) -> list[Any]:
    """A column of numbers as numbers, blanks as None; any other column as it is written."""
    written = [cell.strip() for cell in cells]
    if not any(written) or not all(NUMBER.fullmatch(cell) for cell in written if cell):
        return list(cells)
    return [None if not cell else float(cell) if "." in cell else int(cell) for cell in written]


def _json(text: str, path: Path, as_text: Collection[str]) -> Found:
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        # Many files called .json hold one object per line.
        if "Extra data" in str(error):
            return _jsonl(text, path, as_text)
        raise DataError(f"This is not JSON: {error}.", where=str(path), fix="correct it there") from error
    if not isinstance(content, list):
        fix = "give a list of objects, or one object per line in a .jsonl file"
        raise DataError(f"The file holds one {_kind(content)}, not a list of rows.", where=str(path), fix=fix)
    return [_record(entry, f"{path}, row {number}") for number, entry in enumerate(content, 1)], [], []


def _jsonl(text: str, path: Path, as_text: Collection[str]) -> Found:
    records, lines = [], []
    # Not splitlines(): JSON text may hold U+2028 and the like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            fix = "write one complete object per line"
            raise DataError(f"The line is not JSON: {error}.", where=where, fix=fix) from error
        records.append(_record(entry, where))
        lines.append(number)
    return records, lines, []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which says nothing twice: a reader would keep the last, and nobody would know."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object names {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _record(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise DataError(
            f"A row is a {_kind(entry)}, not an object.", where=where, fix='write {"column": value}'
        )
    try:
        json.dumps(entry, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        fix = "write the character whole, or leave it out"
        raise DataError("A row holds half a character (a lone surrogate).", where=where, fix=fix) from error
    return entry


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


TEXT_READERS = {".csv": _table, ".tsv": _table, ".json": _json, ".jsonl": _jsonl}
"""Extension -> ``read(text, path, as_text)``, which gives :data:`Found` or raises DataError.

Cells of a table say nothing of their type: columns of numbers are read as numbers, but for those named in
``as_text``. JSON's values have theirs.
"""
