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
    from optimizers.frontier.report import Comparison, FrontierReport, Importance, Point, Prediction
    from optimizers.models.model import Model
    from optimizers.records.folder import StudyFolder
    from optimizers.search.progress import Progress as StudyProgress
    from optimizers.search.progress import Watcher
    from optimizers.task import LoadedTask

PHASES = {
    "prepare": "loading models",
    "propose": "gathering demos and instructions to try",
    "search": "searching (step 1 of 3)",
    "settle": "measuring the leaders further on dev (step 2 of 3)",
    "test": "measuring the frontier on the sealed test set (step 3 of 3)",
    "done": "done",
}

PLAIN_EVERY = 15.0
"""Seconds between two lines where the view cannot be redrawn."""

MOST_CHOICES = 3
"""Choices shown per model, the most important ones."""

SHORT = {"billions": "B", "megabytes": "MB"}
"""Headings that leave room for the names beside them in 80 columns."""

stderr = Console(stderr=True)
stdout = Console()


def run_in_view(task: LoadedTask, folder: StudyFolder, *, interrupted: str) -> FrontierReport:
    """Run a study, or what is left of it, in the person's sight: the notes on its data, then its progress.

    Args:
        task: The task.
        folder: The study's folder.
        interrupted: What the person is told when they interrupt it.

    Raises:
        KeyboardInterrupt: They did.
    """
    from optimizers.program_file import prints_on_stderr
    from optimizers.search.study import run_study

    for note in task.dataset.notes:
        say(f"note: {note}")
    try:
        with prints_on_stderr(), watching(folder.path.name) as watch:
            return run_study(task, folder, watch=watch)
    except KeyboardInterrupt:
        say(f"\nInterrupted. {interrupted}")
        raise


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
        return f"{_clock(progress.used.seconds)} in all"
    so_far = f"{_clock(progress.seconds)} so far"
    # How long the leaders are measured depends on what is found: no time is foretold for that.
    if progress.phase not in ("search", "test") or progress.share < 0.05:
        return so_far
    spent = progress.used.seconds if progress.phase == "search" else progress.phase_seconds
    return f"{so_far}, about {_clock(spent * (1 / progress.share - 1))} of this step left"


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


def pull_weights(models: Sequence[Model]) -> None:
    """Pull the weights that are lacking, with their licence and progress shown."""
    from optimizers.assets import fetch, licence_notice
    from optimizers.models.catalogue import CATALOGUE, pulled

    for model in models:
        if model.name not in CATALOGUE:
            continue
        asset = CATALOGUE[model.name].asset
        if notice := licence_notice(asset):
            say(notice)
        if not pulled(model.name):
            with pulling(asset.name) as progress:
                fetch(asset, progress=progress)


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


def show_report(report: FrontierReport, folder: Path) -> None:
    """Print a study's result: default against best, the frontier, the answer, what to do next."""
    _print(
        f"{report.task}: each model's plain default against its best, on the sealed test set "
        f"(95% intervals, n = {_examples(report)})"
    )
    stdout.print(_defaults_table(report))
    _print(f"The frontier, cheapest first, beside the reference {report.reference.rsplit('/', 1)[-1]}")
    stdout.print(_frontier_table(report))
    for number, point in enumerate(report.with_role("frontier"), start=1):
        _print(f" {number} {point.candidate.id}: {point.candidate.summary}; {_beside(point)}")
    _print(f"\n{report.answer}\n")
    _print_importance(report)
    _print_honesty(report)
    _print_spend(report)
    _print(f"Page:    {folder / 'frontier.html'}")
    _print(
        f"Next:    optimize report {report.study} (how sure, what went wrong), optimize advise {report.study}"
    )
    _print(f"         optimize export {report.study} --to python (or dspy, openai, ...)")


def show_prediction(prediction: Prediction, task: str, budget: str, margin: float) -> None:
    """Print what a study will use and what it can show."""
    total, test = prediction.total, prediction.test
    _print(f"{task}, budget {budget}: about {prediction.trials} trials")
    table = _table("", "in all", "of which sealed test")
    table.add_row("calls", f"{total.calls:,.0f}", f"{test.calls:,.0f}")
    table.add_row("tokens", f"{total.tokens:,.0f}", f"{test.tokens:,.0f}")
    table.add_row("dollars", f"{total.dollars:.4f}", f"{test.dollars:.4f}")
    table.add_row("time", _clock(total.seconds), _clock(test.seconds))
    stdout.print(table)
    tested = prediction.tested or prediction.test_rows
    shows = f"differences of about {prediction.detectable:.3f} and more; the margin is {margin:g}."
    if tested == prediction.test_rows:
        _print(f"The test set has {tested} examples: it shows {shows}")
    else:
        _print(
            f"The budget leaves room for about {tested} of the {prediction.test_rows} test examples: "
            f"they show {shows}"
        )


def _print(line: str) -> None:
    stdout.print(line, highlight=False, markup=False, soft_wrap=True)


def _beside(point: Point) -> str:
    """What qualifies a point's test score: its dev score, which chose it, its speed, its noise."""
    speed = (
        f"{point.latency:.2f} s at the median, {point.latency_p95:.2f} at p95, {point.concurrency} at once"
    )
    said = [f"{point.dev.mean:.3f} on dev (n = {point.dev.n})", speed]
    if point.comparison is not None and point.comparison.more:
        said.append(f"{point.comparison.more:,} more examples would settle it against the reference's best")
    if point.against_default is not None:
        said.append(f"to the reference's plain default {_verdict(point.against_default)}")
    if point.noise is not None:
        said.append(f"run twice, {point.noise.changed:.0%} of {point.noise.n} scores change")
    return ", ".join(said)


def _print_honesty(report: FrontierReport) -> None:
    """What a reader must know before believing the numbers."""
    if report.optimism is not None and report.optimism.candidates > 1:
        _print(
            f"Luck:    being the best of {report.optimism.candidates} on dev is worth about "
            f"{report.optimism.optimism:+.3f} by chance alone; the test scores are free of it"
        )
    if report.suspects:
        count = len(report.suspects)
        _print(f"Labels:  {count} examples look mislabelled or hard (see frontier.json), the first:")
        first = report.suspects[0]
        inputs = "; ".join(f"{name}: {str(value)[:70]}" for name, value in first.inputs.items())
        _print(f"         {inputs} -> {_values(first.gold)}, said {_values(first.said)}")
    for note in report.notes:
        _print(f"Note:    {note}")


def _values(outputs: Mapping[str, object]) -> str:
    return ", ".join(str(value) for value in outputs.values())


def _print_spend(report: FrontierReport) -> None:
    """The second book: what the study used, beside what it was foretold to use."""
    if report.spend is None:
        return
    total, foretold = report.spend.total, report.prediction and report.prediction.total
    said = (
        f"{total.calls:,.0f} calls, {total.tokens:,.0f} tokens, ${total.dollars:.4f}, {_clock(total.seconds)}"
    )
    _print(f"Spent:   {said} of a budget of {report.budget}")
    if foretold:
        _print(
            f"         foretold were {foretold.calls:,.0f} calls, {foretold.tokens:,.0f} tokens, "
            f"${foretold.dollars:.4f}, {_clock(foretold.seconds)}"
        )
    trouble = {state: report.spend.by_state.get(state, 0) for state in ("failed", "lost")}
    if any(trouble.values()):
        _print(f"         calls without an answer: {trouble['failed']} failed, {trouble['lost']} lost")


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
        table.add_row(_label(default), _estimate(default, report), _estimate(point, report), gain)
    return table


def _frontier_table(report: FrontierReport) -> Table:
    table = _table("", "model", "test", "$ / 1,000", "to its best")
    for number, point in enumerate(report.with_role("frontier"), start=1):
        table.add_row(
            str(number),
            _label(point),
            _estimate(point, report),
            f"{1000 * point.cost:.5f}",
            "itself" if "reference" in point.roles else _verdict(point.comparison),
        )
    return table


def _label(point: Point) -> str:
    return point.candidate.label


def _verdict(comparison: Comparison | None) -> str:
    return f"{comparison.verdict} {comparison.difference:+.3f}" if comparison else ""


def _estimate(point: Point, report: FrontierReport) -> str:
    """A test score with its interval; with its number of examples where that is not everyone's."""
    test = point.test
    if test is None or test.n == 0:
        return "not measured"
    number = "" if test.n == _examples(report) else f" n={test.n}"
    failed = f", {test.failures} failed" if test.failures else ""
    return f"{test.mean:.3f} ({test.low:.2f}-{test.high:.2f}){number}{failed}"


def _examples(report: FrontierReport) -> int:
    """Test examples that most points were measured on."""
    return max((point.test.n for point in report.points if point.test), default=0)


def _print_importance(report: FrontierReport) -> None:
    """What the search learnt of each choice: those that matter, for all models together and for each."""
    if not report.importance:
        return
    shown: dict[str | None, list[Importance]] = {one.model: [] for one in report.importance}
    for one in report.importance:
        if one.distinguishable and len(shown[one.model]) < MOST_CHOICES:
            shown[one.model].append(one)
    unclear = ", ".join(_named(model) for model, choices in shown.items() if not choices)
    if any(shown.values()):
        _print(
            "What choices did on dev, others being equal (90% intervals); share: of what candidates differ by"
        )
        table = _table("model", "choice", "share", "better", "worse", "difference", "cost")
        for model, choices in shown.items():
            for one in choices:
                table.add_row(_named(model), *_choice_cells(one))
        stdout.print(table)
    if unclear:
        _print(f"Choices: none is distinguishable on dev from one that does nothing: {unclear}")


def _named(model: str | None) -> str:
    return "all models" if model is None else " + ".join(map(_short, model.split(" + ")))


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _choice_cells(one: Importance) -> tuple[str, ...]:
    """A choice's share, and the value that differs most surely from the most common one, beside that."""
    others = [effect for effect in one.effects if effect.value != one.baseline]
    surest = max(others, key=lambda effect: max(effect.low, -effect.high))
    sides = (_short(surest.value), _short(one.baseline))
    gained = surest.effect > 0
    sign, (better, worse) = (1, sides) if gained else (-1, sides[::-1])
    low, high = sorted((sign * surest.low, sign * surest.high))
    with_others = f" (with {', '.join(one.goes_with)})" if one.goes_with else ""
    return (
        one.dimension + with_others,
        f"{one.share:.0%} ({one.low:.0%}-{one.high:.0%})",
        better,
        worse,
        f"{sign * surest.effect:+.2f} ({low:+.2f} to {high:+.2f})",
        f"x {surest.cost_ratio**sign:.2f}" if surest.cost_ratio else "",
    )
