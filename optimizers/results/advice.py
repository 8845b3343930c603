"""What to do next: search on, ship a point, or fine-tune a small model. From a study's records alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from optimizers.errors import StudyError
from optimizers.records.record import Record
from optimizers.records.report import FrontierReport, Point
from optimizers.results.statistics.forecast import NOTHING, Forecast, Scored, forecast
from optimizers.results.wording import allowed, interval, loss, money, points, to_settle

if TYPE_CHECKING:
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import StudyManifest

Word = Literal["keep prompting", "ship", "fine-tune"]

FEWEST_ROWS = 100
"""Right examples below which fine-tuning is not advised: few studies report gains from fewer."""

LIKELIER = 0.2
"""By this much as much search again must raise the probability of a match, to be worth its price."""

WORTH, LEAST_WORTH = 0.5, 0.005
"""Expected gain that is worth as much search again: a share of the margin, and at least so much."""

AFTER = frozenset({"test", "robustness"})
"""Phases whose calls are no search."""


class ModelForecast(Record):
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

    model: str
    best: str
    gain: float = Field(ge=0)
    low: float = Field(ge=0)
    high: float = Field(ge=0)
    matches: float | None = Field(default=None, ge=0, le=1)
    will_match: float | None = Field(default=None, ge=0, le=1)


class Advice(Record):
    """What to do next, and why.

    Attributes:
        word: What to do.
        point: Candidate id to ship, now or meanwhile.
        model: The model that this is about.
        sentence: The advice in one sentence.
        reasons: What speaks for it, a sentence each.
        command: What to type for it; empty where code handed the program over.
        model_forecasts: What as much search again is expected to bring each model.
        again: Calls and US dollars that as much search again uses, about.
        rows: Train examples with a right answer, about.
    """

    word: Word
    point: str
    model: str
    sentence: str
    reasons: tuple[str, ...]
    command: str
    model_forecasts: tuple[ModelForecast, ...]
    again: tuple[float, float]
    rows: int


def advice_of(manifest: StudyManifest, report: FrontierReport, ledger: Ledger) -> Advice:
    """What to do after a finished study.

    Args:
        manifest: What the study is about.
        report: Its result.
        ledger: Its ledger.

    Raises:
        StudyError: Nothing was measured on its test.
    """
    if not any(point.test and point.test.n for point in report.points):
        raise StudyError(
            "Nothing was measured on the sealed test, so there is nothing to go by.",
            where=f"study {manifest.name}",
            fix="run a study with a larger budget",
        )
    model_of = {identity: candidate.model for identity, candidate in ledger.candidates().items()}
    trials, rows = ledger.trials(), ledger.rollouts(split="dev")
    measured = {identity for trial in trials for identity, _ in trial.ran} | {row.candidate for row in rows}
    searched = {model.name for model in manifest.models}
    strangers = {point.candidate.model for point in report.points} - searched
    if lost := sorted((measured - model_of.keys()) | strangers):
        raise StudyError(
            f"The study's records do not fit together: one names what others lack, {', '.join(lost[:3])}.",
            where=f"study {manifest.name}",
            fix="restore its files, or run a new study",
        )
    scored: dict[str, list[Scored]] = defaultdict(list)
    spent = 0
    for trial in trials:
        for identity, block in trial.ran:
            spent += block.calls
            scored[model_of[identity]].append(Scored(spent, identity, block.scores))
    final: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.number == 0 and row.score is not None:
            final[model_of[row.candidate]][row.candidate].append(row.score)
    forecasts = {model.name: forecast(scored[model.name], final[model.name]) for model in manifest.models}
    predictors = {name for point in report.points for name in point.candidate.predictors}
    # Labels are right answers where one predictor writes them; a step's are what right runs wrote.
    labelled = manifest.sizes.train if len(predictors) == 1 else _right_runs(ledger)
    again = (
        f"optimize {quote(manifest.program)} --from {quote(manifest.name)} --budget {manifest.budget.option}"
    )
    found = advise(report, forecasts, rows=labelled, again=again)
    # Every command needs a program file.
    return found if manifest.has_program_file else found.model_copy(update={"command": ""})


def _right_runs(ledger: Ledger) -> int:
    """Train examples that some run got right."""
    runs = ledger.rollouts(split="train")
    return len({run.example for run in runs if run.score is not None and run.score >= 1.0})


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
        f"Stop and ship {_named(point)}: it matches the best of {_short(report.reference)} at "
        f"{_cost_ratio(point):.0%} of its cost.",
        [_apart(point)],
    )


def _keep(report: FrontierReport, one: ModelForecast, command: str) -> Advice:
    calls, dollars = _again(report)
    reasons = [
        f"As much search again uses about {calls:,.0f} calls and ${money(dollars)}.",
        *_odds(report, one),
    ]
    return _advice(
        report,
        "keep prompting",
        _best(report),
        f"Search on with {_short(one.model)}. {_expected(one)}",
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
        f"Stop prompting and fine-tune {_short(small.model)} on about {rows:,} examples; until then ship "
        f"{_named(best)}.",
        [
            _apart(point),
            _expected(small),
            *_odds(report, small),
            "This does not predict whether fine-tuning closes the gap: measure the tuned model as one more "
            "--model of a new study.",
        ],
        model=small.model,
        command=f"optimize export {quote(report.study)} --to finetune --point {small.best}",
    )


def _ship_best(report: FrontierReport, small: ModelForecast | None, rows: int) -> Advice:
    best, reasons = _best(report), []
    if small is not None:
        point = _point(report, small.best)
        reasons += [_apart(point), _expected(small), *_odds(report, small)]
        if point.comparison:
            reasons.append(to_settle(point.comparison))
        if point.test and point.test.failures:
            reasons.append(f"{point.test.failures} of its test rollouts got no score: mend what failed them.")
        if _falls_short(small) and rows < FEWEST_ROWS:
            reasons.append(
                f"Fine-tuning needs at least {FEWEST_ROWS} right train examples; there are about {rows:,}."
            )
    lacking = "no cheaper model is shown to match it" if small else "no cheaper model is compared with it"
    sentence = f"Keep {_named(best)}: more search is expected to bring little, and {lacking}."
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
        command=command or f"optimize export {quote(report.study)} --point {point.candidate.id} --to dspy",
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
        f"The best of {point.candidate.label} is {loss(compared)} short of the reference's on test; "
        f"{allowed(compared.margin)} allowed."
    )


def _expected(one: ModelForecast) -> str:
    return (
        f"As much search again is expected to gain {_short(one.model)} {points(one.gain)} points "
        f"(80% interval {interval(one.low, one.high)})."
    )


def _odds(report: FrontierReport, one: ModelForecast) -> list[str]:
    if one.matches is None or one.will_match is None:
        return []
    return [
        f"The chance that it is within {allowed(report.margin)} points of the best of "
        f"{_short(report.reference)} is {one.matches:.0%} now and {one.will_match:.0%} after as much "
        "search again."
    ]
