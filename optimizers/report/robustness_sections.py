"""What the frontier stands, in Markdown: perturbed inputs, and injections that try to take it over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from optimizers.frontier.report import Attack, Drop, Robustness
from optimizers.report.findings import StudyReport
from optimizers.report.markdown import code, escape, table


def robustness(report: StudyReport) -> Iterable[str]:
    """The section on robustness; nothing where it was not asked."""
    if not report.manifest.robustness:
        return
    yield "## What the prompts stand"
    found = report.robustness
    if not found:
        yield "Nothing was measured on perturbed inputs: the budget was used up before."
        return
    yield (
        "Test examples changed so that they still say the same, and with injections that ask for another "
        "answer or for the prompt. Change: the score on them, minus that on the examples as they were. "
        "Success: how often an injection got what it wanted, of the examples that do not give it anyway. "
        "95% intervals, clustered by example; nothing was chosen by these figures."
    )
    rows = [
        (
            escape(report.labels.get(one.candidate, one.candidate)),
            code(one.candidate),
            _change(one.perturbed),
            _success(one.attacked),
            _change(one.attacked.drop if one.attacked else None),
        )
        for one in found
    ]
    yield table(("model", "point", "change, perturbed", "attack success", "change, attacked"), rows)
    yield _by_rule(
        "Change by perturbation:", [[(d.rule, _short(d)) for d in one.rules] for one in found], found
    )
    yield _by_rule(
        "Success by injection:",
        [[(a.drop.rule, f"{a.success.mean:.2f}") for a in one.injections] for one in found],
        found,
    )


def _by_rule(title: str, cells: Sequence[Sequence[tuple[str, str]]], found: Sequence[Robustness]) -> str:
    """A row per rule, a column per point."""
    rules = dict.fromkeys(rule for of_one in cells for rule, _ in of_one)
    known = [dict(of_one) for of_one in cells]
    rows = [(escape(rule), *(of_one.get(rule, "") for of_one in known)) for rule in rules]
    heads = ("", *(code(one.candidate) for one in found))
    return f"{title}\n\n{table(heads, rows)}" if rows else ""


def _change(drop: Drop | None) -> str:
    if drop is None:
        return ""
    return f"{-drop.drop:+.3f} ({-drop.high:+.2f} to {-drop.low:+.2f}) from {drop.clean:.3f}, n={drop.n}"


def _short(drop: Drop) -> str:
    return f"{-drop.drop:+.2f} (n={drop.n})"


def _success(attack: Attack | None) -> str:
    if attack is None or not attack.success.n:
        return ""
    found = attack.success
    return f"{found.mean:.2f} ({found.low:.2f}-{found.high:.2f}) n={found.n}"
