"""Starting from another study: its prompts are tried first, and no example of dev or test comes along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import LARGE, FakeEngine, candidate, sentiment_dataset

from optimizers.errors import StudyError
from optimizers.records.budget import Budget
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.search.manifest import default_name, open_folder
from optimizers.search.space.initial_design import FixedChoices
from optimizers.search.space.search_space import search_space
from optimizers.search.study import run_study
from optimizers.search.warm_start import pools_of, starts_from
from optimizers.task.task import LoadedTask


def prompt(task: LoadedTask, **changes: object) -> Candidate:
    """A candidate of another study, with demos from this task's train split."""
    demos = [{"review": example.review, "sentiment": example.sentiment} for example in task.dataset.train[:4]]
    content = {"instruction": "Weigh each word.", "demos": demos, **changes}
    return candidate("local/other", "x").model_copy(
        update={"predictors": {"predict": PredictorPrompt.model_validate(content)}}
    )


def test_a_prompt_is_tried_on_every_model_as_it_was(task: LoadedTask) -> None:
    earlier = prompt(task)
    space = search_space(task, pools_of([earlier], task))
    found = [space.choose(FixedChoices(start)) for start in starts_from(space, [earlier])]
    assert [one.model for one in found] == ["local/small", "local/large"]
    for one in found:
        told = one.predictors["predict"]
        assert (told.instruction, told.demos) == ("Weigh each word.", earlier.predictors["predict"].demos)
        assert one.rendering == "completion"


def test_demos_that_are_dev_or_test_examples_here_stay_behind(task: LoadedTask) -> None:
    data = task.dataset
    shown = [
        {"review": example.review, "sentiment": example.sentiment}
        for example in (data.train[0], data.dev[0], data.test[0], data.train[1])
    ]
    pool = pools_of([prompt(task, demos=shown)], task)["predict"]
    assert list(pool.demos.values()) == [(shown[0], shown[3])]
    assert pools_of([prompt(task, demos=shown[1:3])], task)["predict"].demos == {}


def test_what_the_models_cannot_take_falls_back(task: LoadedTask, engines: dict[str, FakeEngine]) -> None:
    earlier = prompt(task).model_copy(update={"rendering": "turns", "technique": "label_scoring"})
    space = search_space(task, pools_of([earlier], task))
    small, _ = (space.choose(FixedChoices(start)) for start in starts_from(space, [earlier]))
    assert (small.rendering, small.technique) == ("completion", "direct")


def test_a_study_begins_with_the_prompts_of_another(
    task: LoadedTask, tmp_path: Path, engines: dict[str, FakeEngine]
) -> None:
    first = run_study(
        task, open_folder(task, tmp_path, "first", 0, Budget(trials=12)), watch=lambda progress: None
    )
    fresh = replace(task, dataset=sentiment_dataset(200), models=(LARGE,))
    name = default_name(fresh, 0, "first")
    folder = open_folder(fresh, tmp_path, name, 0, Budget(trials=6), started_from="first")
    report = run_study(fresh, folder, watch=lambda progress: None)
    assert folder.read_manifest().started_from == "first"
    told = {p.candidate.predictors["predict"].instruction_name for p in report.points}
    ids = {f"from {point.candidate.id}" for point in first.with_role("frontier")}
    texts = {p.candidate.predictors["predict"].instruction for p in first.with_role("frontier")}
    assert told & ids or texts == {task.program.predict.signature.instructions}
    with Ledger.open(folder.ledger) as ledger:
        held = {(example.inputs["review"]) for example in ledger.examples().values()}
    shown = {demo["review"] for p in report.points for demo in p.candidate.predictors["predict"].demos}
    assert shown
    assert not shown & held


def test_a_study_that_began_otherwise_does_not_pass_over_another_beginning(
    task: LoadedTask, tmp_path: Path
) -> None:
    open_folder(task, tmp_path, "s", 0, Budget(trials=6))
    with pytest.raises(StudyError, match=r"begins with \(none then, other now\)"):
        open_folder(task, tmp_path, "s", 0, Budget(trials=6), started_from="other")


def test_an_unfinished_study_cannot_be_started_from(task: LoadedTask, tmp_path: Path) -> None:
    open_folder(task, tmp_path, "half", 0, Budget(trials=6))
    with pytest.raises(StudyError, match="not finished"):
        open_folder(task, tmp_path, "next", 0, Budget(trials=6), started_from="half")
    with pytest.raises(StudyError, match="no study gone"):
        open_folder(task, tmp_path, "next", 0, Budget(trials=6), started_from="gone")
    assert not (tmp_path / "next").exists()
