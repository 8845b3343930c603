"""Markdown from untrusted text: replies of models, rows and names of users.

Whatever a text holds, it stays text: it cannot end a table cell, begin a heading, a link or a tag,
nor tell a terminal anything.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

EMPTY = "(empty)"
"""Shown for an empty text."""

_REPLACED = "\N{REPLACEMENT CHARACTER}"

_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of the text that follows, beyond their own cell too."""

_SPECIAL = re.compile(
    r"[\\`*{}\[\]<>#|~&$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
"""What may begin or end a structure anywhere, bare web addresses included: some viewers link them."""

_AT_START = re.compile(r"^(?:[-+=]|\d{1,9}(?=[.)]))")
"""What makes a list or an underlined heading, at the start of a line only."""


def plain(value: object, most: int | None = None) -> str:
    """A value as one line of harmless characters.

    White space becomes single spaces, control characters and halves of surrogate pairs a
    replacement sign; what turns the direction of text goes.

    Args:
        value: Any JSON value; what is no text is shown as JSON.
        most: Characters to keep; None for all. A cut is marked by an ellipsis.
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(_DIRECTIONS.sub("", text).split())
    text = "".join(_REPLACED if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    if most is not None and len(text) > most:
        text = text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return text or EMPTY


def escape(value: object, most: int | None = None) -> str:
    """A value as Markdown that shows :func:`plain` of it and is no structure, wherever it is put.

    Args:
        value: Any JSON value.
        most: Characters of it to keep; None for all.
    """
    text = _SPECIAL.sub(lambda found: "\\" + found[0], plain(value, most))
    start = _AT_START.match(text)
    if start is None:
        return text
    digits = start[0].isdigit()
    return f"{start[0]}\\{text[start.end() :]}" if digits else f"\\{text}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A Markdown table.

    Args:
        header: Names of the columns, as Markdown.
        rows: Cells, as Markdown.
        numbers: Columns to align on the right.
    """
    rule = ["---:" if place in numbers else "---" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def bullets(items: Iterable[str]) -> str:
    """A list, of items that are Markdown."""
    return "\n".join(f"- {item}" for item in items)


def code(text: str) -> str:
    """A command or an id as code, outside of tables whatever it holds."""
    said = plain(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", said)), default=0))
    space = " " if "`" in said else ""
    return f"{fence}{space}{said}{space}{fence}"
