"""What the terminal shows of a study: what it is predicted to use, and its result at the end.

Results go to stdout, so that they can be piped; all else goes to stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from optimizers.results.wording import allowed, clock, money, points

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.records.prediction import Prediction
    from optimizers.records.report import FrontierReport

SHORT = {"billions": "B", "megabytes": "MB"}
"""Headings that leave room for the names in 80 columns."""

stderr = Console(stderr=True)
stdout = Console()


@contextmanager
def pulling(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for one pull; gives the callback to report bytes to."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(f"pulling {what}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def pull_weights(models: Sequence[Model]) -> None:
    """Pull the weights that are lacking, with their licence and progress shown."""
    from optimizers.models.assets import fetch, licence_notice
    from optimizers.models.catalogue import entry_of, pulled
    from optimizers.models.quantized import made_path, requantized

    for model in models:
        entry = entry_of(model.name)
        if entry is None:
            continue
        asset = entry.asset
        if notice := licence_notice(asset):
            say(notice)
        if not pulled(model.name):
            with pulling(asset.name) as progress:
                fetch(asset, progress=progress)
        whole, quantization = fetch(asset), model.name.partition("@")[2]
        if quantization and not made_path(whole, quantization).is_file():
            say(f"{asset.name}: making {quantization} of it, once ...")
            requantized(whole, quantization)


def say(message: str) -> None:
    """Tell the person something that is no result."""
    stderr.print(message, highlight=False, markup=False, soft_wrap=True)


def show_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print records of the same shape as a table, named by their first column."""
    table = _table()
    for number, column in enumerate(rows[0]):
        # What comes first is a name, to be copied: it is never cut.
        table.add_column(SHORT.get(column, column), no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*("yes" if v is True else "no" if v is False else str(v) for v in row.values()))
    stdout.print(table)


def show_report(report: FrontierReport, folder: Path, *, verbose: bool = False) -> None:
    """Print a study's result: the answer, what each price buys, what was spent, what to type next.

    Args:
        report: The result.
        folder: The study's folder.
        verbose: Print the prompts, what choices contributed, robustness and caveats too.
    """
    from optimizers.cli.options import runs_folder
    from optimizers.records.folder import StudyFolder
    from optimizers.results.details import details
    from optimizers.results.render.terminal import show_result
    from optimizers.results.view import result_view

    study = StudyFolder(folder)
    manifest = study.read_manifest() if study.manifest.is_file() else None
    runs = folder.absolute().parent
    told = "" if runs == runs_folder(None) else str(runs)
    view = result_view(report, manifest, runs=told)
    show_result(view, stdout, details(report) if verbose else ())
    _print(f"Page:  {study.page}")


def show_prediction(prediction: Prediction, task: str, budget: str, margin: float) -> None:
    """Print what a study will use and what it can show."""
    total, test = prediction.total, prediction.test
    _print(f"{task}, budget {budget}: about {prediction.trials} trials")
    table = _table("predicted", "in all", "sealed test")
    table.add_row("calls", f"{total.calls:,.0f}", f"{test.calls:,.0f}")
    table.add_row("tokens", f"{total.tokens:,.0f}", f"{test.tokens:,.0f}")
    table.add_row("dollars", money(total.dollars), money(test.dollars))
    table.add_row("time", clock(total.seconds), clock(test.seconds))
    stdout.print(table)
    tested = prediction.tested or prediction.test_rows
    shows = f"gaps of about {points(prediction.detectable)} points and more; you allow {allowed(margin)}."
    if tested == prediction.test_rows:
        _print(f"The test set has {tested} rows: it shows {shows}")
    else:
        room = f"room for about {tested} of the {prediction.test_rows} test rows"
        _print(f"The budget leaves {room}: they show {shows}")


def _print(line: str) -> None:
    stdout.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
