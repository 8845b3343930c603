"""Files too large to hold: a sample of their rows, drawn in one pass and in little memory."""

from __future__ import annotations

import csv
import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from typing import IO

from optimizers.errors import DataError
from optimizers.task.data.text_files import MOST_CHARACTERS, USUAL, binary_file, broken_quoting, delimiter_of

LARGE, KEPT_BYTES, KEPT_ROWS = 64_000_000, 48_000_000, 20_000
"""Bytes from which on a file is sampled; characters and rows of a sample at most. A study uses hundreds of
rows or a few thousand."""

SAMPLED = (".csv", ".tsv", ".jsonl")
"""Extensions of files whose rows follow each other."""


@dataclass(frozen=True)
class Sample:
    """Part of a file's rows.

    Attributes:
        text: The file as if it held these rows alone, each on its own line.
        rows: Their numbers in the file, from 1.
        total: Rows of the file.
    """

    text: str
    rows: tuple[int, ...]
    total: int


def is_large(path: Path) -> bool:
    """Whether a file is sampled rather than read whole."""
    return path.stat().st_size > LARGE


def sample_note(path: Path, kept: int, total: int) -> str:
    """What a reader of the result must know of a file that was sampled."""
    size = f"{path.stat().st_size / 1e6:,.0f} MB"
    return f"{path.name}: {kept:,} of its {total:,} rows are used, drawn at random; the file holds {size}"


def drawn_rows(path: Path, total: int) -> list[int]:
    """Which rows of a file are used whose rows can be reached one by one, from 0, in order."""
    most = min(total, KEPT_ROWS, max(1, int(total * KEPT_BYTES / path.stat().st_size)))
    return sorted(Random(total).sample(range(total), most))


def sample_of(path: Path) -> Sample:
    """A sample of a delimited file's or JSONL file's rows, in their order.

    Each row gets a number by its content alone, and those with the smallest are kept, as many as
    there is room for: every row is as likely as any, whatever their order (bottom-k sampling: Cohen &
    Kaplan, PODC 2007).

    Raises:
        DataError: The file cannot be read, is no UTF-8 text, or a row of it is too long or broken.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _drawn(file, path)
    except UnicodeDecodeError as error:
        raise DataError("The file is not UTF-8 text.", where=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"The file cannot be read: {error.strerror}.", where=str(path)) from error


def _drawn(file: IO[str], path: Path) -> Sample:
    heap: list[tuple[int, int, int, str]] = []
    held = total = 0
    head, records = "", _lines(file, path)
    if path.suffix.lower() != ".jsonl":
        records = _records(records, path)
        head = next(records, (1, ""))[1]
    for line, text in records:
        if not text.strip():
            continue
        total += 1
        key = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        # Smallest keys are kept: a heap gives the largest of its first parts when they are negative.
        heapq.heappush(heap, (-key, total, line, text))
        held += len(text)
        while len(heap) > KEPT_ROWS or (held > KEPT_BYTES and len(heap) > 1):
            held -= len(heapq.heappop(heap)[3])
    kept = sorted(heap, key=lambda one: one[1])
    parts, at = [head], 1 + head.count("\n")
    for _, _, line, text in kept:
        parts += ["\n" * (line - at), text]
        at = line + text.count("\n")
    return Sample("".join(parts), tuple(row for _, row, _, _ in kept), total)


def _lines(file: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    """The file's lines with their numbers, ends included, none longer than a cell may be."""
    number = 0
    while line := file.readline(MOST_CHARACTERS + 1):
        number += 1
        where = f"{path}, line {number}"
        if len(line) > MOST_CHARACTERS:
            what = f"A line holds more than {MOST_CHARACTERS:,} characters."
            raise DataError(
                what, where=where, fix="leave the row out, or look whether lines end with a line feed"
            )
        if "\0" in line:
            raise binary_file(where)
        yield number, line


def _records(lines: Iterator[tuple[int, str]], path: Path) -> Iterator[tuple[int, str]]:
    """The rows of a delimited file as they are written, each with the line it begins on."""
    first = next(lines, None)
    if first is None:
        return
    read: list[tuple[int, str]] = []

    def fed() -> Iterator[str]:
        for one in chain([first], lines):
            read.append(one)
            yield one[1]

    former = csv.field_size_limit(MOST_CHARACTERS)
    reader = csv.reader(fed(), delimiter=delimiter_of(first[1], USUAL[path.suffix.lower()]), strict=True)
    try:
        for _ in reader:
            yield read[0][0], "".join(text for _, text in read)
            read.clear()
    except csv.Error as error:
        raise broken_quoting(error, f"{path}, line {read[0][0] if read else 1}") from error
    finally:
        csv.field_size_limit(former)
