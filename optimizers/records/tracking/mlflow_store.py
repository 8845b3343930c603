"""Where studies are recorded for people: MLflow's store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from optimizers.errors import ParityError
from optimizers.records.folder import plain_name

if TYPE_CHECKING:
    from mlflow import MlflowClient


def tracking_uri(runs: Path) -> str:
    """The store's address: ``MLFLOW_TRACKING_URI``, else SQLite next to the studies."""
    declared = os.environ.get("MLFLOW_TRACKING_URI")
    return declared or f"sqlite:///{runs.resolve() / 'mlflow.db'}"


def artifacts_folder(runs: Path) -> Path:
    """Where a store next to the studies keeps their files, known by this whole path."""
    return runs.resolve() / "artifacts"


def open_store(runs: Path) -> MlflowClient:
    """A client of the store.

    Raises:
        ParityError: The store cannot be reached or read.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(runs)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise ParityError(
            f"MLflow's store cannot be used: {error.message.splitlines()[0][:200]}",
            where=uri,
            fix="mend or unset MLFLOW_TRACKING_URI; unset, studies are recorded next to their folders",
        ) from error
    return client


def experiment_of(client: MlflowClient, task: str, runs: Path) -> str:
    """Id of the task's experiment, made when missing; artifacts of a local store go next to it."""
    found = client.get_experiment_by_name(task)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if "MLFLOW_TRACKING_URI" not in os.environ:
        location = (artifacts_folder(runs) / plain_name(task)).as_uri()
    return str(client.create_experiment(task, artifact_location=location))
