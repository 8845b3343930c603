"""A study's advice from its records: no model is loaded, no network is used."""

from __future__ import annotations

from collections import defaultdict
from shlex import quote
from typing import TYPE_CHECKING

from optimizers.errors import StudyError
from optimizers.frontier.advice import Advice, advise
from optimizers.frontier.forecast import Scored, forecast

if TYPE_CHECKING:
    from optimizers.frontier.report import FrontierReport
    from optimizers.records.ledger import Ledger
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
    scored: dict[str, list[Scored]] = defaultdict(list)
    spent = 0
    for trial in ledger.trials():
        for identity, block in trial.ran:
            spent += block.calls
            scored[model_of[identity]].append(Scored(spent, identity, block.scores))
    final: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in ledger.rollouts(split="dev"):
        if row.number == 0 and row.score is not None:
            final[model_of[row.candidate]][row.candidate].append(row.score)
    forecasts = {model.name: forecast(scored[model.name], final[model.name]) for model in manifest.models}
    predictors = {name for point in report.points for name in point.candidate.predictors}
    # Labels are right answers where one predictor writes them; a step's are what right runs wrote.
    rows = manifest.sizes.train if len(predictors) == 1 else _right_runs(ledger)
    again = f"optimize {quote(manifest.program)} --from {manifest.name} --budget {manifest.budget.option}"
    return advise(report, forecasts, rows=rows, again=again)


def _right_runs(ledger: Ledger) -> int:
    """Train examples that some run got right."""
    runs = ledger.rollouts(split="train")
    return len({run.example for run in runs if run.score is not None and run.score >= RIGHT})
