"""Parity as a DSPy optimizer: the study of the command line, and what it gives back is an ordinary module."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.teleprompt import Teleprompter
from fakes import LARGE, SMALL, Classify, FakeEngine, interrupt, reviews, sentiment_matches

import optimizers
from optimizers.api import Parity, ParityProgram
from optimizers.errors import (
    BudgetError,
    DataError,
    ExportError,
    ModelError,
    ParityError,
    TaskError,
    UsageError,
)
from optimizers.export import load_program
from optimizers.export.point import rebuild
from optimizers.prompting.compile import compile_candidate
from optimizers.records.budget import Budget
from optimizers.records.folder import StudyFolder, list_studies
from optimizers.records.report import FrontierReport
from optimizers.search.manifest import open_folder
from optimizers.search.study import run_study
from optimizers.task.task import load_task

TRIALS = 8

PROGRAM = """
import dspy
from fakes import LARGE, SMALL, Classify, reviews, sentiment_matches
from optimizers import Task

task = Task(program=Classify(), metric=sentiment_matches, data=reviews(240), models=[SMALL, LARGE])
"""


def examples(count: int = 240, start: int = 0) -> list[dspy.Example]:
    return [dspy.Example(**row).with_inputs("review") for row in reviews(count)[start:]]


def parity(runs: Path, **changes: Any) -> Parity:
    settings: dict[str, Any] = {"models": [SMALL, LARGE], "budget": TRIALS, "runs": runs, "quiet": True}
    return Parity(sentiment_matches, **settings | changes)


def found(report: FrontierReport) -> list[dict[str, Any]]:
    """The points without what the clock says."""
    return [point.model_dump(exclude={"latency", "latency_p95"}) for point in report.points]


def says(program: Any, count: int = 6) -> list[str]:
    """What a program answers, asked anew rather than read from DSPy's cache."""
    for predictor in program.predictors():
        predictor.lm.cache = False
    return [program(review=row["review"]).sentiment for row in reviews(count)]


@pytest.fixture
def runs(tmp_path: Path, engines: dict[str, FakeEngine]) -> Path:
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with one finished study of the review task, on the engines of :func:`engines`."""
    runs = tmp_path_factory.mktemp("studied") / "runs"
    made = {"local/small": FakeEngine(skill=0.6), "local/large": FakeEngine(skill=0.85)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("optimizers.models.lm.llama_engine", lambda model: made[model.name])
        patch.setattr("optimizers.search.study.llama_engine", lambda model: made[model.name])
        parity(runs).compile(Classify(), trainset=examples())
    return runs


@pytest.fixture
def compiled(studied: Path, engines: dict[str, FakeEngine]) -> ParityProgram:
    return parity(studied).compile(Classify(), trainset=examples())


def test_it_finds_what_the_command_line_finds_and_leaves_the_student_alone(
    runs: Path, tmp_path: Path
) -> None:
    program = tmp_path / "mine.py"
    program.write_text(PROGRAM)
    task = load_task(program)
    by_file = run_study(task, open_folder(task, runs, "file", 3, Budget(trials=TRIALS)), watch=lambda p: None)
    student = Classify()
    before = student.dump_state()
    optimizer = optimizers.Parity(
        metric=sentiment_matches, models=[SMALL, LARGE], budget=str(TRIALS), seed=3, runs=runs, quiet=True
    )
    assert isinstance(optimizer, Teleprompter)
    in_code = optimizer.compile(student, trainset=examples())
    assert found(in_code.report) == found(by_file)
    assert in_code.frontier == in_code.report.with_role("frontier")
    assert student.dump_state() == before


def test_the_compiled_copy_runs_in_plain_dspy_as_the_candidate_was_measured(
    compiled: ParityProgram, engines: dict[str, FakeEngine]
) -> None:
    measured = compile_candidate(Classify(), compiled.candidate, [SMALL, LARGE])
    served = engines[compiled.candidate.model]
    said, asked = says(compiled, 20), list(served.requests)
    assert said == [measured({"review": row["review"]}).sentiment for row in reviews(20)]
    assert served.requests[-20:] == asked
    assert set(said) == {"positive", "negative"}
    assert compiled.verdict == (compiled.point.comparison.verdict if compiled.point.comparison else None)
    assert dspy.Evaluate(devset=examples(40), metric=sentiment_matches, num_threads=2)(compiled).score > 50


def test_the_compiled_copy_shows_the_students_predictors(compiled: ParityProgram) -> None:
    assert [name for name, _ in compiled.named_predictors()] == ["predict"]
    assert compiled.predict.demos == [dict(d) for d in compiled.candidate.predictors["predict"].demos]
    with pytest.raises(AttributeError, match="nothing"):
        _ = compiled.nothing


def test_the_compiled_copy_can_be_awaited(compiled: ParityProgram) -> None:
    said = says(compiled, 4)
    awaited = [asyncio.run(compiled.acall(review=row["review"])).sentiment for row in reviews(4)]
    assert awaited == said


def test_state_is_saved_and_loaded_as_for_any_module(compiled: ParityProgram, tmp_path: Path) -> None:
    compiled.save(str(tmp_path / "state.json"))
    again = compiled.deepcopy()
    again.predict.demos = []
    again.load(str(tmp_path / "state.json"), allow_unsafe_lm_state=True)
    plain = Classify()
    plain.load(str(tmp_path / "state.json"), allow_unsafe_lm_state=True)
    assert again.predict.demos == plain.predict.demos == compiled.predict.demos
    assert again.verdict == compiled.verdict
    assert says(again) == says(compiled)


def test_a_whole_program_saved_needs_neither_student_nor_study(
    compiled: ParityProgram, tmp_path: Path
) -> None:
    compiled.save(str(tmp_path / "whole"), save_program=True)
    again = dspy.load(str(tmp_path / "whole"), allow_pickle=True)
    assert again.report == compiled.report
    assert says(again) == says(compiled)


def test_the_compiled_copy_exports_itself(compiled: ParityProgram, tmp_path: Path) -> None:
    compiled.export(tmp_path / "out")
    loaded = load_program(tmp_path / "out", Classify())
    assert says(loaded) == says(compiled)
    with pytest.raises(UsageError, match="target"):
        compiled.export(tmp_path, "word")
    with pytest.raises(ExportError, match="copy"):
        compiled.deepcopy().export(tmp_path)


def test_commands_that_need_a_program_file_say_that_there_is_none(
    compiled: ParityProgram, studied: Path, tmp_path: Path
) -> None:
    (name,) = list_studies(studied)
    with pytest.raises(TaskError, match="handed over in code") as caught:
        rebuild(StudyFolder.load(studied, name), None)
    assert "fakes.py::Classify" in str(caught.value)
    compiled.export(tmp_path / "out")
    with pytest.raises(TaskError, match="load_program"):
        load_program(tmp_path / "out")


@pytest.mark.parametrize("calls", [60, 450])
def test_an_interrupted_compile_goes_on_at_the_second_call(
    compiled: ParityProgram, runs: Path, engines: dict[str, FakeEngine], calls: int
) -> None:
    interrupt(engines, at=calls)
    with pytest.raises(KeyboardInterrupt):
        parity(runs, study="cut").compile(Classify(), trainset=examples())
    # The fake fails once only; what was served before is not asked for again.
    again = parity(runs, study="cut").compile(Classify(), trainset=examples())
    assert found(again.report) == found(compiled.report)
    asked = sum(len(engine.requests) for engine in engines.values())
    assert asked == again.report.rollouts + 1
    parity(runs, study="cut").compile(Classify(), trainset=examples())
    assert sum(len(engine.requests) for engine in engines.values()) == asked


def test_what_changes_the_task_starts_another_study(runs: Path) -> None:
    def strict(example: Any, prediction: Any, trace: Any = None) -> float:
        return sentiment_matches(example, prediction)

    other = Classify()
    other.predict.signature = other.predict.signature.with_instructions("Other words.")
    tasks = [(Classify(), sentiment_matches), (Classify(), strict), (other, sentiment_matches)]
    for student, metric in [*tasks, *tasks]:
        optimizer = Parity(metric, [SMALL, LARGE], budget="5calls", runs=runs, quiet=True)
        with pytest.raises(BudgetError, match="before one candidate") as caught:
            optimizer.compile(student, trainset=examples())
        assert caught.value.where == "Parity: budget"
    assert len(list_studies(runs)) == len(tasks)


def test_an_lm_becomes_its_model() -> None:
    lm = dspy.LM("openai/gpt-4o-mini", api_base="http://127.0.0.1:1/v1", temperature=0.7, timeout=9)
    (model,) = Parity(sentiment_matches, [lm]).models
    assert (model.name, model.api_base, model.timeout) == ("openai/gpt-4o-mini", "http://127.0.0.1:1/v1", 9)
    assert model.price.output > model.price.input > 0


def test_options_of_dspys_optimizers_that_mean_the_same_are_taken(tmp_path: Path) -> None:
    def made(**options: Any) -> Parity:
        return Parity(sentiment_matches, **options)

    assert [made(auto=auto).budget.trials for auto in ("light", "medium", "heavy")] == [50, 200, 500]
    assert made().budget == made(auto=None).budget == made(auto="medium").budget
    assert made(max_metric_calls=300).budget == Budget(calls=300)
    assert made(log_dir=str(tmp_path)).runs == tmp_path
    assert made(prompt_model=LARGE).proposer == made(reflection_lm=LARGE).proposer == LARGE
    lm = dspy.LM("openai/gpt-4o-mini")
    (served,) = made(task_model=lm, num_threads=3).models
    assert (served.name, served.concurrency) == ("openai/gpt-4o-mini", 3)
    assert {model.concurrency for model in made(num_threads=5).models} == {5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto": "huge"}, "one of light, medium, heavy"),
        ({"auto": "light", "budget": 10}, "give budget alone"),
        ({"auto": "light", "max_metric_calls": 10}, "give budget alone"),
        ({"prompt_model": LARGE, "proposer": LARGE}, "give proposer alone"),
        ({"max_bootstrapped_demos": 4}, "search chooses how many examples"),
        ({"max_labeled_demos": 4}, "search chooses how many examples"),
        ({"num_candidates": 4}, "budget=N"),
        ({"max_errors": 4}, "min_coverage"),
        ({"teacher_settings": {}}, "no teacher"),
        ({"track_stats": True}, "report"),
        ({"candidate_selection_strategy": "pareto"}, "the search decides it"),
        ({"num_threads": 0}, "1 or more"),
    ],
)
def test_options_of_dspys_optimizers_without_an_equal_name_what_does_their_work(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Parity(sentiment_matches, **options)
    assert str(caught.value.where).startswith("Parity: ")


def test_an_unknown_option_is_a_type_error_that_names_the_nearest(runs: Path) -> None:
    with pytest.raises(TypeError, match="did you mean budget"):
        Parity(sentiment_matches, budgte=10)
    with pytest.raises(TypeError, match="did you mean valset"):
        parity(runs).compile(Classify(), examples(), vallset=[])
    with pytest.raises(UsageError, match=r"Parity\(budget=N\)"):
        parity(runs).compile(Classify(), examples(), num_trials=10)
    with pytest.raises(UsageError, match=r"Parity\(seed=N\)"):
        parity(runs).compile(Classify(), examples(), seed=10)
    assert not runs.exists()


class OwnLM(dspy.LM):
    pass


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"budget": "many"}, BudgetError, "Parity: budget"),
        ({"budget": True}, BudgetError, "Parity: budget"),
        ({"budget": 0}, BudgetError, "positive"),
        ({"objectives": ("cost",)}, UsageError, "objectives"),
        ({"pick": "nicest"}, UsageError, "cheapest_match, best"),
        ({"models": "local/gemma-3-270m"}, UsageError, "give a list"),
        ({"models": [7]}, ModelError, "is a int"),
        ({"models": ["local/gemma-3"]}, ModelError, "did you mean"),
        ({"models": [dspy.LM("openai/unpriced-model")]}, ParityError, "no known price"),
        ({"models": [dspy.LM("openai/gpt-4o", api_key="secret")]}, ModelError, "OPENAI_API_KEY"),
        ({"models": [dspy.LM("openai/gpt-4o", logit_bias={})]}, ModelError, "logit_bias"),
        ({"models": [OwnLM("openai/gpt-4o")]}, ModelError, "class or an engine of its own"),
        ({"models": [dspy.LM("x/y", engine=FakeEngine())]}, ModelError, "class or an engine of its own"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_once(
    tmp_path: Path, settings: dict[str, Any], kind: type[ParityError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        parity(tmp_path, **settings)
    assert caught.value.where
    assert caught.value.fix
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "given", "kind", "message"),
    [
        ({"models": []}, {}, TaskError, "names no model"),
        ({"reference": "local/other"}, {}, TaskError, "not among the models"),
        ({"margin": 2.0}, {}, TaskError, "margin"),
        ({"group": "author"}, {}, DataError, "'author'"),
        ({"study": "a/b"}, {}, ParityError, "cannot name a study"),
        ({}, {"student": Classify}, TaskError, "no DSPy module"),
        ({}, {"student": None}, TaskError, "no DSPy module"),
        ({}, {"teacher": Classify()}, UsageError, "teacher"),
        ({}, {"trainset": []}, DataError, "trainset"),
        ({}, {"trainset": "reviews.csv"}, DataError, "trainset is a str"),
        ({}, {"trainset": [3]}, DataError, r"trainset\[0\]"),
        ({}, {"testset": examples(20)}, UsageError, "without a valset"),
        ({}, {"valset": examples(240)}, DataError, "No row of the trainset is left"),
        ({}, {"valset": [dspy.Example(review="fine", sentiment="meh")]}, DataError, r"valset\[0\]"),
    ],
)
def test_a_compile_that_cannot_work_writes_nothing(
    runs: Path, settings: dict[str, Any], given: dict[str, Any], kind: type[ParityError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        parity(runs, **settings).compile(**{"student": Classify(), "trainset": examples()} | given)
    assert caught.value.fix
    assert not runs.exists()


def test_what_was_compiled_cannot_be_compiled_again(compiled: ParityProgram, runs: Path) -> None:
    with pytest.raises(TaskError, match="compiled already"):
        parity(runs).compile(compiled, trainset=examples())


def test_it_says_how_it_goes_unless_it_is_to_be_quiet(
    studied: Path, engines: dict[str, FakeEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = parity(studied, quiet=False).compile(Classify(), examples())
    shown = capsys.readouterr()
    assert compiled.report.answer in shown.err
    assert compiled.report.notes[0] in shown.err
    assert f"optimize frontier {compiled.report.study} --runs {studied}" in shown.err
    assert shown.out == ""
    parity(studied).compile(Classify(), trainset=examples())
    assert capsys.readouterr().err == ""


def test_the_package_loads_no_dspy_until_it_is_asked_for() -> None:
    code = "import sys, optimizers, optimizers.cli.app; sys.exit('dspy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_readmes_optimizer_is_one() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```py\n(.*?)^route = ", readme, re.DOTALL | re.MULTILINE)
    named: dict[str, Any] = {"dspy": dspy, "right_team": sentiment_matches}
    exec(code, named)
    assert [model.name for model in named["optimizer"].models][2] == "openai/NAME"
