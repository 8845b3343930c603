"""A report's Markdown on the terminal, or as plain text of a terminal's shape."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, TableElement
from rich.table import Table

TEXT_WIDTH = 110
"""Columns of a report written to a file as text."""


class _WholeTable(TableElement):
    """A table whose long words are broken rather than cut: half a name is no name."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
            yield part


class _Report(Markdown):
    elements = {**Markdown.elements, "table_open": _WholeTable}  # noqa: RUF012 - as the parent declares it


def show(markdown: str, console: Console) -> None:
    """Print Markdown on a terminal."""
    console.print(_Report(markdown, hyperlinks=False))


def to_text(markdown: str) -> str:
    """Markdown as text, laid out as on a terminal, without colours."""
    written = StringIO()
    show(markdown, Console(file=written, width=TEXT_WIDTH, color_system=None))
    return "\n".join(_stripped(written.getvalue())) + "\n"


def _stripped(text: str) -> Iterator[str]:
    return (line.rstrip() for line in text.splitlines())
