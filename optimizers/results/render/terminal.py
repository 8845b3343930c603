"""A result on the terminal: the end of a run, and a report's Markdown, also as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Markdown, TableElement
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from optimizers.results.render.escaping import plain
from optimizers.results.view import ResultView, Section, Table

TEXT_WIDTH = 110
"""Columns of a report written to a file as text."""

COLOURS = {"YES": "bold green", "NO": "bold red", "NOT SETTLED": "bold yellow"}


def show_result(view: ResultView, console: Console, further: Sequence[Section] = ()) -> None:
    """Print the end of a run: the answer, the tables, what was spent, what to type next.

    Args:
        view: What is shown.
        console: Where it is shown.
        further: More sections, for those who ask for them.
    """
    asked, answer = plain(view.headline.question), view.headline.answer
    console.print(
        Text.assemble(asked, "   ", (answer, COLOURS[answer])) if answer else Text(asked), soft_wrap=True
    )
    if answer is None:
        console.print(Text(plain(view.headline.short)), soft_wrap=True)
    for section in (view.bests, view.gains, view.prices, *further):
        for part in _section(section):
            console.print(part)
    console.print()
    commands = [said for name, said in view.closing if name == "Next"]
    console.print(_facts((fact for fact in view.closing if fact[0] != "Next"), 0))
    for place, command in enumerate(commands):
        # Whole, so that it can be copied.
        console.print(Text(f"{'' if place else 'Next:':<7}{plain(command)}"), soft_wrap=True)


def _section(section: Section) -> Iterable[RenderableType]:
    if not (section.table or section.facts or section.lines):
        return
    yield ""
    yield Text(plain(section.title), style="bold")
    width = 0
    if section.table is not None:
        width = max(len(plain(row[0])) for row in section.table.rows)
        yield _table(section.table)
    if section.facts:
        yield _facts(section.facts, width)
    for line in section.lines:
        yield Padding(Text(plain(line)), (0, 0, 0, 2))


def _table(table: Table) -> Grid:
    """A table without lines, two columns in from the left; headings where there are any."""
    grid = Grid(box=None, padding=(0, 0, 0, 2), pad_edge=True, show_header=not table.bare)
    for place, name in enumerate(table.columns):
        # The name that a row begins with is to be copied: it is never broken.
        grid.add_column(
            plain(name) if name else "",
            justify="right" if place in table.right else "left",
            overflow="fold",
            no_wrap=place == 0,
        )
    for row in table.rows:
        grid.add_row(*(Text(plain(cell) if cell else "") for cell in row))
    return grid


def _facts(facts: Iterable[tuple[str, str]], width: int) -> Grid:
    """Names with what there is to say of each: in line with a table, or from the left edge.

    Args:
        facts: (name, text) pairs.
        width: Columns of the table's names; 0 without a table.
    """
    grid = Grid(box=None, show_header=False, padding=(0, 0, 0, 2), pad_edge=True)
    if not width:
        grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, min_width=width or 6)
    grid.add_column(overflow="fold")
    for name, said in facts:
        grid.add_row(Text(name if width or name == "*" else f"{name}:"), Text(plain(said)))
    return grid


class _WholeTable(TableElement):
    """A table whose long words are broken rather than cut: half a name is no name."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Grid):
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
