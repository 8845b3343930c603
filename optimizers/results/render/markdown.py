"""A study's report as Markdown: the one source of what terminal, file and browser show of it.

A function per section. Every name, reply and row passes :func:`escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimizers.models.model import Model
from optimizers.records.prediction import Amount
from optimizers.results.advice import Advice, ModelForecast
from optimizers.results.details import luck
from optimizers.results.finished_study import Gap, Measured
from optimizers.results.render.escaping import bullets, code, escape, table
from optimizers.results.render.failure_sections import failures, shown_error
from optimizers.results.study_report import ModelResult, Shrinkage, StudyReport
from optimizers.results.view import ResultView, Section
from optimizers.results.wording import (
    PHASES,
    allowed,
    clock,
    interval,
    labels_of,
    money,
    points,
    score,
    signed,
)


def to_markdown(report: StudyReport) -> str:
    """The whole report."""
    sections = (
        _head(report),
        _asked(report),
        _tried(report),
        _found(report),
        _sureness(report),
        _cost(report),
        _robustness(report),
        failures(report),
        _next(report),
    )
    return "\n\n".join(part for section in sections for part in section if part) + "\n"


def result_to_markdown(view: ResultView) -> str:
    """The result alone, as the end of the run shows it."""
    return "\n\n".join(part for part in _result(view) if part) + "\n"


def advice_to_markdown(advice: Advice, study: str) -> str:
    """The advice alone.

    Args:
        advice: What to do next.
        study: The study's name.
    """
    return "\n\n".join([f"# After the study {escape(study)}", *_advised(advice)]) + "\n"


def _section(section: Section, depth: int = 3) -> Iterable[str]:
    """A section of the view: its title, its table, its facts, its lines."""
    if section.title and (section.table or section.lines or section.facts):
        yield f"{'#' * depth} {escape(section.title)}"
    if section.table is not None:
        rows = [[escape(cell) if cell else "" for cell in row] for row in section.table.rows]
        heads = [escape(name) if name else "" for name in section.table.columns]
        yield table(heads, rows, numbers=section.table.right)
    yield bullets(f"{escape(name)}: {escape(said)}" for name, said in section.facts)
    yield (
        bullets(map(escape, section.lines)) if len(section.lines) > 1 else "".join(map(escape, section.lines))
    )


def _head(report: StudyReport) -> Iterable[str]:
    yield f"# {escape(report.manifest.task)}: report of the study {escape(report.manifest.name)}"
    yield from _result(report.view)


def _result(view: ResultView) -> Iterable[str]:
    """What the end of the run shows."""
    answer = f" **{view.headline.answer}**" if view.headline.answer else ""
    yield f"> {escape(view.headline.question)}{answer}"
    yield escape(view.headline.short)
    for section in (view.bests, view.gains, view.prices):
        yield from _section(section)
    yield bullets(f"{escape(name)}: {escape(said)}" for name, said in view.closing if name != "Next")


def _asked(report: StudyReport) -> Iterable[str]:
    asked, sizes = report.manifest, report.manifest.sizes
    yield "## What was asked"
    yield bullets(
        [
            f"Task: {escape(asked.task)}, of {escape(asked.program)}; metric: {escape(asked.metric)}.",
            f"Reference: {escape(asked.reference)}. May another model replace it, losing at most "
            f"{allowed(asked.margin)} points?",
            f"Data: {sizes.train:,} examples to learn from (train), {sizes.dev:,} to search on (dev), "
            f"{sizes.test:,} sealed for the test. Dropped: {asked.duplicates:,} duplicates and "
            f"{asked.leaks_removed:,} rows that nearly repeat a row of a later part.",
            f"Objectives: {' and '.join(asked.objectives)}. Budget: {report.budget}. Seed: {asked.seed}.",
            *([f"It began with the prompts of {escape(asked.started_from)}."] if asked.started_from else []),
            *([f"Instructions were written by {escape(asked.proposer.name)}."] if asked.proposer else []),
        ]
    )
    yield table(
        ("model", "kind", "size", "weights", "USD per million tokens, in / out"),
        (
            (
                escape(model.name),
                model.kind,
                f"{model.size:g} B" if model.size else "unknown",
                _weights(model),
                f"{model.price.input:g} / {model.price.output:g}",
            )
            for model in asked.models
        ),
    )


def _weights(model: Model) -> str:
    """Memory that a model's weights take, and how they are quantized, where it runs in the process."""
    if model.weights is None:
        return ""
    return f"{model.weights / 1e6:,.0f} MB" + (f", {model.quantization}" if model.quantization else "")


def _tried(report: StudyReport) -> Iterable[str]:
    yield "## What was tried"
    rounds = ", ".join(map(str, report.rounds))
    yield f"{report.trials} trials" + (
        f" in {len(report.rounds)} rounds ({rounds} trials); before each later round, prompts were added "
        "from what was found."
        if len(report.rounds) > 1
        else "."
    )
    yield bullets(
        f"**{escape(one.models)}**: {one.candidates} candidates with {one.instructions} instructions. "
        f"Renderings: {_list(one.renderings)}. Techniques: {_list(one.techniques)}. "
        f"Demos: {_list(one.demos)}."
        for one in report.tried
    )


def _found(report: StudyReport) -> Iterable[str]:
    yield "## What was found"
    yield "Scores have 95% intervals. Prompts were chosen on dev; nothing was chosen on test."
    rows = [row for result in report.results for row in _result_rows(result, binary=report.binary)]
    yield table(("model", "prompt", "dev", "test", "$/1,000"), rows, numbers=[4])
    yield (
        "The best starting prompt is, of the prompts the study began with, the one whose dev interval begins "
        "highest. A gain on dev flatters the best, which was chosen there."
    )
    yield bullets(line for result in report.results for line in _gains(result))
    yield from _section(report.prompts)
    if any(row.comparison for row in report.frontier):
        yield "### The verdict"
        yield (
            "A prompt matches where it is shown to lose less than "
            f"{allowed(report.manifest.margin)} points to the reference's best on the same test rows, with "
            "5% error over all points together. It is worse where the whole 95% interval of the loss lies "
            "above that. Else the rows do not settle it."
        )
    yield from _section(report.choices)
    yield from _section(report.speed)


def _robustness(report: StudyReport) -> Iterable[str]:
    if report.manifest.robustness and not report.stress:
        yield "## Robustness"
        yield "Nothing was measured on perturbed inputs: the budget was used up before."
    for place, section in enumerate(report.stress):
        yield from _section(section, depth=3 if place else 2)


def _result_rows(result: ModelResult, *, binary: bool) -> Iterable[Sequence[str]]:
    lacking = "not on record" if result.starts is None else "not measured"
    yield (escape(result.model), *_row("plain default", result.default, binary=binary))
    yield ("", *_row("best starting prompt", result.start, lacking, binary=binary))
    yield ("", *_row("best", result.best, binary=binary))


def _row(name: str, one: Measured | None, lacking: str = "not measured", *, binary: bool) -> Sequence[str]:
    if one is None:
        return (name, lacking, "", "")
    return (name, score(one.dev, binary=binary), score(one.test, binary=binary), money(1000 * one.cost))


def _gains(result: ModelResult) -> Iterable[str]:
    """What the search added to the plain default, and to the best prompt it began with."""
    if result.best is None:
        return
    name = f"**{escape(result.model)}**"
    yield f"{name}: the best is {code(result.best.candidate)}, {escape(result.best.summary)}."
    if result.over_default:
        yield f"{name}: over the plain default it gains {_gap(result.over_default)}."
    if result.start is None:
        return
    start = f"the best of {result.starts} starting prompts ({escape(result.start.summary)})"
    if result.start.candidate == result.best.candidate:
        yield f"{name}: it is {start}; the search found no better one."
    elif result.over_start:
        yield f"{name}: over {start} it gains {_gap(result.over_start)}."


def _sureness(report: StudyReport) -> Iterable[str]:
    yield "## How sure"
    if report.shrinkage:
        yield "Dev minus test of every tested point, in points: how much of the dev score did not hold."
        rows = [
            (
                escape(s.point.label),
                _role(s.point),
                score(s.point.dev, binary=report.binary),
                score(s.point.test, binary=report.binary),
                _points(s.gap),
            )
            for s in report.shrinkage
        ]
        yield table(("model", "as", "dev", "test", "dev - test (95%)"), rows)
    found = list(luck(report.optimism))
    found += [_coverage(report), *_noise(report.shrinkage)]
    found += [f"Note: {escape(note)}" for note in report.manifest.notes]
    yield bullets(found)
    yield from _suspects(report)


def _role(point: Measured) -> str:
    said = [role for role in point.roles if role != "searched"]
    return ", ".join(said)


def _coverage(report: StudyReport) -> str:
    tested = [(s.point, s.point.test) for s in report.shrinkage if s.point.test is not None]
    lacking = [(point, test) for point, test in tested if test.failures]
    if not lacking:
        return "Failures: none on test; every rollout of the tested points got a score."
    named = ", ".join(
        f"{escape(point.label)} {code(point.candidate)} {test.failures} of {test.n + test.failures}"
        for point, test in lacking
    )
    return f"Failures: rollouts on test without a score, which count in no mean: {named}."


def _noise(points: Iterable[Shrinkage]) -> Iterable[str]:
    for one in points:
        if one.noise is not None:
            yield (
                f"Sampled: {escape(one.point.label)} {code(one.point.candidate)}: {one.noise.changed:.0%} of "
                f"{one.noise.n} scores changed on a second run."
            )


def _suspects(report: StudyReport) -> Iterable[str]:
    if not report.suspects:
        return
    yield "### Labels to look at again"
    yield f"Examples of dev that look mislabelled or hard: {len(report.suspects)}."
    yield bullets(shown_error(one.example) for one in report.suspects)


def _cost(report: StudyReport) -> Iterable[str]:
    yield "## What it cost"
    yield table(
        ("phase", "calls", "tokens", "USD"),
        (
            (
                PHASES.get(one.phase, escape(one.phase)),
                f"{one.calls:,}",
                f"{one.tokens:,}",
                money(one.dollars),
            )
            for one in report.phases
        ),
        numbers=[1, 2, 3],
    )
    amounts: list[tuple[str, Amount | None]] = [
        ("used", report.spend.total if report.spend else None),
        ("predicted", report.predicted.total if report.predicted else None),
    ]
    yield table(
        ("in all", "calls", "tokens", "USD", "time"),
        ((name, *_amount(amount)) for name, amount in amounts if amount is not None),
        numbers=[1, 2, 3, 4],
    )
    trouble = (
        {state: report.spend.by_state.get(state, 0) for state in ("failed", "lost")} if report.spend else {}
    )
    if any(trouble.values()):
        yield (
            f"Calls without an answer: {trouble['failed']} failed, {trouble['lost']} lost with their "
            "process; they count at the most they may have used."
        )


def _next(report: StudyReport) -> Iterable[str]:
    yield "## What to do next"
    if report.advice is None:
        yield "Nothing was measured on the sealed test: run a study with a larger budget."
    else:
        yield from _advised(report.advice)


def _advised(advice: Advice) -> Iterable[str]:
    """What to do, why, with which command, and what it rests on."""
    yield f"**{escape(advice.sentence)}**"
    yield bullets(escape(reason) for reason in advice.reasons)
    if advice.command:
        yield f"Next: {code(advice.command)}"
    calls, dollars = advice.again
    price = f"about {calls:,.0f} calls and ${money(dollars)}"
    yield f"As much search again, {price}, is expected to gain, in points:"
    names = labels_of(one.model for one in advice.model_forecasts)
    yield table(
        ("model", "best now", "gain (80% interval)", "chance of a match now", "after that"),
        (_forecast_cells(one, names) for one in advice.model_forecasts),
    )


def _forecast_cells(one: ModelForecast, names: dict[str, str]) -> tuple[str, ...]:
    return (
        escape(names[one.model]),
        code(one.best),
        f"{points(one.gain)} ({interval(one.low, one.high)})",
        "reference" if one.matches is None else f"{one.matches:.0%}",
        "" if one.will_match is None else f"{one.will_match:.0%}",
    )


def _amount(amount: Amount) -> tuple[str, ...]:
    return f"{amount.calls:,.0f}", f"{amount.tokens:,.0f}", money(amount.dollars), clock(amount.seconds)


def _points(gap: Gap) -> str:
    return f"{signed(gap.difference)} ({interval(gap.low, gap.high)})"


def _gap(gap: Gap) -> str:
    return f"{_points(gap)} points, paired on {gap.n} {gap.split} examples"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(escape, names)) or "none"
