"""`optimize help`: the manual's pages, which the package carries as Markdown.

A page begins with its title and one line that says what it is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizers.errors import UsageError

TOPICS = (
    "start",
    "task",
    "models",
    "providers",
    "budget",
    "frontier",
    "robustness",
    "next",
    "deciding",
    "export",
    "machines",
    "extend",
    "limits",
)
"""The pages, in the order in which to read them."""

WIDEST = 100
"""Columns that a page takes at most: longer lines are hard to read."""


def manual(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="TOPIC",
            help="What about; topics are listed if left out.",
            autocompletion=lambda incomplete: [topic for topic in TOPICS if topic.startswith(incomplete)],
        ),
    ] = None,
) -> None:
    """Show a page of the manual, or list its topics."""
    show_topics() if topic is None else show_page(topic)


def page(topic: str) -> str:
    """A page's Markdown.

    Args:
        topic: One of :data:`TOPICS`, in any letter case.

    Raises:
        UsageError: There is no page about it.
    """
    if topic.lower() not in TOPICS:
        raise UsageError(
            f"There is no page about {topic!r}.", where="optimize help", fix=f"one of {', '.join(TOPICS)}"
        )
    return (Path(__file__).parent / "docs" / f"{topic.lower()}.md").read_text(encoding="utf-8")


def about(topic: str) -> str:
    """The one line below a page's title."""
    return page(topic).splitlines()[2]


def show_topics() -> None:
    """Print what there are pages about."""
    for topic in TOPICS:
        print(f"{topic:<12}{about(topic)}")
    print("\noptimize help TOPIC shows a page; optimize COMMAND --help the options of a command.")


def show_page(topic: str) -> None:
    """Print a page: laid out on a terminal, else as it is written.

    Raises:
        UsageError: There is no page about it.
    """
    from rich.console import Console
    from rich.markdown import Markdown

    text, stdout = page(topic), Console()
    if stdout.is_terminal:
        stdout.print(Markdown(text), width=min(WIDEST, stdout.width))
    else:
        print(text, end="")
