"""A study's report in words, as Markdown: the one source of what terminal, file and browser show.

A function per section. Every name, reply and row passes :func:`escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimizers.models.model import Model
from optimizers.records.report import Amount, Comparison, Estimate
from optimizers.results.findings import Gap, Measured, ModelResult, Shrinkage, StudyReport
from optimizers.results.render.advice_sections import advice_lines
from optimizers.results.render.failure_sections import failures, shown_error
from optimizers.results.render.markdown import bullets, code, escape, table
from optimizers.results.render.robustness_sections import robustness

PHASES = {
    "prepare": "preparing",
    "propose": "proposing prompts",
    "search": "searching",
    "refine": "measuring the leaders further",
    "test": "the sealed test",
    "robustness": "perturbed inputs",
    "done": "afterwards",
}


def to_markdown(report: StudyReport) -> str:
    """The whole report."""
    sections = (
        _head(report),
        _asked(report),
        _tried(report),
        _found(report),
        _sureness(report),
        _cost(report),
        robustness(report),
        failures(report),
        _next(report),
    )
    return "\n\n".join(part for section in sections for part in section if part) + "\n"


def _head(report: StudyReport) -> Iterable[str]:
    yield f"# {escape(report.manifest.task)}: report of the study {escape(report.manifest.name)}"
    yield f"> {escape(report.answer)}"


def _asked(report: StudyReport) -> Iterable[str]:
    asked, sizes = report.manifest, report.manifest.sizes
    yield "## What was asked"
    yield bullets(
        [
            f"Task: {escape(asked.task)}, of {escape(asked.program)}; metric: {escape(asked.metric)}.",
            f"Reference: {escape(asked.reference)}. Does another model come within {asked.margin:g} of it?",
            f"Data: {sizes.train:,} examples to learn from (train), {sizes.dev:,} to search on (dev), "
            f"{sizes.test:,} sealed for the test; dropped were {asked.duplicates:,} duplicates and "
            f"{asked.leaks_removed:,} rows that say nearly what a later part says.",
            f"Sought: {' and '.join(asked.objectives)}. Budget: {report.budget}. Seed: {asked.seed}.",
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
        f" in {len(report.rounds)} rounds ({rounds} trials); before each later round the prompts on offer "
        "grew by what was found."
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
    yield "Scores are means with 95% intervals. Dev is where prompts were chosen; nothing was chosen on test."
    rows = [row for result in report.results for row in _result_rows(result)]
    yield table(("model", "prompt", "dev", "test", "USD / 1,000"), rows, numbers=[4])
    yield (
        "The best starting prompt is, of the prompts the study began with, the one whose dev interval begins "
        "highest. A gain on dev flatters the best, which was chosen there."
    )
    yield bullets(line for result in report.results for line in _gains(result))
    yield "### The frontier, cheapest first"
    shown = [
        (
            str(number),
            escape(row.point.label),
            score(row.point.test),
            f"{1000 * row.point.cost:.5f}",
            f"{row.point.latency:.2f}",
            "is the reference's best" if "reference" in row.point.roles else _against(row.comparison),
        )
        for number, row in enumerate(report.frontier, start=1)
    ]
    yield table(
        ("", "model", "test", "USD / 1,000", "seconds", "beside the reference's best"),
        shown,
        numbers=[0, 3, 4],
    )
    yield bullets(
        f"Point {number}, {code(row.point.candidate)}: {escape(row.point.summary)}"
        for number, row in enumerate(report.frontier, start=1)
    )
    if report.verdicts:
        yield "### The verdict"
        yield (
            f"To match is to be shown to lose less than {report.manifest.margin:g} to the reference's best, "
            "on the same test examples; 5% error over all points."
        )
        yield bullets(map(escape, report.verdicts))


def _against(comparison: Comparison | None) -> str:
    if comparison is None:
        return "not compared"
    ratio = comparison.cost_ratio
    return f"{comparison.verdict}, {'no cost there' if ratio is None else f'{ratio:.0%} of its cost'}"


def _result_rows(result: ModelResult) -> Iterable[Sequence[str]]:
    lacking = "not on record" if result.starts is None else "not measured"
    yield (escape(result.model), *_row("plain default", result.default))
    yield ("", *_row("best starting prompt", result.start, lacking))
    yield ("", *_row("best", result.best))


def _row(name: str, one: Measured | None, lacking: str = "not measured") -> Sequence[str]:
    if one is None:
        return (name, lacking, "", "")
    return (name, score(one.dev), score(one.test), f"{1000 * one.cost:.5f}")


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
        yield "Dev minus test, of every tested point: how much of the dev score did not hold."
        rows = [
            (escape(s.point.label), _role(s.point), score(s.point.dev), score(s.point.test), _signed(s.gap))
            for s in report.shrinkage
        ]
        yield table(("model", "as", "dev", "test", "dev - test (95%)"), rows)
    luck, found = report.optimism, []
    if luck is not None and luck.candidates > 1:
        found.append(
            f"Luck: being the best of {luck.candidates} candidates on dev is expected to add "
            f"{luck.optimism:+.3f} by chance alone. Test scores are free of it."
        )
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
    return f"Failures: rollouts on test that got no score, and count in no mean: {named}."


def _noise(points: Iterable[Shrinkage]) -> Iterable[str]:
    for one in points:
        if one.noise is not None:
            yield (
                f"Noise: {escape(one.point.label)} {code(one.point.candidate)} draws its replies; run twice "
                f"on {one.noise.n} examples, {one.noise.changed:.0%} of the scores changed."
            )


def _suspects(report: StudyReport) -> Iterable[str]:
    if not report.suspects:
        return
    yield "### Labels to look at again"
    yield f"{len(report.suspects)} examples of dev look mislabelled or hard:"
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
                dollars(one.dollars),
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
        yield from advice_lines(report.advice)


def _amount(amount: Amount) -> tuple[str, ...]:
    minutes, seconds = divmod(round(amount.seconds), 60)
    return (
        f"{amount.calls:,.0f}",
        f"{amount.tokens:,.0f}",
        dollars(amount.dollars),
        f"{minutes}m{seconds:02d}s",
    )


def dollars(amount: float) -> str:
    """US dollars, small amounts of them too."""
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.6f}"


def score(found: Estimate | None) -> str:
    """A mean with its interval and how many examples it is of."""
    if found is None or not found.n:
        return "not measured"
    return f"{found.mean:.3f} ({found.low:.2f}-{found.high:.2f}) n={found.n}"


def _signed(gap: Gap) -> str:
    return f"{gap.difference:+.3f} ({gap.low:+.2f} to {gap.high:+.2f})"


def _gap(gap: Gap) -> str:
    return f"{_signed(gap)}, paired on {gap.n} {gap.split} examples"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(escape, names)) or "none"
