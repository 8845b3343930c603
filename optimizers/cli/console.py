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

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.records.report import Comparison, FrontierReport, Importance, Point, Prediction

MOST_CHOICES = 3
"""Choices shown per model, the most important ones."""

SHORT = {"billions": "B", "megabytes": "MB"}
"""Headings that leave room for the names beside them in 80 columns."""

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


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: ``6m05s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s"


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
    for point in _bests_beside(report):
        name = f"{point.candidate.label}, {'its best, ' if 'best' in point.roles else ''}not on the frontier"
        verdict = f"to the reference's best {_verdict(point.comparison)}, " if point.comparison else ""
        _print(f" - {point.candidate.id}: {name}: {point.candidate.summary}; {verdict}{_beside(point)}")
    if report.robustness:
        _print(
            "What they stand: change of the score on perturbed and injected inputs; how often injections win"
        )
        stdout.print(_robustness_table(report))
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
    table.add_row("time", clock(total.seconds), clock(test.seconds))
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


def _bests_beside(report: FrontierReport) -> Iterator[Point]:
    """What the tables and the answer speak of and the frontier lacks: each model's best, cheapest first."""
    from optimizers.results.frontier import answering

    tested = [point for point in report.points if point.test is not None and point.test.n]
    answer = answering(tested, report.reference) if tested else None
    for point in tested:
        if "frontier" not in point.roles and ("best" in point.roles or point is answer):
            yield point


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
    """The second book: what the study used, beside what it was predicted to use."""
    if report.spend is None:
        return
    total, predicted = report.spend.total, report.prediction and report.prediction.total
    said = (
        f"{total.calls:,.0f} calls, {total.tokens:,.0f} tokens, ${total.dollars:.4f}, {clock(total.seconds)}"
    )
    _print(f"Spent:   {said} of a budget of {report.budget}")
    if predicted:
        _print(
            f"         predicted were {predicted.calls:,.0f} calls, {predicted.tokens:,.0f} tokens, "
            f"${predicted.dollars:.4f}, {clock(predicted.seconds)}"
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
        table.add_row(default.candidate.label, _estimate(default, report), _estimate(point, report), gain)
    return table


def _frontier_table(report: FrontierReport) -> Table:
    table = _table("", "model", "test", "$ / 1,000", "to its best")
    for number, point in enumerate(report.with_role("frontier"), start=1):
        table.add_row(
            str(number),
            point.candidate.label,
            _estimate(point, report),
            f"{1000 * point.cost:.5f}",
            "itself" if "reference" in point.roles else _verdict(point.comparison),
        )
    return table


def _robustness_table(report: FrontierReport) -> Table:
    from optimizers.results.render.robustness_sections import outcome

    table = _table("", "perturbed", "injected", "injections win")
    frontier = [point.candidate.id for point in report.with_role("frontier")]
    for one in report.robustness:
        number = str(frontier.index(one.candidate) + 1) if one.candidate in frontier else one.candidate
        table.add_row(number, *outcome(one))
    return table


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
