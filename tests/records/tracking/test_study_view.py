"""What MLflow's pages show of a study: a saved view over what is really recorded."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import candidate, manifest

from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder
from optimizers.records.tracking.mlflow_log import KIND, StudyRun
from optimizers.records.tracking.mlflow_store import open_store
from optimizers.records.tracking.study_view import MOST_VALUES, VIEW, saved_view, study_pages
from optimizers.results.statistics.intervals import estimate


def state_of(view: str) -> dict[str, Any]:
    """The view itself, out of the envelope in which MLflow's pages look for it."""
    envelope = json.loads(view)
    assert isinstance(envelope["name"], str)
    assert isinstance(envelope["createdAt"], int)
    return dict(json.loads(envelope["state"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    made = StudyFolder.create(tmp_path_factory.mktemp("project") / "runs", manifest())
    scores = [[1.0] * 5, [1.0] * 90 + [0.0] * 10, [0.0] * 10]
    with pytest.MonkeyPatch.context() as patch, StudyRun.open(manifest(), made) as run:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for number, given in enumerate(scores):
            chosen = candidate("local/small", f"instruction {number}")
            run.trial(number, chosen, estimate(given), cost=2e-6, rollouts=10, seconds=0.5)
    return made


def test_the_view_shows_the_studys_trials_the_surest_first_with_columns_that_are_recorded(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = open_store(folder.path.parent)
    pages = study_pages(client, manifest())
    experiment = client.get_experiment_by_name("reviews")
    assert experiment is not None
    key = pages.trials.split("viewStateShareKey=")[1]
    state = state_of(experiment.tags[VIEW + key])
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    shown = client.search_runs([experiment.experiment_id], state["searchFilter"], order_by=[order])
    assert {run.data.tags[KIND] for run in shown} == {"trial"}
    assert [run.data.metrics["n"] for run in shown] == [100, 5, 10]
    recorded = {f"metrics.`{name}`" for name in shown[0].data.metrics}
    recorded |= {f"params.`{name}`" for name in shown[0].data.params}
    assert set(state["selectedColumns"]) <= recorded
    assert set(state["selectedColumns"]) < set(state["columnOrder"]) == set(state["columnWidths"])
    for choice in ("model", "rendering", "technique", "p.instruction", "p.demos"):
        assert f"params.`{choice}`" in state["selectedColumns"]
    scatter, parallel = state["compareRunCharts"]
    assert {scatter["xaxis"]["key"], scatter["yaxis"]["key"]} <= set(shown[0].data.metrics)
    assert set(parallel["selectedParams"]) <= set(shown[0].data.params)
    assert client.get_run(key).data.tags[KIND] == "study"
    assert pages.result.split("?")[0].endswith(f"/runs/{key}")  # it has no frontier yet
    client.set_terminated(key, status="FINISHED")
    assert f"/runs/{key}/artifacts/frontier.html" in study_pages(client, manifest()).result


def test_a_study_that_is_not_in_the_store_is_one_clear_error(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = open_store(folder.path.parent)
    for other in (manifest(name="another"), manifest(task="another")):
        with pytest.raises(StudyError, match="MLFLOW_TRACKING_URI"):
            study_pages(client, other)


def test_an_axis_on_which_trials_would_be_left_out_is_not_drawn() -> None:
    def trials(values: int) -> list[Any]:
        chosen = [{"model": "m", "step.demos": f"draw {one % values}"} for one in range(MOST_VALUES + 1)]
        return [SimpleNamespace(data=SimpleNamespace(params=params)) for params in chosen]

    for values, drawn in ((MOST_VALUES, True), (MOST_VALUES + 1, False)):
        _, parallel = state_of(saved_view(manifest(), "run", trials(values)))["compareRunCharts"]
        assert ("step.demos" in parallel["selectedParams"]) == drawn
        assert "rendering" not in parallel["selectedParams"]  # not every trial has it
