"""Reading the user's data: files, data cards, Hub data sets and lists, all as plain rows.

Text files are read with the standard library rather than through ``datasets``, whose
readers change cells on the way: a date becomes a datetime, ``NA`` becomes null and
``007`` becomes 7. Parquet and the Hub go through ``datasets``.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optimizers.errors import DataError
from optimizers.records.rows import SplitSizes
from optimizers.task.data.large_files import SAMPLED, drawn_rows, is_large, sample_note, sample_of
from optimizers.task.data.text_files import MOST_CHARACTERS, TEXT_READERS, read_text

HUB = re.compile(r"hf://(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[^@]+))?(?:@(?P<split>.+))?")
MOST_LEVELS = 100
"""How deep lists and objects may nest in a cell: further, Python cannot write them."""

SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")

Source = str | Path | Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """Data as it was found, before it is checked against a program.

    Attributes:
        rows: One mapping of column to value per row.
        origin: The place of each row, for messages: ``reviews.csv row 17 (line 20)``, the first
            row below the header being row 1, and the line being the file's, where it has lines.
        split: Sizes that a data card asks for.
        notes: What a reader of the result must know about the data.
    """

    rows: tuple[dict[str, Any], ...]
    origin: tuple[str, ...]
    split: SplitSizes | None = None
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the rows are from, as their origins name it."""
        return re.sub(r" row \d+( \(line \d+\))?$|\[\d+\]$", "", self.origin[0]) if self.origin else "data"

    def require(self, columns: Sequence[str]) -> None:
        """Refuse rows none of which has a column that the program needs.

        Raises:
            DataError: A column is lacking.
        """
        there = list(dict.fromkeys(column for row in self.rows for column in row))
        lacking = [column for column in dict.fromkeys(columns) if column not in there]
        if lacking:
            needs = f"{'a column' if len(lacking) == 1 else 'columns'} {', '.join(map(repr, lacking))}"
            raise DataError(
                f"The program needs {needs} that the data lacks.",
                where=f"{self.source}, columns {', '.join(map(repr, there))}",
                fix="rename the column in the data, or the field in the program",
            )


def load_rows(source: Source, *, base: Path, as_text: Collection[str] = ()) -> Rows:
    """Read data from wherever a task says it is.

    Args:
        source: A path to a .csv, .tsv, .json, .jsonl or .parquet file or to a data card
            (.toml); ``hf://owner/name[:config][@split]``; or a list of ``dspy.Example`` or
            mappings.
        base: Folder that relative paths count from.
        as_text: Columns of tables that are text, whatever their cells look like.

    Raises:
        DataError: The data is missing, empty, cannot be decoded or has no columns.
        AssetError: The data behind a card cannot be pulled.
    """
    if isinstance(source, str) and source.startswith("hf:"):
        return _from_hub(source)
    if isinstance(source, (str, Path)):
        return _from_path(_path(source, base), as_text)
    return _from_list(source)


def _path(source: str | Path, base: Path) -> Path:
    """Where a path leads.

    Raises:
        DataError: Nowhere that can be looked at.
    """
    try:
        path = base / Path(source).expanduser()
        path.stat()
    except FileNotFoundError:
        pass  # said below, with what is near
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, no such user
        said = getattr(error, "strerror", None) or str(error)
        fix = "give the path of the file, counted from the project's folder"
        raise DataError(
            f"The data file cannot be looked at: {said}.", where=repr(str(source)), fix=fix
        ) from error
    return path


def _from_path(path: Path, as_text: Collection[str]) -> Rows:
    extension = path.suffix.lower()
    if extension not in (".toml", ".parquet", *TEXT_READERS):
        known = ", ".join(sorted((".toml", ".parquet", *TEXT_READERS)))
        kind = f"{extension} files are" if extension else "A file without an extension is"
        fix = "save the sheet as CSV UTF-8" if extension in SPREADSHEETS else f"use one of {known}"
        raise DataError(f"{kind} not read as data.", where=str(path), fix=fix)
    if not path.is_file():
        what = "There is no data file here."
        if path.exists():
            what = f"This is a {'folder' if path.is_dir() else 'device or a pipe'}, not a data file."
        close = difflib.get_close_matches(path.name, [one.name for one in path.parent.glob("*.*")], n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        fix = f"{meant}give the path of the file, counted from the project's folder"
        raise DataError(what, where=str(path), fix=fix)
    if extension == ".toml":
        return _from_card(path)
    if extension == ".parquet":
        return _parquet(path)
    sample = sample_of(path) if extension in SAMPLED and is_large(path) else None
    text = read_text(path) if sample is None else sample.text
    records, lines, notes = TEXT_READERS[extension](text, path, as_text)
    read = _located(records, str(path), path.name)
    if sample is not None:
        read = _numbered(read, path, sample.rows)
        notes = [*notes, sample_note(path, len(sample.rows), sample.total)]
    if lines:
        read = replace(
            read, origin=tuple(f"{at} (line {n})" for at, n in zip(read.origin, lines, strict=True))
        )
    return replace(read, notes=tuple(notes))


def _located(records: Iterable[dict[str, Any]], where: str, name: str, notes: Sequence[str] = ()) -> Rows:
    """Rows with their origin, refused when there are none or none has a column."""
    rows = tuple(records)
    if not rows:
        raise DataError("The data holds no rows.", where=where, fix="give at least 40 labelled rows")
    if not any(rows):
        raise DataError("The rows have no columns.", where=where, fix="name each field, as in a header line")
    for number, row in enumerate(rows, 1):
        for column, value in row.items():
            if beyond := _beyond_bounds(value):
                raise DataError(
                    f"A cell holds {beyond}, more than any prompt takes.",
                    where=f"{where}, row {number}, column {column!r}",
                    fix="leave the row out, or look whether a quote or a bracket before it is not closed",
                )
    return Rows(rows, tuple(f"{name} row {number}" for number in range(1, len(rows) + 1)), notes=tuple(notes))


def _beyond_bounds(value: Any) -> str:
    """What of a cell is too much, in words; "" where nothing is. A list may hold itself."""
    level, depth = [value], 0
    while level:
        for one in level:
            if isinstance(one, str) and len(one) > MOST_CHARACTERS:
                return f"{len(one):,} characters"
        depth += 1
        level = [
            item
            for one in level
            if isinstance(one, (Mapping, list, tuple))
            for item in (one.values() if isinstance(one, Mapping) else one)
        ]
        if depth > MOST_LEVELS:
            return f"lists or objects nested {MOST_LEVELS} deep and deeper"
    return ""


def _from_list(source: Sequence[Any]) -> Rows:
    import dspy

    rows = []
    for index, entry in enumerate(source):
        if not isinstance(entry, (dspy.Example, Mapping)):
            raise DataError(
                f"An entry of the data is a {type(entry).__name__}.",
                where=f"data[{index}]",
                fix="give a dspy.Example or a mapping of column to value",
            )
        rows.append({str(column): value for column, value in entry.items()})
    checked = _located(rows, "data", "data")
    return Rows(checked.rows, tuple(f"data[{index}]" for index in range(len(rows))))


def _from_card(path: Path) -> Rows:
    from optimizers.task.data.cards import card_rows, read_card

    card = read_card(path)
    found = _located([dict(row) for row in card_rows(card)], str(path), card.name)
    asked = card.split
    sizes = None if asked is None else SplitSizes(train=asked.train, dev=asked.dev, test=asked.test)
    note = getattr(card, "contamination", None)
    return Rows(found.rows, found.origin, split=sizes, notes=(str(note),) if note else ())


def _numbered(read: Rows, path: Path, numbers: Iterable[int]) -> Rows:
    """Rows that are some of a file's, by their numbers in it."""
    return replace(read, origin=tuple(f"{path.name} row {number}" for number in numbers))


def _parquet(path: Path) -> Rows:
    from datasets import Dataset
    from datasets.exceptions import DatasetsError

    # Dataset.from_parquet rather than load_dataset("parquet"), which reports each use to the Hub.
    with tempfile.TemporaryDirectory() as scratch, _without_progress():
        try:
            folder = str(_cache() or scratch)
            table = Dataset.from_parquet(str(path), cache_dir=folder, keep_in_memory=not is_large(path))
        except (DatasetsError, OSError, ValueError) as error:
            cause = error.__cause__ or error
            fix = "write it again, for example with pandas.DataFrame.to_parquet"
            raise DataError(f"This is no readable Parquet file: {cause}", where=str(path), fix=fix) from error
        if not is_large(path):
            return _located(_records(table), str(path), path.name)
        rows = drawn_rows(path, len(table))
        read = _located(_records(table.select(rows)), str(path), path.name)
        note = sample_note(path, len(rows), len(table))
        return replace(_numbered(read, path, (row + 1 for row in rows)), notes=(note,))


def _from_hub(source: str) -> Rows:
    match = HUB.fullmatch(source)
    if match is None:
        raise DataError("This is no Hub address.", where=source, fix="write hf://owner/name[:config][@split]")
    from datasets import DatasetDict, load_dataset
    from datasets.exceptions import DatasetsError

    with _without_progress():
        try:
            found = load_dataset(match["name"], match["config"], split=match["split"], cache_dir=_cache())
        except (DatasetsError, OSError, ValueError, RuntimeError) as error:
            fix = "check the name, the config and the split, and the connection; HF_TOKEN opens gated data"
            raise DataError(f"The Hub data set cannot be loaded: {error}", where=source, fix=fix) from error
    notes = [f"{source}: a public set may be in a model's training data, so its scores may flatter it"]
    if isinstance(found, DatasetDict):
        split = "train" if "train" in found else next(iter(found))
        if len(found) > 1:
            notes.append(f"{source}: only its split {split!r} is used, of {', '.join(map(str, found))}")
        found = found[split]
    return _located(_records(found), source, match["name"], notes)


def _records(table: Any) -> list[dict[str, Any]]:
    """A ``datasets`` table as rows, class numbers as the names they stand for."""
    from datasets import ClassLabel

    classes = {column: kind.names for column, kind in table.features.items() if isinstance(kind, ClassLabel)}

    def named(column: str, value: Any) -> Any:
        if column not in classes or value is None:
            return value
        return classes[column][value] if value >= 0 else None

    return [{column: named(column, value) for column, value in row.items()} for row in table]


def _cache() -> str | None:
    """Where ``datasets`` keeps what it prepares; None is its own default."""
    folder = os.environ.get("OPTIMIZE_CACHE")
    return str(Path(folder).expanduser() / "datasets") if folder else None


@contextmanager
def _without_progress() -> Iterator[None]:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            enable_progress_bars()
