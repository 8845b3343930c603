"""A finished study's prompts on other models: the same examples, nothing run twice, no budget overshot."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import LARGE, SMALL, FakeEngine, interrupt, reviews

from optimizers.cli.app import main
from optimizers.cli.transfer_view import show_transfer
from optimizers.errors import BudgetError, StudyError, UsageError
from optimizers.evaluation.measure import Measurer
from optimizers.models.resolve import model
from optimizers.models.sampling import Sampling
from optimizers.records.budget import Budget
from optimizers.records.candidate import Candidate, PredictorPrompt, Serving
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.report import Estimate, FrontierReport, Point, Role
from optimizers.records.transfer_report import Cell, TransferReport
from optimizers.search.manifest import manifest_of
from optimizers.search.space.search_space import search_space
from optimizers.search.transfer import Transfer, adapt_prompt, plan_transfer, run_transfer
from optimizers.task.data.split import example_id
from optimizers.task.task import load_task

PROGRAM = """
from fakes import LARGE, SMALL, Classify, reviews, sentiment_matches

from optimizers import Task

task = Task(program=Classify(), metric=sentiment_matches, data=DATA, models=[SMALL, LARGE])
"""

ROWS = 30
RECORDED = 12
"""Dev examples that the study itself has measured its cheapest prompt on."""


def prompt(
    model: str, rendering: str, *, technique: str = "direct", demos: int = 0, **sampling: Any
) -> Candidate:
    shown = tuple(
        {"review": f"this is {word}", "sentiment": label}
        for word, label in [("good", "positive"), ("poor", "negative")] * (demos // 2)
    )
    return Candidate(
        model=model,
        rendering=rendering,
        technique=technique,
        predictors={"predict": PredictorPrompt(instruction="Which is it?", demos=shown)},
        sampling=Sampling(max_tokens=64),
    )


CHEAP = prompt(SMALL.name, "completion", demos=8)
TURNS = prompt(LARGE.name, "turns", demos=4)
SCHEMA = prompt(LARGE.name, "json_object", demos=2)
POINTS: list[tuple[Candidate, tuple[Role, ...]]] = [
    (CHEAP, ("frontier", "best")),
    (TURNS, ("frontier",)),
    (SCHEMA, ("best", "reference")),
    (prompt(LARGE.name, "compact"), ("default",)),
]


def point(candidate: Candidate, roles: tuple[Role, ...], cost: float) -> Point:
    return Point(
        candidate=candidate,
        kind="instruct",
        roles=roles,
        dev=Estimate(mean=0.5, low=0.4, high=0.6, n=100),
        cost=cost,
        latency=0.1,
        prompt_tokens=10,
        completion_tokens=1,
    )


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, FakeEngine]:
    made = {
        "local/small": FakeEngine(skill=0.6),
        "local/large": FakeEngine(skill=0.85),
        other(tmp_path).partition(",")[0]: FakeEngine(skill=0.3, per_demo=0.1),
    }
    monkeypatch.setattr("optimizers.models.lm.llama_engine", lambda model: made[model.name])
    return made


def other(tmp_path: Path) -> str:
    """A base model that the study did not search, as it is written on the command line."""
    (tmp_path / "other.gguf").touch()
    return f"local/{tmp_path}/other.gguf,kind=base,size=0.2"


@pytest.fixture
def folder(tmp_path: Path, engines: dict[str, FakeEngine]) -> StudyFolder:
    """A finished study, its records made up except for the rollouts of its cheapest prompt."""
    (tmp_path / "pyproject.toml").touch()
    program = tmp_path / "reviews.py"
    program.write_text(PROGRAM.replace("DATA", "reviews(240)"))
    task = load_task(program)
    made = StudyFolder.create(
        tmp_path / "runs", manifest_of(task, "s", 0, Budget(trials=9), ("quality", "cost"))
    )
    points = [point(c, roles, 0.001 * (i + 1)) for i, (c, roles) in enumerate(POINTS)]
    made.write_report(
        FrontierReport(
            study="s",
            task="reviews",
            metric="sentiment_matches",
            reference=LARGE.name,
            margin=0.02,
            points=tuple(points),
            hypervolume=0.0,
            trials=9,
            rollouts=100,
            seconds=1.0,
            answer="",
        )
    )
    with Ledger.open(made.ledger) as ledger:
        Measurer(task, ledger).measure(CHEAP, task.dataset.dev[:RECORDED], "dev")
    served(engines)
    return made


def served(engines: dict[str, FakeEngine]) -> int:
    """Requests served since the last time this was asked."""
    count = sum(len(engine.requests) for engine in engines.values())
    for engine in engines.values():
        engine.requests.clear()
    return count


def transfer(folder: StudyFolder, *models: str, rows: int = ROWS, **limits: Any) -> TransferReport:
    plan = plan_transfer(folder, models, rows)
    return run_transfer(folder, plan, Budget(**limits), watch=lambda done, total: None)


def planned(folder: StudyFolder, tmp_path: Path) -> Transfer:
    return plan_transfer(folder, [other(tmp_path)], ROWS)


def test_every_cell_is_what_measuring_it_directly_gives(folder: StudyFolder, tmp_path: Path) -> None:
    plan = planned(folder, tmp_path)
    report = transfer(folder, other(tmp_path))
    assert len(report.cells) == 9
    with Ledger.open(tmp_path / "direct.db") as ledger:
        measurer = Measurer(plan.task, ledger)
        for adapted in plan.adapted:
            cell = report.cell(adapted.prompt, adapted.model)
            assert adapted.candidate is not None
            assert cell.quality is not None
            rollouts = measurer.measure(adapted.candidate, plan.task.dataset.dev[:ROWS], "dev")
            assert cell.quality.mean == pytest.approx(sum(r.score or 0 for r in rollouts) / ROWS)
            assert cell.quality.n == ROWS
            assert cell.cost == pytest.approx(sum(r.cost for r in rollouts) / ROWS)
    written = TransferReport.model_validate_json((folder.path / "transfer.json").read_text())
    assert written == report


def test_the_sealed_test_is_left_alone(folder: StudyFolder, tmp_path: Path) -> None:
    report = transfer(folder, other(tmp_path))
    assert "flattered" in report.notes[0]
    with Ledger.open(folder.path / "transfer.db") as ledger:
        dev = {example_id(example) for example in load_task(tmp_path / "reviews.py").dataset.dev}
        assert {rollout.example for rollout in ledger.rollouts()} <= dev
        assert ledger.rollouts(split="test") == []


def test_a_rendering_the_other_model_does_not_take_gives_way_and_the_cell_says_so(
    folder: StudyFolder, tmp_path: Path
) -> None:
    report = transfer(folder, other(tmp_path))
    new = report.new[0]
    assert report.cell(TURNS.id, new).changed == "completion for turns"
    assert report.cell(CHEAP.id, new).changed == ""
    assert report.cell(TURNS.id, LARGE.name).candidate == TURNS.id
    with Ledger.open(folder.path / "transfer.db") as ledger:
        ran = ledger.candidates()[str(report.cell(TURNS.id, new).candidate)]
    assert ran == TURNS.model_copy(update={"model": new, "rendering": "completion"})
    assert ran.id != TURNS.id


def test_a_technique_that_cannot_run_leaves_the_cell_empty_with_its_reason(
    folder: StudyFolder, tmp_path: Path
) -> None:
    plan = planned(folder, tmp_path)
    scoring = prompt(LARGE.name, "completion", technique="label_scoring")
    # The fake engines give no probabilities, so labels cannot be scored on them.
    adapted = adapt_prompt(scoring, plan.task.models[-1], search_space(plan.task))
    assert adapted.candidate is None
    assert adapted.reason == "label_scoring does not work in completion on this model"


def test_settings_and_predictors_move_with_the_prompt(folder: StudyFolder, tmp_path: Path) -> None:
    plan = planned(folder, tmp_path)
    served_by = model("openai/some", price=(0.1, 0.2))
    space = search_space(plan.task)
    wide = replace(space, abilities={**space.abilities, served_by.name: frozenset()})
    mixed = Candidate(
        model=LARGE.name,
        rendering="turns",
        technique="direct",
        sampling=Sampling(temperature=0.7, top_k=40, max_tokens=9),
        predictors={
            "note": PredictorPrompt(
                instruction="Note.",
                serving=Serving(model=SMALL.name, rendering="completion", technique="direct"),
            ),
            "predict": PredictorPrompt(instruction="Say."),
        },
    )
    adapted = adapt_prompt(mixed, served_by, wide)
    assert adapted.candidate is not None
    assert adapted.candidate.models == (served_by.name,)
    assert adapted.candidate.sampling == Sampling(temperature=0.7, max_tokens=9)
    assert {s.rendering for s in adapted.candidate.servings} == {"turns", "compact"}
    assert (
        adapted.changed == "compact for completion, no top_k"
        or adapted.changed == "no top_k, compact for completion"
    )


def test_claude_gets_a_prompt_without_its_top_p(folder: StudyFolder, tmp_path: Path) -> None:
    plan = planned(folder, tmp_path)
    claude = model("anthropic/claude-haiku-4-5")
    space = search_space(plan.task)
    wide = replace(space, abilities={**space.abilities, claude.name: frozenset()})
    drawn = Candidate(
        model=LARGE.name,
        rendering="turns",
        technique="direct",
        sampling=Sampling(temperature=0.7, top_p=0.9, max_tokens=9),
        predictors={"predict": PredictorPrompt(instruction="Say.")},
    )
    adapted = adapt_prompt(drawn, claude, wide)
    assert adapted.candidate is not None
    assert adapted.candidate.sampling == Sampling(temperature=0.7, max_tokens=9)
    assert adapted.changed == "no top_p"


@pytest.mark.parametrize("call", [1, 40, 150])
def test_an_interrupted_transfer_goes_on_and_runs_nothing_twice(
    folder: StudyFolder, tmp_path: Path, engines: dict[str, FakeEngine], call: int
) -> None:
    interrupt(engines, at=call)
    with pytest.raises(KeyboardInterrupt):
        transfer(folder, other(tmp_path))
    report = transfer(folder, other(tmp_path))
    with Ledger.open(folder.path / "transfer.db") as ledger:
        rollouts = ledger.rollouts()
    # Three prompts on three models and one plain default; what the study recorded is not run.
    assert len(rollouts) == 10 * ROWS
    assert served(engines) == 10 * ROWS - RECORDED + 1
    assert report.examples == ROWS
    assert transfer(folder, other(tmp_path)).cells == report.cells
    assert served(engines) == 0


def test_no_budget_is_overshot_and_cells_stay_on_the_same_examples(
    folder: StudyFolder, tmp_path: Path, engines: dict[str, FakeEngine]
) -> None:
    report = transfer(folder, other(tmp_path), calls=150)
    assert served(engines) <= 150
    assert report.spend.calls <= 150
    assert 0 < report.examples < ROWS
    assert {cell.quality.n for cell in report.cells if cell.quality} == {report.examples}
    assert "150 calls" in report.notes[-1]
    assert transfer(folder, other(tmp_path), calls=1000).examples == ROWS
    assert served(engines) == 10 * ROWS - RECORDED - report.spend.calls


@pytest.mark.parametrize(("limits", "said"), [({"calls": 5}, "every prompt"), ({"trials": 5}, "no trials")])
def test_a_budget_that_shows_nothing_is_refused(
    folder: StudyFolder, tmp_path: Path, limits: dict[str, int], said: str
) -> None:
    with pytest.raises(BudgetError, match=said):
        transfer(folder, other(tmp_path), **limits)


def test_the_answer_sets_the_best_transferred_prompt_beside_the_new_models_default(
    folder: StudyFolder, tmp_path: Path
) -> None:
    report = transfer(folder, other(tmp_path), rows=60)
    landing = next(landing for landing in report.landings if landing.model in report.new)
    # Demos teach the new model most: the prompt with eight of them.
    assert landing.prompt == CHEAP.id
    assert landing.baseline == "plain default"
    assert landing.baseline_quality == report.defaults[0].quality
    assert landing.gain.low > 0
    assert "prompt 1 (of small) is the best of 3 transferred" in report.answer
    assert report.answer.endswith("better.")


def test_the_studys_own_models_are_enough(folder: StudyFolder) -> None:
    report = transfer(folder)
    assert report.new == ()
    assert {landing.baseline for landing in report.landings} == {"own best"}
    assert "On large" in report.answer


def test_a_study_whose_program_changed_is_refused(folder: StudyFolder, tmp_path: Path) -> None:
    program = tmp_path / "reviews.py"
    program.write_text(program.read_text().replace("Task(", "Task(margin=0.1, "))
    with pytest.raises(StudyError, match="changed since: the program file"):
        transfer(folder)


def test_data_that_changed_under_the_same_program_is_refused(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakes.reviews", lambda count: reviews(count - 10))
    with pytest.raises(StudyError, match="changed since: the data"):
        transfer(folder)


def test_a_model_keeps_the_settings_it_was_first_measured_with(folder: StudyFolder, tmp_path: Path) -> None:
    transfer(folder, other(tmp_path), rows=10)
    name = other(tmp_path).partition(",")[0]
    assert plan_transfer(folder, [name]).task.models[-1].kind == "base"
    with pytest.raises(UsageError, match="other settings"):
        plan_transfer(folder, [f"{name},kind=chat,size=0.2"])


def test_a_study_of_one_model_needs_another(folder: StudyFolder) -> None:
    known = folder.read_manifest()
    folder.write_manifest(known.model_copy(update={"models": (LARGE,)}))
    with pytest.raises(UsageError, match="--model"):
        plan_transfer(folder, [])


def command(monkeypatch: pytest.MonkeyPatch, folder: StudyFolder, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["optimize", "transfer", *arguments, "--runs", str(folder.path.parent)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing-here"], "nothing-here"),
        (["s", "--model", "local/smollm2-135m-instrukt"], "smollm2-135m-instruct"),
        (["s", "--model", "openai/my-own-model"], "price"),
        (["s", "--budget", "lots"], "--budget"),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(
    folder: StudyFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    before = sorted(folder.path.iterdir())
    assert command(monkeypatch, folder, *arguments) == 2
    assert said in capsys.readouterr().err
    assert sorted(folder.path.iterdir()) == before


def test_an_empty_cell_is_shown_with_its_reason(
    folder: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    report = transfer(folder, rows=10)
    empty = Cell(prompt=CHEAP.id, model=LARGE.name, reason="no way")
    cells = [empty if (c.prompt, c.model) == (CHEAP.id, LARGE.name) else c for c in report.cells]
    show_transfer(report.model_copy(update={"cells": tuple(cells)}))
    assert "none: no way" in capsys.readouterr().out


def test_the_command_is_interrupted_with_130_and_then_prints_the_matrix(
    folder: StudyFolder,
    tmp_path: Path,
    engines: dict[str, FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["s", "--model", other(tmp_path), "--rows", "10"]
    interrupt(engines, at=20)
    assert command(monkeypatch, folder, *asked) == 130
    assert "continues it" in capsys.readouterr().err
    assert command(monkeypatch, folder, *asked, "--json") == 0
    printed = TransferReport.model_validate(json.loads(capsys.readouterr().out))
    assert command(monkeypatch, folder, *asked) == 0
    shown = capsys.readouterr().out
    assert "completion for" in shown
    assert "flattered" in shown
    assert printed.answer in shown
