"""What the terminal shows: the live view of a running study, and its result at the end.

The live view goes to stderr; results go to stdout, so that they can be piped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optimizers.frontier.chart import terminal_chart

if TYPE_CHECKING:
    from optimizers.frontier.report import Estimate, FrontierReport, Point
    from optimizers.search.progress import Progress as StudyProgress
    from optimizers.search.progress import Watcher

PHASES = {
    "prepare": "loading models",
    "search": "searching",
    "settle": "measuring the leaders further on dev",
    "test": "measuring the frontier on the sealed test set",
    "done": "done",
}

PLAIN_EVERY = 15.0
"""Seconds between two lines where the view cannot be redrawn."""

stderr = Console(stderr=True)
stdout = Console()


@contextmanager
def watching(study: str) -> Iterator[Watcher]:
    """A watcher that draws the study as it runs, or prints a line now and then where there is no terminal."""
    if not stderr.is_terminal:
        yield _plain_watcher()
        return
    with Live(console=stderr, refresh_per_second=4, transient=True) as live:
        yield lambda progress: live.update(_view(study, progress))


def _plain_watcher() -> Watcher:
    last: dict[str, float | str] = {"at": -PLAIN_EVERY, "phase": ""}

    def watch(progress: StudyProgress) -> None:
        now = time.monotonic()
        if progress.phase == last["phase"] and now - float(last["at"]) < PLAIN_EVERY:
            return
        last["at"], last["phase"] = now, progress.phase
        stderr.print(_status(progress), highlight=False, soft_wrap=True)

    return watch


def _status(progress: StudyProgress) -> str:
    rate = progress.rollouts / progress.seconds if progress.seconds > 1 else 0.0
    return (
        f"{PHASES[progress.phase]}: trial {progress.trials}/{progress.budget}, {progress.calls} calls, "
        f"{progress.tokens:,} tokens, ${progress.spend:.4f}, {rate:.1f} rollouts/s, {_left(progress)}"
    )


def _left(progress: StudyProgress) -> str:
    if progress.phase == "done":
        return f"{_clock(progress.seconds)} in all"
    if progress.phase != "search" or progress.share < 0.05:
        return f"{_clock(progress.seconds)} so far"
    left = progress.seconds * (1 / progress.share - 1)
    return f"{_clock(progress.seconds)} so far, about {_clock(left)} of search left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s"


def _view(study: str, progress: StudyProgress) -> RenderableType:
    return Group(
        Text(f"{study}  {_status(progress)}"),
        ProgressBar(total=1.0, completed=progress.share, width=60),
        terminal_chart(progress.points, width=min(72, stderr.width - 2), height=12),
    )


@contextmanager
def pulling(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for one pull; gives the callback to report bytes to."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(f"pulling {what}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say(message: str) -> None:
    """Tell the person something that is no result."""
    stderr.print(message, highlight=False, markup=False, soft_wrap=True)


def show_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print records of the same shape as a table."""
    table = Table()
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*("yes" if v is True else "no" if v is False else str(v) for v in row.values()))
    stdout.print(table)


def show_report(report: FrontierReport, folder: Path) -> None:
    """Print a study's result: default against best, the frontier, the answer, what to do next."""
    _print(f"{report.task}: each model's plain default against its best, on the sealed test set")
    stdout.print(_defaults_table(report))
    _print("The frontier, cheapest first")
    stdout.print(_frontier_table(report))
    for number, point in enumerate(report.with_role("frontier"), start=1):
        _print(f" {number} {point.candidate.id}: {point.candidate.summary}; {point.dev.mean:.3f} on dev")
    _print(f"\n{report.answer}\n")
    _print(f"Picture: {folder / 'frontier.png'}")
    _print(f"Next:    optimize export {report.study} --to dspy")


def _print(line: str) -> None:
    stdout.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _defaults_table(report: FrontierReport) -> Table:
    table = _table("model", "plain default", "best", "gain")
    best = {point.candidate.model: point for point in report.with_role("best")}
    for default in report.with_role("default"):
        point = best.get(default.candidate.model, default)
        gain = f"{point.test.mean - default.test.mean:+.3f}" if point.test and default.test else ""
        table.add_row(_label(default), _estimate(default.test), _estimate(point.test), gain)
    return table


def _frontier_table(report: FrontierReport) -> Table:
    table = _table("", "model", "test (95% interval)", "$ / 1,000", "to reference")
    for number, point in enumerate(report.with_role("frontier"), start=1):
        cost = f"{1000 * point.cost:.5f}"
        table.add_row(str(number), _label(point), _estimate(point.test), cost, _verdict(point))
    return table


def _label(point: Point) -> str:
    return point.candidate.model.rsplit("/", 1)[-1]


def _verdict(point: Point) -> str:
    if "reference" in point.roles:
        return "is its best"
    if point.comparison is None:
        return ""
    return f"{point.comparison.verdict} {point.comparison.difference:+.3f}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.n == 0:
        return "not measured"
    failed = f", {estimate.failures} failed" if estimate.failures else ""
    return f"{estimate.mean:.3f} ({estimate.low:.2f}-{estimate.high:.2f}) n={estimate.n}{failed}"
