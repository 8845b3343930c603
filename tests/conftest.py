"""Shared fixtures."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import postgres
import pytest
from fakes import LARGE, SMALL, Classify, FakeEngine, sentiment_dataset, sentiment_matches
from hypothesis import settings

from optimizers.records.tracking import mlflow_store
from optimizers.task.task import LoadedTask

# As a command and a study set it: LiteLLM asks the network for prices where it is imported without.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# How long an example takes says nothing on a busy machine.
settings.register_profile("parity", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=10_000)
settings.load_profile("parity")


@pytest.fixture(scope="module", autouse=True)
def one_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files of tests that load weights wait for each other: two engines at once slow each other."""
    own = (item for item in request.session.items if item.path == request.path)
    if not any(item.get_closest_marker("model") for item in own):
        yield
        return
    # The processes of one run have their folders in a common one.
    with (tmp_path_factory.getbasetemp().parent / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeEngine]:
    """Fake engines for the small and the large model, in place of llama.cpp."""
    made = {"local/small": FakeEngine(skill=0.6), "local/large": FakeEngine(skill=0.85)}
    monkeypatch.setattr("optimizers.models.lm.llama_engine", lambda model: made[model.name])
    monkeypatch.setattr("optimizers.search.study.llama_engine", lambda model: made[model.name])
    return made


@pytest.fixture
def task() -> LoadedTask:
    """The review task on the two fake models, the large one as reference."""
    return LoadedTask(
        name="reviews",
        program=Classify(),
        metric=sentiment_matches,
        metric_name="sentiment_matches",
        models=(SMALL, LARGE),
        reference=LARGE,
        margin=0.02,
        dataset=sentiment_dataset(),
        path="reviews.py",
        program_hash="0" * 16,
    )


@pytest.fixture(autouse=True)
def migrated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """MLflow's stores beside studies begin as copies of one that it made: its migrations take seconds."""
    made = tmp_path_factory.getbasetemp() / "mlflow" / "mlflow.db"
    tracking_uri = mlflow_store.tracking_uri

    def copied(runs: Path) -> str:
        uri, own = tracking_uri(runs), runs.resolve() / "mlflow.db"
        if runs != made.parent and uri == f"sqlite:///{own}" and own.parent.is_dir() and not own.exists():
            if not made.exists():
                made.parent.mkdir()
                mlflow_store.open_store(made.parent)
                # Each store makes its own first experiment, which knows where the store is.
                with closing(sqlite3.connect(made)) as connection, connection:
                    connection.execute("DELETE FROM experiments")
            shutil.copyfile(made, own)
        return uri

    monkeypatch.setattr(mlflow_store, "tracking_uri", copied)


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The address of a real PostgreSQL server."""
    if postgres.LACKING:
        pytest.skip(postgres.LACKING)
    with postgres.server() as address:
        yield address
