"""How MLflow's own pages show a study: its trials as a table and as charts, and its result.

MLflow 3.17 keeps a saved view of an experiment's runs as a tag of the experiment, and opens it when its
key is in the address. Ours chooses columns, order and charts, so nobody has to. It is also in the
experiment's menu of saved views, under the study's name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizers.errors import StudyError
from optimizers.records.tracking.mlflow_log import PARENT, study_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from optimizers.records.rows import StudyManifest

VIEW = "mlflow.sharedViewState."

RUNS_FIRST = "workflowType=machine_learning"
"""Makes MLflow's menu one of runs; else it is one of traces, and there are none here."""

ALWAYS_THERE = {"attributes.`Run Name`": 220, "runDateAndNestInfo": 105}
"""MLflow's columns that cannot be left out, and how wide they are, pixels."""

# The other columns in our order, with their widths; the model last, as a trial's name begins with it.
MEASURED = {
    "metrics.`quality`": 75,
    "metrics.`quality_se`": 85,
    "metrics.`quality_low`": 105,
    "metrics.`cost_per_1000`": 110,
    "metrics.`n`": 45,
}
SERVED = {"params.`rendering`": 95, "params.`technique`": 90}
MODEL = {"params.`model`": 200}
WIDE = 190
"""Pixels of a column with a predictor's instruction or demos, which are described in words."""

CHOICES = ("model", "rendering", "technique")
"""What every candidate chooses; a choice of one predictor is recorded as ``predictor.choice``."""

SORTED_BY = "metrics.`quality_low`"
"""The lower end of the quality's interval: ten lucky examples do not put a trial first."""

MOST_VALUES = 12
"""Values that an axis of the parallel coordinates can be read with; past 30, MLflow leaves runs out."""

CHARTS, OTHER_METRICS = "parity-charts", "parity-other-metrics"


@dataclass(frozen=True)
class StudyPages:
    """Addresses of a study's pages, from the root of the MLflow server.

    Attributes:
        trials: Its trials as a table, the best first.
        charts: The same trials, drawn.
        result: The study's own run; once it is finished, the frontier's page among its files.
    """

    trials: str
    charts: str
    result: str


def study_pages(client: MlflowClient, manifest: StudyManifest) -> StudyPages:
    """Keep a view of the study in MLflow, and say where its pages are.

    Raises:
        StudyError: The study is not in this store.
    """
    experiment = client.get_experiment_by_name(manifest.task)
    run = study_run(client, experiment.experiment_id, manifest) if experiment else None
    if experiment is None or run is None:
        raise StudyError(
            f"The study {manifest.name} is not recorded in MLflow's store.",
            where=client.tracking_uri,
            fix="set MLFLOW_TRACKING_URI as it was when the study ran, or unset it",
        )
    number, run_id = experiment.experiment_id, run.info.run_id
    trials = client.search_runs([number], filter_string=f"tags.`{PARENT}` = '{run_id}'", max_results=1000)
    client.set_experiment_tag(number, VIEW + run_id, saved_view(manifest, run_id, trials))
    home = f"/#/experiments/{number}/runs"
    table = f"{home}?{RUNS_FIRST}&viewStateShareKey={run_id}"
    shown = "/artifacts/frontier.html" if run.info.status == "FINISHED" else ""
    return StudyPages(
        trials=table,
        charts=f"{table}&compareRunsMode=CHART",
        result=f"{home}/{run_id}{shown}?{RUNS_FIRST}",
    )


def saved_view(manifest: StudyManifest, run_id: str, trials: Sequence[Run]) -> str:
    """A view of a study's trials, as MLflow's pages write and read it.

    Args:
        manifest: The study's.
        run_id: Id of the study's run.
        trials: The runs nested in it; what they chose makes the columns and the axes.
    """
    began = int(manifest.created.timestamp() * 1000)
    of_predictors = sorted({name for trial in trials for name in trial.data.params if "." in name})
    columns = MEASURED | SERVED | {f"params.`{name}`": WIDE for name in of_predictors} | MODEL
    state = {
        "searchFilter": f"tags.`{PARENT}` = '{run_id}'",
        "orderByKey": SORTED_BY,
        "orderByAsc": False,
        "selectedColumns": list(columns),
        "columnOrder": [*ALWAYS_THERE, *columns],
        "columnWidths": ALWAYS_THERE | columns,
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": True,  # the charts need the room
        "compareRunSections": [
            _section(CHARTS, "Quality and cost", shown=True),
            _section(OTHER_METRICS, "Model metrics", shown=False),  # MLflow's own bars, one per metric
        ],
        "compareRunCharts": [
            _chart("SCATTER", xaxis=_metric("cost_per_1000"), yaxis=_metric("quality")),
            _chart(
                "PARALLEL",
                selectedParams=[name for name in (*CHOICES, *of_predictors) if _fits_an_axis(name, trials)],
                selectedMetrics=["cost_per_1000", "quality"],
                showAllRuns=True,
            ),
        ],
    }
    name = f"Study {manifest.name}"
    return json.dumps({"name": name, "createdAt": began, "updatedAt": began, "state": json.dumps(state)})


def _fits_an_axis(name: str, trials: Sequence[Run]) -> bool:
    """Whether parallel coordinates with this axis can be read, and show every trial."""
    values = [trial.data.params.get(name) for trial in trials]
    return None not in values and len(set(values)) <= MOST_VALUES


def _section(key: str, name: str, *, shown: bool) -> dict[str, Any]:
    shape = {"columns": 2, "cardHeight": 420}
    return {"uuid": key, "name": name, "display": shown, "isReordered": False, **shape}


def _chart(kind: str, **settings: Any) -> dict[str, Any]:
    place = {"metricSectionId": CHARTS, "deleted": False, "isGenerated": False}
    return {"type": kind, "uuid": f"parity-{kind.lower()}", "runsCountToCompare": 100, **place, **settings}


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}
