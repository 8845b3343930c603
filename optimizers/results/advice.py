"""What to do next: search on, ship a point, or fine-tune a small model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizers.records.report import FrontierReport, Point
from optimizers.results.statistics.forecast import NOTHING, Forecast

Word = Literal["keep prompting", "ship", "fine-tune"]

FEWEST_ROWS = 100
"""Right examples below which fine-tuning is not advised: few studies report gains from fewer."""

LIKELIER = 0.2
"""By this much as much search again must raise the probability of a match, to be worth its price."""

WORTH, LEAST_WORTH = 0.5, 0.005
"""Expected gain that is worth as much search again: a share of the margin, and at least so much."""

AFTER = frozenset({"test", "robustness"})
"""Phases whose calls are no search."""


class ModelForecast(BaseModel):
    """What as much search again is expected to bring one model.

    Attributes:
        model: The model.
        best: Candidate id of its best point, chosen on dev.
        gain: Expected gain of its best in true quality.
        low: Lower end of the 80% interval of the gain.
        high: Upper end of it.
        matches: Probability that its best is within the margin of the reference's best now; None for
            the reference.
        will_match: The same after as much search again, the reference staying where it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    best: str
    gain: float = Field(ge=0)
    low: float = Field(ge=0)
    high: float = Field(ge=0)
    matches: float | None = Field(default=None, ge=0, le=1)
    will_match: float | None = Field(default=None, ge=0, le=1)


class Advice(BaseModel):
    """What to do next, and why.

    Attributes:
        word: What to do.
        point: Candidate id to ship, now or meanwhile.
        model: The model that this is about.
        sentence: The advice in one sentence.
        reasons: What speaks for it, a sentence each.
        command: What to type for it.
        model_forecasts: What as much search again is expected to bring each model.
        again: Calls and US dollars that as much search again uses, about.
        rows: Train examples with a right answer, about.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    word: Word
    point: str
    model: str
    sentence: str
    reasons: tuple[str, ...]
    command: str
    model_forecasts: tuple[ModelForecast, ...]
    again: tuple[float, float]
    rows: int


def model_forecasts(report: FrontierReport, forecasts: Mapping[str, Forecast]) -> list[ModelForecast]:
    """What as much search again is expected to bring each model that has a best point.

    Args:
        report: The study's result.
        forecasts: Model -> what as much search again would gain it.
    """
    found = []
    for point in report.with_role("best"):
        name = point.candidate.model
        coming, compared = forecasts[name], point.comparison
        odds: tuple[float | None, float | None] = None, None
        if compared is not None:
            gap, error = -compared.difference - compared.margin, (compared.high - compared.low) / (2 * 1.96)
            odds = NOTHING.reaching(gap, error), coming.reaching(gap, error)
        found.append(
            ModelForecast(
                model=name,
                best=point.candidate.id,
                gain=coming.mean,
                low=coming.quantile(0.1),
                high=coming.quantile(0.9),
                matches=odds[0],
                will_match=odds[1],
            )
        )
    return found


def advise(report: FrontierReport, forecasts: Mapping[str, Forecast], *, rows: int, again: str) -> Advice:
    """Say what to do after a study.

    A model that is shown to match the reference at no higher cost is shipped. Else the search goes on while
    as much again is expected to gain something that the user cares about, or to make a match clearly
    likelier; when it is not, what separates the small model from the reference is left to fine-tuning, if
    there is enough to learn from.

    Args:
        report: The study's result, with at least one tested point.
        forecasts: Model -> what as much search again would gain it.
        rows: Train examples with a right answer, about.
        again: The command that searches as much again.
    """
    found = model_forecasts(report, forecasts)
    matched = [point for point in _others(report) if _is_match(point) and _is_no_dearer(point)]
    small = max(
        (one for one in found if one.matches is not None and _is_no_dearer(_point(report, one.best))),
        key=lambda one: _point(report, one.best).dev.mean,
        default=None,
    )
    about = small or max(found, key=lambda one: _point(report, one.best).dev.mean)
    if matched:
        said = _ship_match(report, matched[0])
    elif _pays(about, report.margin):
        said = _keep(report, about, again)
    elif small is not None and _falls_short(small) and rows >= FEWEST_ROWS:
        said = _fine_tune(report, small, rows)
    else:
        said = _ship_best(report, small, rows)
    return said.model_copy(update={"model_forecasts": tuple(found), "rows": rows})


def _others(report: FrontierReport) -> list[Point]:
    """Tested points that may be shipped, of models other than the reference, cheapest first."""
    return [p for p in report.eligible() if p.test and p.candidate.models != (report.reference,)]


def _is_match(point: Point) -> bool:
    return point.comparison is not None and point.comparison.verdict == "match"


def _is_no_dearer(point: Point) -> bool:
    """Whether it is known to cost no more than the reference."""
    return _cost_ratio(point) <= 1


def _cost_ratio(point: Point) -> float:
    """Serving cost over the reference's; infinite where that is not known."""
    ratio = point.comparison.cost_ratio if point.comparison else None
    return math.inf if ratio is None else ratio


def _point(report: FrontierReport, identity: str) -> Point:
    return next(point for point in report.points if point.candidate.id == identity)


def _pays(one: ModelForecast, margin: float) -> bool:
    """Whether as much search again is worth it."""
    likelier = (one.will_match or 0.0) - (one.matches or 0.0)
    return one.gain >= max(LEAST_WORTH, WORTH * margin) or likelier >= LIKELIER


def _falls_short(small: ModelForecast) -> bool:
    """Whether it is likelier than not that the small model is not good enough."""
    return (small.matches or 0.0) < 0.5


def _best(report: FrontierReport) -> Point:
    """The reference's best, or where there is none the best on dev."""
    tested = [point for point in report.points if point.test]
    known = [point for point in tested if "reference" in point.roles]
    return known[0] if known else max(tested, key=lambda point: ("best" in point.roles, point.dev.mean))


def _ship_match(report: FrontierReport, point: Point) -> Advice:
    return _advice(
        report,
        "ship",
        point,
        f"Stop, ship {_named(point)}: it is shown to match {_short(report.reference)}'s best "
        f"at {_cost_ratio(point):.0%} of its cost.",
        [_apart(point)],
    )


def _keep(report: FrontierReport, one: ModelForecast, command: str) -> Advice:
    calls, dollars = _again(report)
    price = f"about {calls:,.0f} calls and ${dollars:.4f}"
    per_dollar = f", {100 * one.gain / dollars:,.0f} points a dollar" if dollars > 0 else ""
    reasons = [f"As much search again uses {price}{per_dollar}.", *_odds(report, one)]
    return _advice(
        report,
        "keep prompting",
        _best(report),
        f"Keep prompting {_short(one.model)}: as much search again is expected to gain it {one.gain:+.3f} "
        f"(80% interval {one.low:+.3f} to {one.high:+.3f}).",
        reasons,
        model=one.model,
        command=command,
    )


def _fine_tune(report: FrontierReport, small: ModelForecast, rows: int) -> Advice:
    point, best = _point(report, small.best), _best(report)
    return _advice(
        report,
        "fine-tune",
        best,
        f"Stop prompting, fine-tune {_short(small.model)} on about {rows:,} examples; until then ship "
        f"{_named(best)}.",
        [
            _apart(point),
            _little(small),
            *_odds(report, small),
            "Whether fine-tuning closes the gap is not predicted here: measure the tuned model as "
            "one more --model of a new study.",
        ],
        model=small.model,
        command=f"optimize export {report.study} --to finetune --point {small.best}",
    )


def _ship_best(report: FrontierReport, small: ModelForecast | None, rows: int) -> Advice:
    best, reasons = _best(report), []
    if small is not None:
        point = _point(report, small.best)
        reasons += [_apart(point), _little(small), *_odds(report, small)]
        if point.comparison and point.comparison.more:
            reasons.append(f"About {point.comparison.more:,} more test examples would settle it.")
        if point.test and point.test.failures:
            reasons.append(
                f"{point.test.failures} of its rollouts on test got no score: mend what failed them."
            )
        if _falls_short(small) and rows < FEWEST_ROWS:
            reasons.append(
                f"Fine-tuning wants at least {FEWEST_ROWS} right train examples; there are about {rows:,}."
            )
    sentence = f"Stop, ship {_named(best)}: more search is expected to bring little, and nothing smaller is "
    sentence += "shown to match it." if small else "compared with it."
    return _advice(report, "ship", best, sentence, reasons)


def _advice(
    report: FrontierReport,
    word: Word,
    point: Point,
    sentence: str,
    reasons: Sequence[str],
    *,
    model: str | None = None,
    command: str | None = None,
) -> Advice:
    return Advice(
        word=word,
        point=point.candidate.id,
        model=model or point.candidate.model,
        sentence=sentence,
        reasons=tuple(reason for reason in reasons if reason),
        command=command or f"optimize export {report.study} --point {point.candidate.id} --to dspy",
        model_forecasts=(),
        again=_again(report),
        rows=0,
    )


def _again(report: FrontierReport) -> tuple[float, float]:
    """Calls and US dollars of what came before the test, about."""
    if report.spend is None or not report.spend.total.calls:
        return 0.0, 0.0
    calls = sum(count for phase, count in report.spend.by_phase.items() if phase not in AFTER)
    return float(calls), report.spend.total.dollars * calls / report.spend.total.calls


def _named(point: Point) -> str:
    return f"{point.candidate.label} ({point.candidate.id})"


def _short(model: str) -> str:
    return model.rsplit("/", 1)[-1]


def _apart(point: Point) -> str:
    compared = point.comparison
    if compared is None:
        return ""
    return (
        f"{point.candidate.label}'s best is {compared.difference:+.3f} to the reference's on test "
        f"(95% interval {compared.low:+.3f} to {compared.high:+.3f}; margin {compared.margin:g})."
    )


def _little(one: ModelForecast) -> str:
    return (
        f"As much search again is expected to gain {_short(one.model)} {one.gain:+.3f} "
        f"(80% interval {one.low:+.3f} to {one.high:+.3f})."
    )


def _odds(report: FrontierReport, one: ModelForecast) -> list[str]:
    if one.matches is None or one.will_match is None:
        return []
    return [
        f"It is within {report.margin:g} of {_short(report.reference)}'s best with probability "
        f"{one.matches:.2f} now, {one.will_match:.2f} after that."
    ]
