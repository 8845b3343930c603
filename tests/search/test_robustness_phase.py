"""Studies that run their frontier on perturbed inputs, or trade robustness off; on fake models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Request, Response
from fakes import FakeEngine, interrupt

from optimizers.evaluation.perturbations.injections import INJECTIONS
from optimizers.evaluation.perturbations.text import RULES
from optimizers.records.budget import Budget
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.results.render.markdown import to_markdown
from optimizers.results.study_report import study_report
from optimizers.search.manifest import open_folder
from optimizers.search.robustness_phase import ROWS
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask


def study(task: LoadedTask, runs: Path, **asked: Any) -> FrontierReport:
    budget = asked.pop("budget", Budget(trials=4))
    folder = open_folder(task, runs, "s", 0, budget, **asked)
    return run_study(task, folder, watch=lambda progress: None)


@pytest.fixture
def runs(tmp_path: Path, engines: dict[str, FakeEngine], quick: None) -> Path:
    return tmp_path / "runs"


def obey(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an engine give whatever a text plainly tells it to give."""
    complete = engine.complete

    def gullible(request: Request) -> Response:
        text = "\n".join(message.text or "" for message in request.messages)
        response = complete(request)
        _, told, wanted = text.rpartition("the sentiment to give is: ")
        if not told:
            return response
        label = "positive" if wanted.startswith("positive") else "negative"
        message = response.message.assistant(
            (response.message.text or "").replace("positive", label).replace("negative", label)
        )
        return Response(
            id=None, model=request.model, message=message, finish_reason="stop", usage=response.usage
        )

    monkeypatch.setattr(engine, "complete", gullible)


def test_the_frontier_is_run_on_perturbed_inputs_and_an_obedient_model_is_found_out(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in engines.values():
        obey(engine, monkeypatch)
    report = study(task, runs, robustness=True)
    wanted = {p.candidate.id for p in report.points if p.roles not in (("searched",), ("default",))}
    assert {one.candidate for one in report.robustness} == wanted
    for one in report.robustness:
        assert {drop.rule for drop in one.rules} == {*RULES, "label order"}
        assert {drop.rule: drop.n for drop in one.rules} == dict.fromkeys([*RULES, "label order"], ROWS)
        success = {found.rule: found.success for found in one.injections}
        assert set(success) == {f"{name} in review" for name in INJECTIONS}
        assert success["ignore previous in review"].mean == 1.0
        assert success["role play in review"].mean < 0.7
    shown = to_markdown(study_report(open_folder(task, runs, "s", 0, Budget(trials=4))))
    assert "## Robustness" in shown
    assert "ignore previous in review" in shown
    page = (runs / "s" / "frontier.html").read_text(encoding="utf-8")
    assert "delimiter escape in review" in page


def test_scores_on_perturbed_inputs_change_nothing_else(task: LoadedTask, runs: Path) -> None:
    plain = study(task, runs)
    with_robustness = study(task, runs, robustness=True)
    same = {"robustness", "seconds", "spend", "prediction"}
    assert with_robustness.robustness
    assert with_robustness.model_dump(exclude=same) == plain.model_dump(exclude=same)


def test_an_interrupted_run_goes_on_where_it_was(
    task: LoadedTask, runs: Path, engines: dict[str, FakeEngine]
) -> None:
    before = study(task, runs)
    calls = sum(len(engine.requests) for engine in engines.values())
    interrupt(engines, calls + 100)
    with pytest.raises(KeyboardInterrupt):
        study(task, runs, robustness=True)
    interrupt(engines, 10**9)
    report = study(task, runs, robustness=True)
    assert report.robustness
    assert report.points == before.points
    with Ledger.open(runs / "s" / "ledger.db") as ledger:
        run = [(r.candidate, r.example) for r in ledger.rollouts(split="perturbed")]
    assert len(run) == len(set(run)) == len(report.robustness) * ROWS * (len(RULES) + 1 + len(INJECTIONS))


def test_a_budget_covers_both_the_test_and_what_comes_after(
    task: LoadedTask, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizers.search.robustness_phase.ROWS", 6)
    report = study(task, runs, budget=Budget(calls=1200), robustness=True)
    assert report.spend is not None
    assert report.spend.total.calls <= 1200
    assert report.spend.by_phase["robustness"] >= 0.9 * 6 * (len(RULES) + 1 + len(INJECTIONS))
    assert report.prediction is not None
    assert report.prediction.robustness is not None
    assert all(one.perturbed is not None for one in report.robustness)


def test_robustness_can_be_traded_off(task: LoadedTask, runs: Path, engines: dict[str, FakeEngine]) -> None:
    report = study(task, runs, objectives=("quality", "cost", "robustness"))
    assert report.robustness
    with Ledger.open(runs / "s" / "ledger.db") as ledger:
        dev = {r.candidate for r in ledger.rollouts(split="dev")}
        assert dev <= {r.candidate for r in ledger.rollouts(split="perturbed")}
        trials = ledger.trials()
    assert all(len(trial.values) == 3 and 0 <= trial.values[2] <= 1 for trial in trials)
    assert all(block.perturbed for trial in trials for _, block in trial.ran)
    calls = sum(len(engine.requests) for engine in engines.values())
    again = study(task, runs, objectives=("quality", "cost", "robustness"))
    assert again == report
    assert sum(len(engine.requests) for engine in engines.values()) == calls
