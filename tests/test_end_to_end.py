"""The whole path on real weights and data: search, sealed test, MLflow, export, a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from optimizers.cli.init import write_workspace

pytestmark = pytest.mark.model

TRIALS = 4

USE = """
import json, sys
from optimizers.export import load_program
program = load_program(sys.argv[1])
print(json.dumps([program(review=text).sentiment for text in json.loads(sys.argv[2])]))
"""


def optimize(project: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "optimizers.cli", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a smaller split, so that the study takes a minute rather than ten."""
    folder = tmp_path_factory.mktemp("workspace")
    write_workspace(folder)
    card = folder / "data" / "reviews.toml"
    text = card.read_text().replace("train = 1000", "train = 300").replace("dev = 300", "dev = 40")
    card.write_text(text.replace("test = 400", "test = 40"))
    return folder


@pytest.fixture(scope="module")
def report(project: Path) -> dict[str, object]:
    """The report of a small study."""
    found: dict[str, object] = json.loads(
        optimize(project, "programs/classify.py", "--budget", str(TRIALS), "--study", "first", "--json")
    )
    return found


def test_the_study_measures_real_models_on_real_reviews(report: dict[str, object]) -> None:
    points = report["points"]
    assert isinstance(points, list)
    best = max(p["test"]["mean"] for p in points if p["test"] and "frontier" in p["roles"])
    assert best > 0.7
    assert all(p["cost"] > 0 for p in points if p["dev"]["n"])
    assert "gemma-3-270m" in str(report["answer"])


def test_mlflow_holds_the_study_and_each_trial(project: Path, report: dict[str, object]) -> None:
    from optimizers.records.tracking.mlflow_log import KIND
    from optimizers.records.tracking.mlflow_store import open_store

    client = open_store(project / "runs")
    experiment = client.get_experiment_by_name("classify")
    assert experiment is not None
    kinds = [run.data.tags[KIND] for run in client.search_runs([experiment.experiment_id])]
    assert sorted(kinds) == ["study"] + ["trial"] * TRIALS


def test_an_old_study_is_shown_without_a_model(project: Path, report: dict[str, object]) -> None:
    assert json.loads(optimize(project, "frontier", "first", "--json")) == report


def test_the_export_predicts_in_a_fresh_process_what_the_compiled_program_does(
    project: Path, report: dict[str, object]
) -> None:
    written = optimize(project, "export", "first", "--to", "dspy").split()
    folder = Path(written[0]).parent
    texts = [
        "The battery lasts for days.",
        "It broke after a week.",
        "I would buy it again.",
        "A waste of money.",
    ]
    command = [sys.executable, "-c", USE, str(folder), json.dumps(texts)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    from optimizers.export.point import rebuild
    from optimizers.records.folder import StudyFolder

    compiled = rebuild(StudyFolder.load(project / "runs", "first"), None).compiled
    assert json.loads(done.stdout.splitlines()[-1]) == [
        compiled({"review": text}).sentiment for text in texts
    ]
