"""What the terminal shows of an advice."""

from __future__ import annotations

from rich import box
from rich.table import Table

from optimizers.console import stdout
from optimizers.frontier.advice import Advice, Outlook


def show_advice(advice: Advice) -> None:
    """Print what to do next, why, and what it rests on."""
    _print(f"{advice.sentence}\n")
    for reason in advice.reasons:
        _print(f" - {reason}")
    calls, dollars = advice.again
    _print(f"\nWhat as much search again (about {calls:,.0f} calls, ${dollars:.4f}) is expected to bring:")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("model", "best", "gain (80% interval)", "within the margin now", "after that"):
        table.add_column(column, overflow="fold")
    for one in advice.outlooks:
        table.add_row(*_cells(one))
    stdout.print(table)
    _print(f"Next:    {advice.command}")


def _cells(one: Outlook) -> tuple[str, ...]:
    return (
        one.model.rsplit("/", 1)[-1],
        one.best,
        f"{one.gain:+.3f} ({one.low:+.3f} to {one.high:+.3f})",
        "is the reference" if one.matches is None else f"{one.matches:.0%}",
        "" if one.will_match is None else f"{one.will_match:.0%}",
    )


def _print(line: str) -> None:
    stdout.print(line, highlight=False, markup=False, soft_wrap=True)
