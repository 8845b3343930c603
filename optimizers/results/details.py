"""What else a result says: for ``--verbose``, the report and the page. From a study's result alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimizers.records.report import FrontierReport, Importance, Optimism, Point, Robustness
from optimizers.results.headline import is_binary, label_of, names_of
from optimizers.results.view import Section, Table
from optimizers.results.wording import (
    change,
    money,
    number,
    score,
    signed,
    to_settle,
    verdict,
)

MOST_CHOICES = 3
"""Choices shown per model, the most important ones."""


def details(report: FrontierReport) -> tuple[Section, ...]:
    """Every further section that has something to show."""
    names = names_of(report)
    sections = (
        prompts(report, names),
        contributions(report, names),
        *robustness(report, names),
        caveats(report),
        speed(report, names),
    )
    return tuple(section for section in sections if section.table or section.lines)


def _shown(report: FrontierReport) -> list[tuple[str, Point]]:
    """The frontier with its numbers, and each model's best, cheapest first."""
    frontier = [point.candidate.id for point in report.with_role("frontier")]
    return [
        (str(frontier.index(p.candidate.id) + 1) if p.candidate.id in frontier else "-", p)
        for p in report.eligible()
    ]


def prompts(report: FrontierReport, names: dict[str, str]) -> Section:
    """What the prompt of each point is, by its id, and what it scored on dev."""
    binary = is_binary(report)
    rows = [
        (
            place,
            point.candidate.id,
            label_of(point, names),
            point.candidate.summary,
            score(point.dev, binary=binary),
        )
        for place, point in _shown(report)
    ]
    lines = [
        f"{place} {point.candidate.id}: {verdict(point.comparison)}. {more}"
        for place, point in _shown(report)
        if point.comparison is not None and (more := to_settle(point.comparison))
    ]
    if not rows:
        return Section()
    table = Table(
        columns=("", "id", "model", "prompt", "dev"),
        rows=tuple(rows),
        right=(0,),
        ids=tuple(point.candidate.id for _, point in _shown(report)),
    )
    return Section(title="The prompts", table=table, lines=tuple(lines))


def contributions(report: FrontierReport, names: dict[str, str]) -> Section:
    """The choices that made a measurable difference on dev, for all models together and for each."""
    if not report.importance:
        return Section()
    shown: dict[str | None, list[Importance]] = {one.model: [] for one in report.importance}
    for one in report.importance:
        if one.distinguishable and len(shown[one.model]) < MOST_CHOICES:
            shown[one.model].append(one)
    title = "What each choice contributed on dev"
    if not any(shown.values()):
        return Section(title=title, lines=("No single choice made a measurable difference on dev.",))
    rows = [
        (_models_named(model, names), *_contribution(one))
        for model, choices in shown.items()
        for one in choices
    ]
    unclear = [_models_named(model, names) for model, choices in shown.items() if not choices]
    lines = [
        "Share: the part of the difference between candidates that the choice explains. Other choices being "
        "equal; 90% intervals; differences in points."
    ]
    if unclear:
        lines.append(f"No single choice made a measurable difference on dev for {', '.join(unclear)}.")
    columns = ("model", "choice", "share", "better", "worse", "difference", "cost")
    return Section(title=title, table=Table(columns=columns, rows=tuple(rows)), lines=tuple(lines))


def _models_named(model: str | None, names: dict[str, str]) -> str:
    if model is None:
        return "all models"
    return " + ".join(names.get(name, name.rsplit("/", 1)[-1]) for name in model.split(" + "))


def _contribution(one: Importance) -> tuple[str, ...]:
    """A choice's share, and the value that differs most surely from the most common one, next to that."""
    others = [effect for effect in one.effects if effect.value != one.baseline]
    surest = max(others, key=lambda effect: max(effect.low, -effect.high))
    sides = (_last(surest.value), _last(one.baseline))
    gained = surest.effect > 0
    sign, (better, worse) = (1, sides) if gained else (-1, sides[::-1])
    low, high = sorted((sign * surest.low, sign * surest.high))
    with_others = f" (with {', '.join(one.goes_with)})" if one.goes_with else ""
    return (
        one.dimension + with_others,
        f"{one.share:.0%} ({one.low:.0%} to {one.high:.0%})",
        better,
        worse,
        f"{signed(sign * surest.effect)} ({signed(low)} to {signed(high)})",
        f"x {surest.cost_ratio**sign:.2f}" if surest.cost_ratio else "",
    )


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def robustness(report: FrontierReport, names: dict[str, str]) -> tuple[Section, ...]:
    """What perturbed inputs and injections cost, and how often an injection gets what it wants."""
    if not report.robustness:
        return ()
    known = {point.candidate.id: point for point in report.points}
    places = {point.candidate.id: place for place, point in _shown(report)}
    rows = [
        (
            places.get(one.candidate, one.candidate),
            label_of(known[one.candidate], names) if one.candidate in known else "",
            *robust_cells(one),
        )
        for one in report.robustness
    ]
    each = max((drop.n for one in report.robustness for drop in one.rules), default=0)
    together = Section(
        title="Robustness",
        table=Table(
            columns=("", "model", "as they were", "perturbed", "injected", "injections succeed"),
            rows=tuple(rows),
            right=(0,),
            ids=tuple(one.candidate for one in report.robustness),
        ),
        lines=(
            f"{each} test examples, changed in each way so that they still say the same, and with injections "
            "that ask for another answer or for the prompt. Changes of the score in points, 95% intervals, "
            "clustered by example. An injection succeeds where it gets what it wants from an example that "
            "does not give it anyway. Nothing was chosen by these figures.",
        ),
    )
    heads = [f"{row[0]} {row[1]}" for row in rows]
    drops = [[(drop.rule, signed(-drop.drop)) for drop in one.rules] for one in report.robustness]
    wins = [
        [(one.rule, f"{one.success.mean:.0%}" if one.success.n else "") for one in of.injections]
        for of in report.robustness
    ]
    single = (_by_rule("Change by perturbation", drops, heads), _by_rule("Success by injection", wins, heads))
    return (together, *(section for section in single if section.table))


def _by_rule(title: str, cells: Sequence[Sequence[tuple[str, str]]], heads: Sequence[str]) -> Section:
    """A row per rule, a column per point."""
    rules = dict.fromkeys(rule for of_one in cells for rule, _ in of_one)
    known = [dict(of_one) for of_one in cells]
    rows = tuple((rule, *(of_one.get(rule, "") for of_one in known)) for rule in rules)
    table = Table(columns=("", *heads), rows=rows, right=tuple(range(1, len(heads) + 1)))
    return Section(title=title, table=table) if rows else Section()


def robust_cells(one: Robustness) -> tuple[str, str, str, str]:
    """The score as the examples were, its changes perturbed and injected, and the injections' success."""
    attacked = one.attacked
    success = attacked.success if attacked and attacked.success.n else None
    return (
        number(one.perturbed.clean, 3) if one.perturbed else "",
        change(one.perturbed),
        change(attacked.drop if attacked else None),
        f"{success.mean:.0%} ({100 * success.low:.0f} to {success.high:.0%})" if success else "",
    )


def caveats(report: FrontierReport) -> Section:
    """What a reader must know before trusting the numbers."""
    lines = (*luck(report.optimism), *_suspected(report), *(f"Note: {note}" for note in report.notes))
    return Section(title="How sure", lines=lines)


def luck(found: Optimism | None) -> Iterable[str]:
    """How much being chosen flatters the best dev score."""
    if found is not None and found.candidates > 1:
        yield (
            f"Luck: being the best of {found.candidates} on dev adds about {signed(found.optimism)} points "
            "by chance alone. Test scores are free of it."
        )


def _suspected(report: FrontierReport) -> Iterable[str]:
    if not report.suspects:
        return
    first = report.suspects[0]
    inputs = "; ".join(f"{name}: {str(value)[:70]}" for name, value in first.inputs.items())
    count = len(report.suspects)
    look = "example looks" if count == 1 else "examples look"
    yield (
        f"Labels: {count} {look} mislabelled or hard. The first: "
        f"{inputs} -> {_values(first.gold.values())}; candidates say {_values(first.said.values())}."
    )


def _values(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def speed(report: FrontierReport, names: dict[str, str]) -> Section:
    """Seconds and tokens of a rollout of each point."""
    rows = [
        (
            place,
            label_of(point, names),
            number(point.latency, 2),
            number(point.latency_p95, 2),
            str(point.concurrency),
            f"{point.prompt_tokens:.0f}",
            f"{point.completion_tokens:.1f}",
            money(1000 * point.cost),
        )
        for place, point in _shown(report)
    ]
    if not rows:
        return Section()
    columns = ("", "model", "seconds", "p95", "at once", "tokens in", "out", "$/1,000")
    return Section(
        title="Speed and size of a rollout on dev",
        table=Table(columns=columns, rows=tuple(rows), right=(0, 2, 3, 4, 5, 6, 7)),
    )
