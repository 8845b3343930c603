"""What the terminal shows of a transfer: its progress on stderr, its matrix on stdout."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from optimizers.cli.console import say, stderr, stdout
from optimizers.cli.live import PLAIN_EVERY
from optimizers.results.wording import clock, interval, labels_of, money, signed

if TYPE_CHECKING:
    from optimizers.records.report import Estimate
    from optimizers.records.transfer_report import Cell, TransferReport
    from optimizers.search.transfer import Watch


@contextmanager
def watching(study: str) -> Iterator[Watch]:
    """A progress bar for a transfer, or a line from time to time without a terminal."""
    if not stderr.is_terminal:
        yield _plain_watch()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(f"{study}: rollouts", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_watch() -> Watch:
    last = -PLAIN_EVERY

    def watch(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_EVERY or done == total:
            last = time.monotonic()
            say(f"transfer: {done:,}/{total:,} rollouts")

    return watch


def show_transfer(report: TransferReport) -> None:
    """Print the matrix, the prompts, the answer, its caveats and the spend."""
    _print(
        f"{report.task}: the prompts of {report.study} on {len(report.models)} models, n = {report.examples} "
        "dev examples. Each cell: score (95%), difference in points to the prompt on its own model (95%), "
        "US dollars per 1,000"
    )
    stdout.print(_matrix(report))
    for prompt in report.prompts:
        _print(f" {prompt.number} {prompt.candidate.id}: {prompt.candidate.summary}")
    _print(f"\n{report.answer}\n")
    for note in report.notes:
        _print(f"Note:  {note}")
    spend = report.spend
    _print(
        f"Spent: {spend.calls:,.0f} calls, {spend.tokens:,.0f} tokens, ${money(spend.dollars)}, "
        f"{clock(spend.seconds)} in all transfers of this study"
    )


def _matrix(report: TransferReport) -> Table:
    names = labels_of(model.name for model in report.models)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("prompt of \\ run on", overflow="fold")
    for model in report.models:
        table.add_column(names[model.name], overflow="fold")
    for prompt in report.prompts:
        own = prompt.candidate.model
        cells = [report.cell(prompt.candidate.id, model.name) for model in report.models]
        table.add_row(
            f"{prompt.number} {prompt.candidate.label}",
            *(_cell(cell, own) for cell in cells),
            end_section=True,
        )
    plain = {cell.model: _cell(cell, "") for cell in report.defaults}
    if plain:
        table.add_row("plain default", *(plain.get(model.name, "") for model in report.models))
    return table


def _cell(cell: Cell, own: str) -> str:
    if cell.quality is None or cell.cost is None:
        return f"none: {cell.reason}"
    difference = "its own model" if cell.model == own else ""
    if cell.to_own is not None:
        gap = cell.to_own
        difference = f"{signed(gap.mean)} ({interval(gap.low, gap.high)})"
    said = _lines(cell.quality, difference, cell.cost)
    return f"{said}\n{cell.changed}" if cell.changed else said


def _lines(quality: Estimate, difference: str, cost: float) -> str:
    score = f"{quality.mean:.3f} ({quality.low:.2f}-{quality.high:.2f})"
    if quality.n == 0:
        score = "no score"
    failed = f"{quality.failures} failed" if quality.failures else ""
    return "\n".join(part for part in (score, failed, difference, f"${money(1000 * cost)}") if part)


def _print(line: str) -> None:
    stdout.print(line, highlight=False, markup=False, soft_wrap=True)
