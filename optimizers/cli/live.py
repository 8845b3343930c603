"""The live view of a running study, on stderr: what it does, what it has used, what it has found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from optimizers.cli.console import say, stderr
from optimizers.results.render.text_chart import terminal_chart
from optimizers.results.wording import clock

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import FrontierReport
    from optimizers.search.progress import Progress as StudyProgress
    from optimizers.search.progress import Watcher
    from optimizers.task.task import LoadedTask

PHASES = {
    "prepare": "loading models",
    "propose": "collecting demos and instructions",
    "search": "searching (step 1 of 3)",
    "refine": "refining the leaders on dev (step 2 of 3)",
    "test": "testing on the sealed rows (step 3 of 3)",
    "robustness": "testing on perturbed inputs",
    "done": "done",
}

PLAIN_EVERY = 15.0
"""Seconds between two lines where the view cannot be redrawn."""


def run_in_view(
    task: LoadedTask, folder: StudyFolder, storage: str | None = None, *, interrupted: str
) -> FrontierReport:
    """Run a study, or the rest of it, and show the notes on its data and its progress.

    Args:
        task: The task.
        folder: The study's folder.
        storage: Address of the database that several processes share; None for a study of this one.
        interrupted: The message after an interrupt.

    Raises:
        KeyboardInterrupt: The person interrupted it.
    """
    from optimizers.search.distributed.shared_study import run_shared
    from optimizers.search.estimate import predict, shortage_note
    from optimizers.search.space.search_space import search_space
    from optimizers.search.study import run_study
    from optimizers.task.program_file import prints_on_stderr

    for note in task.dataset.notes:
        say(f"note: {note}")
    if folder.read_prediction() is None:  # it has not begun yet
        known = folder.read_manifest()
        prediction = predict(
            task, search_space(task), known.budget, objectives=known.objectives, robustness=known.robustness
        )
        if short := shortage_note(prediction):
            say(f"warning: {short}")
    try:
        with prints_on_stderr(), watching(folder.path.name) as watch:
            if storage is None:
                return run_study(task, folder, watch=watch)
            return run_shared(task, folder, storage, watch=watch, helping=_helping())
    except KeyboardInterrupt:
        say(f"\nInterrupted. {interrupted}")
        raise


def _helping() -> Callable[[int, list[str]], None]:
    """Says from time to time what this process does while another one leads."""
    last = {"at": -PLAIN_EVERY}

    def tell(rollouts: int, members: list[str]) -> None:
        if time.monotonic() - last["at"] >= PLAIN_EVERY:
            last["at"] = time.monotonic()
            say(f"working with {len(members) - 1} other process(es): {rollouts:,} rollouts run here")

    return tell


@contextmanager
def watching(study: str) -> Iterator[Watcher]:
    """A watcher that draws the study as it runs, or prints a line from time to time without a terminal."""
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
    used, budget = progress.used, progress.budget
    trials = f"trial {progress.trials}" + (f"/{budget.trials}" if budget.trials else "")
    calls = f"{used.calls:,.0f}{_of(budget.calls, ',.0f')} calls"
    tokens = f"{used.tokens:,.0f}{_of(budget.tokens, ',.0f')} tokens"
    dollars = f"${used.dollars:.4f}{_of(budget.dollars, '.4f')}"
    parts = (trials, calls, tokens, dollars, f"{rate:.1f} rollouts/s", _left(progress))
    return f"{PHASES[progress.phase]}: {', '.join(parts)}"


def _of(limit: float | None, form: str) -> str:
    return f"/{limit:{form}}" if limit is not None else ""


def _left(progress: StudyProgress) -> str:
    if progress.phase == "done":
        return f"{clock(progress.used.seconds)} in all"
    so_far = f"{clock(progress.seconds)} so far"
    # How long refining takes depends on what is found: no time is predicted for it.
    if progress.phase not in ("search", "test", "robustness") or progress.share < 0.05:
        return so_far
    spent = progress.used.seconds if progress.phase == "search" else progress.phase_seconds
    return f"{so_far}, about {clock(spent * (1 / progress.share - 1))} of this step left"


def _view(study: str, progress: StudyProgress) -> RenderableType:
    return Group(
        Text(f"{study}  {_status(progress)}"),
        ProgressBar(total=1.0, completed=progress.share, width=60),
        terminal_chart(progress.points, width=min(72, stderr.width - 2), height=12),
    )
