"""MLflow as it really is: a run per study, a nested run per trial, resumed under the same id."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import candidate, manifest

from optimizers.errors import ParityError
from optimizers.records.candidate import PredictorPrompt
from optimizers.records.folder import StudyFolder
from optimizers.records.report import FrontierReport, Point
from optimizers.records.tracking.mlflow_log import KIND, PARENT, TRIAL, StudyRun
from optimizers.records.tracking.mlflow_store import open_store
from optimizers.results.statistics.intervals import estimate

REPORT = FrontierReport(
    study="study", task="reviews", metric="exact", reference="local/large", margin=0.02, points=(),
    hypervolume=0.5, trials=2, rollouts=20, seconds=1.0, answer="Small is as good as large.",
)  # fmt: skip


def record(folder: StudyFolder, trials: range) -> str:
    with StudyRun.open(manifest(), folder) as run:
        for number in trials:
            quality = estimate([1.0] * 9 + [0.0])
            chosen = candidate("local/small", f"instruction {number}")
            run.trial(number, chosen, quality, cost=2e-6, rollouts=10, seconds=0.5)
        return run.run_id


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return StudyFolder.create(tmp_path / "runs", manifest())


def test_trials_are_nested_and_a_resumed_study_keeps_its_run(folder: StudyFolder) -> None:
    first = record(folder, range(2))
    assert record(folder, range(2, 3)) == first
    client = open_store(folder.path.parent)
    experiment = client.get_experiment_by_name("reviews")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    studies = [run for run in runs if run.data.tags[KIND] == "study"]
    trials = [run for run in runs if run.data.tags[KIND] == "trial"]
    assert [run.info.run_id for run in studies] == [first]
    assert len(trials) == 3
    assert {run.data.tags[PARENT] for run in trials} == {first}
    trial = trials[0]
    assert trial.data.params["model"] == "local/small"
    assert trial.data.metrics["quality"] == 0.9
    assert trial.data.metrics["cost_per_1000"] == pytest.approx(0.002)
    assert {item.path for item in client.list_artifacts(trial.info.run_id)} == {
        "prompt.txt",
        "candidate.json",
    }


def test_predictors_in_lists_and_dicts_have_parameters_of_their_own(folder: StudyFolder) -> None:
    prompts = {"steps[0]": "first", "steps.0": "other", "say['what / how']": "last"}
    chosen = candidate("local/small", "x").model_copy(
        update={
            "predictors": {
                name: PredictorPrompt(instruction="Do.", instruction_name=said)
                for name, said in prompts.items()
            }
        }
    )
    with StudyRun.open(manifest(), folder) as run:
        run.trial(0, chosen, estimate([1.0, 0.0]), cost=0.0, rollouts=2, seconds=0.1)
    client = open_store(folder.path.parent)
    of = client.get_run(run.run_id).info.experiment_id
    (trial,) = client.search_runs([of], filter_string=f"tags.`{KIND}` = 'trial'")
    said = {name: value for name, value in trial.data.params.items() if name.endswith(".instruction")}
    assert said == {
        "steps.0.instruction": "first",
        "steps.0 2.instruction": "other",
        "say.what . how.instruction": "last",
    }


def test_a_trial_that_was_half_recorded_is_recorded_once(folder: StudyFolder) -> None:
    first = record(folder, range(2))
    client = open_store(folder.path.parent)
    study = client.get_run(first)
    assert StudyRun(client, study.info.experiment_id, first).recorded == 0
    half = client.create_run(study.info.experiment_id, tags={PARENT: first, KIND: "trial", TRIAL: "2"})
    with StudyRun.open(manifest(), folder) as run:
        assert run.recorded == 2
    assert client.get_run(half.info.run_id).info.lifecycle_stage == "deleted"
    assert record(folder, range(2, 4)) == first
    with StudyRun.open(manifest(), folder) as run:
        assert run.recorded == 4
    left = client.search_runs([study.info.experiment_id], filter_string=f"tags.`{KIND}` = 'trial'")
    assert sorted(one.data.tags[TRIAL] for one in left) == ["0", "1", "2", "3"]


def test_the_result_is_on_the_studys_run(folder: StudyFolder) -> None:
    folder.picture.write_bytes(b"\x89PNG")
    with StudyRun.open(manifest(), folder) as run:
        run.finish(REPORT, [folder.picture])
    client = open_store(folder.path.parent)
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["mlflow.note.content"] == REPORT.answer
    assert {item.path for item in client.list_artifacts(run.run_id)} == {"frontier.png", "frontier.json"}


def test_trials_end_with_what_is_known_of_their_candidates_in_the_end(folder: StudyFolder) -> None:
    first = record(folder, range(2))
    better = candidate("local/small", "instruction 1")
    point = Point(
        candidate=better, kind="instruct", roles=("frontier",), dev=estimate([1.0] * 60 + [0.0] * 20),
        test=estimate([1.0] * 70 + [0.0] * 30), cost=3e-6, latency=0.1, prompt_tokens=10, completion_tokens=1,
    )  # fmt: skip
    with StudyRun.open(manifest(), folder) as run:
        run.finish(REPORT.model_copy(update={"points": (point,)}), [], "**YES**")
    client = open_store(folder.path.parent)
    assert client.get_run(first).data.tags["mlflow.note.content"] == "**YES**"
    of = client.get_run(first).info.experiment_id
    trials = client.search_runs([of], filter_string=f"tags.`{PARENT}` = '{first}'")
    found = {run.data.tags[TRIAL]: run.data.metrics for run in trials}
    assert (found["1"]["quality"], found["1"]["n"], found["1"]["test_quality"]) == (0.75, 80, 0.7)
    assert found["1"]["rollouts"] == 10
    assert (found["0"]["quality"], found["0"]["n"]) == (0.9, 10)
    assert "test_quality" not in found["0"]


def test_a_record_that_could_not_be_written_is_not_passed_over(folder: StudyFolder) -> None:
    with pytest.raises(OSError, match="missing"), StudyRun.open(manifest(), folder) as run:
        run.finish(REPORT, [folder.path / "missing.png"])


def test_a_store_that_cannot_be_used_is_one_clear_error(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://somewhere")
    with pytest.raises(ParityError, match="MLFLOW_TRACKING_URI"):
        StudyRun.open(manifest(), folder)
