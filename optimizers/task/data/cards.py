"""Example data that packages carry: a card says what it is, a reader turns it into rows."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optimizers.errors import DataError
from optimizers.models.assets import Asset, fetch

Rows = Iterator[dict[str, Any]]


class CardSplit(BaseModel):
    """Examples wanted per split; rows beyond them go to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(ge=1)
    dev: int = Field(ge=1)
    test: int = Field(ge=1)


class Reader(BaseModel):
    """How the file becomes rows.

    Attributes:
        name: One of :data:`READERS`.
        column: Name of the text column.
        other: For pairs: name of the second text column.
        label: Name of the label column.
        threshold: For rated sentences: the mean rating from which a sentence counts as positive.
        neutral: For rated sentences: largest absolute mean rating that counts as neutral; none when left out.
        rows_per_class: For definitions: rows kept of each class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    column: str
    other: str = ""
    label: str
    threshold: float = 1.0
    neutral: float | None = None
    rows_per_class: int = 400


class DataCard(BaseModel):
    """A data card: where a data set comes from, what it holds and under which terms.

    Attributes:
        name: Short name.
        description: What it is.
        licence: Short name of its licence.
        notice: The notice that goes with it.
        contamination: Whether models may have seen it, shown with results.
        columns: Column -> what it holds.
        reader: How rows are read.
        split: Examples per split, or None for the default split.
        asset: The file, with its sources and hash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    licence: str
    notice: str = ""
    contamination: str = ""
    columns: dict[str, str]
    reader: Reader
    split: CardSplit | None = None
    asset: Asset


def read_card(path: Path) -> DataCard:
    """Read a data card.

    Raises:
        DataError: It is missing, no TOML, or lacks something.
    """
    if not path.is_file():
        raise DataError(
            "There is no data card here.", where=str(path), fix="give the path of a .toml data card"
        )
    try:
        card = DataCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise DataError(f"The data card is no TOML: {error}", where=str(path), fix="mend the file") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"The data card is not complete: {first['msg']}", where=f"{path}: {place}") from error
    if card.reader.name not in READERS:
        raise DataError(
            f"There is no reader {card.reader.name!r}.",
            where=f"{path}: reader.name",
            fix=f"one of {', '.join(READERS)}",
        )
    return card


def card_rows(card: DataCard) -> list[dict[str, Any]]:
    """The rows of a card's data, its file pulled at first use.

    Raises:
        AssetError: The file cannot be had.
    """
    return list(READERS[card.reader.name](fetch(card.asset), card.reader))


def _rated_sentences(path: Path, reader: Reader) -> Rows:
    """Lines of id, mean human rating from -4 to 4, and text; what lies between the classes is left out."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split("\t", 2)
        if len(fields) < 3:
            continue
        rating, text = float(fields[1]), fields[2].strip()
        label = _rating_label(rating, reader)
        if label is not None and text:
            yield {reader.column: text, reader.label: label}


def _rating_label(rating: float, reader: Reader) -> str | None:
    if abs(rating) >= reader.threshold:
        return "positive" if rating > 0 else "negative"
    return "neutral" if reader.neutral is not None and abs(rating) <= reader.neutral else None


KINDS = {"05": "animal", "08": "body part", "13": "food", "15": "place", "18": "person", "20": "plant"}
"""WordNet's lexicographer files for nouns -> the kind of thing."""

MIN_WORDS = 3


def _wordnet_definitions(path: Path, reader: Reader) -> Rows:
    """First glosses of nouns, the same number of each kind, chosen by hash so that the choice is stable."""
    by_kind: dict[str, set[str]] = {kind: set() for kind in KINDS.values()}
    for line in path.read_text(encoding="latin-1").splitlines():
        head, bar, gloss = line.partition(" | ")
        fields = head.split()
        kind = KINDS.get(fields[1]) if bar and len(fields) > 1 else None
        text = gloss.split(";")[0].strip()
        if kind is None or len(text.split()) < MIN_WORDS or re.search(rf"\b{kind}s?\b", text):
            continue
        by_kind[kind].add(text)
    for kind, texts in by_kind.items():
        ordered = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())
        for text in ordered[: reader.rows_per_class]:
            yield {reader.column: text, reader.label: kind}


ANSWER_MARK = "####"
"""Stands before the final number in GSM8K's solutions."""


def _solved_problems(path: Path, reader: Reader) -> Rows:
    """Lines of JSON with a question and a worked solution; of that, the final whole number is kept."""
    for line in path.read_text(encoding="utf-8").splitlines():
        problem = json.loads(line)
        result = problem["answer"].rpartition(ANSWER_MARK)[2].replace(",", "")
        yield {reader.column: problem["question"], reader.label: int(result)}


LISTING = ("name", "addr", "city")
"""Parts of a listing that are shown. The phone number is not: it gives most matches away."""


def _listing_pairs(path: Path, reader: Reader) -> Rows:
    """Pairs of listings in one table, its columns prefixed ltable_ and rtable_, and 1 in gold for a match."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            left, right = (
                ", ".join(" ".join(row[f"{side}_{part}"].split()) for part in LISTING)
                for side in ("ltable", "rtable")
            )
            label = "same" if row["gold"] == "1" else "different"
            yield {reader.column: left, reader.other: right, reader.label: label}


READERS: dict[str, Callable[[Path, Reader], Rows]] = {
    "rated_sentences": _rated_sentences,
    "wordnet_definitions": _wordnet_definitions,
    "solved_problems": _solved_problems,
    "listing_pairs": _listing_pairs,
}
"""Reader name -> ``read(file, reader) -> rows``."""
