"""What the frontier stands, in Markdown: perturbed inputs, and injections that try to take it over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimizers.records.report import Attack, Drop, Robustness
from optimizers.results.findings import StudyReport
from optimizers.results.render.markdown import escape, table


def robustness(report: StudyReport) -> Iterable[str]:
    """The section on robustness; nothing where it was not asked."""
    if not report.manifest.robustness:
        return
    yield "## What the prompts stand"
    found = report.robustness
    if not found:
        yield "Nothing was measured on perturbed inputs: the budget was used up before."
        return
    each = max((drop.n for one in found for drop in one.rules), default=0)
    yield (
        f"{each} test examples, changed in each way so that they still say the same, and with injections "
        "that ask for another answer or for the prompt. Change: the score on them, minus that on the "
        "examples as they were. Success: how often an injection got what it wanted, of the examples that do "
        "not give it anyway. 95% intervals, clustered by example; nothing was chosen by these figures."
    )
    heads = [_head(report, one) for one in found]
    rows = [
        (
            head,
            f"{one.perturbed.clean:.3f}" if one.perturbed else "",
            *outcome(one),
        )
        for head, one in zip(heads, found, strict=True)
    ]
    yield table(
        ("point", "as they were", "change, perturbed", "change, injected", "injections succeed"), rows
    )
    numbers = [head.partition(" ")[0] for head in heads]
    drops = [[(drop.rule, f"{_signed(drop):+.2f}") for drop in one.rules] for one in found]
    yield _by_rule("Change by perturbation:", drops, numbers)
    attacks = [
        [(one.drop.rule, f"{one.success.mean:.2f}" if one.success.n else "") for one in of.injections]
        for of in found
    ]
    yield _by_rule("Success by injection:", attacks, numbers)


def _signed(drop: Drop) -> float:
    """A drop as the change it is, without a negative nothing."""
    return round(-drop.drop, 9) + 0.0


def _head(report: StudyReport, one: Robustness) -> str:
    """A point by its number on the frontier, or its id, and its model."""
    ids = [row.point.candidate for row in report.frontier]
    number = str(ids.index(one.candidate) + 1) if one.candidate in ids else one.candidate
    return f"{number} {escape(report.labels.get(one.candidate, ''))}"


def _by_rule(title: str, cells: Sequence[Sequence[tuple[str, str]]], heads: Sequence[str]) -> str:
    """A row per rule, a column per point."""
    rules = dict.fromkeys(rule for of_one in cells for rule, _ in of_one)
    known = [dict(of_one) for of_one in cells]
    rows = [(escape(rule), *(of_one.get(rule, "") for of_one in known)) for rule in rules]
    return f"{title}\n\n{table(('', *heads), rows)}" if rows else ""


def outcome(one: Robustness) -> tuple[str, str, str]:
    """What a point stands, in words: the changes of its score, perturbed and injected, and the successes."""
    attacked = one.attacked
    return _change(one.perturbed), _change(attacked.drop if attacked else None), _success(attacked)


def _change(drop: Drop | None) -> str:
    return "" if drop is None else f"{_signed(drop):+.3f} ({-drop.high:+.2f} to {-drop.low:+.2f})"


def _success(attack: Attack | None) -> str:
    if attack is None or not attack.success.n:
        return ""
    found = attack.success
    return f"{found.mean:.2f} ({found.low:.2f}-{found.high:.2f})"
