"""The comparison of two studies, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from optimizers.records.prediction import Amount
from optimizers.results.compare import Contest, Difference, StudyComparison
from optimizers.results.render.escaping import bullets, code, escape, table
from optimizers.results.wording import allowed, clock, interval, money, score, signed, to_settle, verdict

LONGEST = 160
"""Characters shown of a text that differs."""


def to_markdown(found: StudyComparison) -> str:
    """The whole comparison."""
    sections = (_head(found), _what_differs(found), _quality(found), _rest(found))
    return "\n\n".join(part for section in sections for part in section if part) + "\n"


def _head(found: StudyComparison) -> Iterable[str]:
    yield f"# {escape(found.b)} against {escape(found.a)}"
    tasks = dict.fromkeys((found.task_a, found.task_b))
    yield f"Task: {' and '.join(map(escape, tasks))}. A is {escape(found.a)}, B is {escape(found.b)}."


def _what_differs(found: StudyComparison) -> Iterable[str]:
    yield "## What differs between the studies"
    if not found.differences:
        yield "Nothing on record: program, data, models, prices, margin, budget and seed are the same."
        return
    yield _differences(found.differences)


def _quality(found: StudyComparison) -> Iterable[str]:
    yield "## Which found the better prompts"
    yield (
        f"Each study's best was chosen on its dev set. The bests were scored on {found.tests[0]:,} and "
        f"{found.tests[1]:,} test examples, {found.shared:,} of them in both studies. B - A is in points."
    )
    rows = [
        (
            escape(contest.of),
            score(contest.a.test, binary=found.binary),
            score(contest.b.test, binary=found.binary),
            _gap(contest),
            verdict(contest.comparison) if contest.comparison else "none: not paired",
            f"{contest.cost_ratio:.0%}" if contest.cost_ratio is not None else "unknown",
        )
        for contest in found.contests
    ]
    yield table(("best of", "A", "B", "B - A (95%)", "B to A", "B's cost"), rows, numbers=[5])
    yield bullets(_in_words(contest, found.margin) for contest in found.contests)
    yield bullets(map(escape, found.notes))
    for contest in found.contests:
        yield f"### How the bests of {escape(contest.of)} differ"
        yield bullets(
            f"{side}: {code(one.candidate)} {escape(one.label)}, {escape(one.summary)}"
            for side, one in (("A", contest.a), ("B", contest.b))
        )
        yield (
            "Both are the same candidate, measured twice." if contest.same else _differences(contest.choices)
        )


def _rest(found: StudyComparison) -> Iterable[str]:
    yield "## Frontiers and spend"
    if found.covered is not None:
        yield (
            f"A's frontier covers {found.covered[0]:.3f} of the plane of quality and cost on test, B's "
            f"{found.covered[1]:.3f} (hypervolume; cost on a log scale between the cheapest and the dearest "
            "candidate of both)."
        )
    if found.spend_a is None or found.spend_b is None:
        return
    rows = [
        ("A", *_amount(found.spend_a)),
        ("B", *_amount(found.spend_b)),
        _ratios(found.spend_a, found.spend_b),
    ]
    yield table(("spent", "calls", "tokens", "USD", "time"), rows, numbers=[1, 2, 3, 4])


def _in_words(contest: Contest, margin: float) -> str:
    of, gap = escape(contest.of), contest.gap
    if gap is None:
        return f"Best of {of}: not tested in both studies."
    shown = "B's is better" if gap.low > 0 else "B's is worse" if gap.high < 0 else "no difference is shown"
    found = contest.comparison
    if found is None:
        return f"Best of {of}: {shown}, by two separate measurements."
    words = {
        "match": f"B's is shown to lose less than {allowed(margin)} points",
        "no match": f"B's is shown to lose more than {allowed(margin)} points",
        "indecisive": f"whether B's loses more than {allowed(margin)} points is not settled",
    }
    return f"Best of {of}: {shown}; {words[found.verdict]}. {to_settle(found)}".rstrip()


def _gap(contest: Contest) -> str:
    gap = contest.gap
    if gap is None:
        return "not measured"
    how = f"n = {gap.n}" if gap.paired else "unpaired"
    return f"{signed(gap.difference)} ({interval(gap.low, gap.high)}), {how}"


def _differences(found: Iterable[Difference]) -> str:
    rows = [(escape(one.what), escape(one.a, LONGEST), escape(one.b, LONGEST)) for one in found]
    return table(("", "A", "B"), rows)


def _amount(amount: Amount) -> tuple[str, ...]:
    return f"{amount.calls:,.0f}", f"{amount.tokens:,.0f}", money(amount.dollars), clock(amount.seconds)


def _ratios(a: Amount, b: Amount) -> tuple[str, ...]:
    pairs = ((a.calls, b.calls), (a.tokens, b.tokens), (a.dollars, b.dollars), (a.seconds, b.seconds))
    return ("B / A", *(f"{other / one:.2f}" if one else "" for one, other in pairs))
