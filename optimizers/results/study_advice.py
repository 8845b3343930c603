"""A study's advice from its records: no model is loaded, no network is used."""

from __future__ import annotations

from collections import defaultdict
from shlex import quote
from typing import TYPE_CHECKING

from optimizers.errors import StudyError
from optimizers.results.advice import Advice, advise
from optimizers.results.statistics.forecast import Scored, forecast

if TYPE_CHECKING:
    from optimizers.records.ledger import Ledger
    from optimizers.records.report import FrontierReport
    from optimizers.records.rows import StudyManifest

RIGHT = 1.0
"""Least score of a run that is learnt from."""


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
    again = f"optimize {quote(manifest.program)} --from {manifest.name} --budget {manifest.budget.option}"
    return advise(report, forecasts, rows=labelled, again=again)


def _right_runs(ledger: Ledger) -> int:
    """Train examples that some run got right."""
    runs = ledger.rollouts(split="train")
    return len({run.example for run in runs if run.score is not None and run.score >= RIGHT})
