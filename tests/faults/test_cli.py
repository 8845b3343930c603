"""The commands on a study over HTTP, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import reviews
from faults.server import FaultServer

PROGRAM = '''
import dspy
from typing import Literal
from optimizers import Task, model
from scoring import exact

class ClassifySentiment(dspy.Signature):
    """Say whether a review is positive or negative."""
    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()

task = Task(
    program=dspy.Predict(ClassifySentiment), metric=exact, data="rows.json", reference="openai/large",
    models=[
        model("openai/small", api_base="ADDRESS", price=(0.1, 0.2), size=0.1),
        model("openai/large", api_base="ADDRESS", price=(1.0, 2.0), size=1.0),
    ],
)
'''
SCORING = """
def exact(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)
"""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: FaultServer) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '0'\n")
    (tmp_path / "rows.json").write_text(json.dumps(reviews(240)))
    (tmp_path / "scoring.py").write_text(SCORING)
    (tmp_path / "task.py").write_text(PROGRAM.replace("ADDRESS", server.address))
    return tmp_path


def optimize(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "optimizers.cli", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=200)


def test_a_study_is_predicted_run_shown_gated_and_refused_once_its_metric_changes(
    project: Path, server: FaultServer
) -> None:
    predicted = optimize(project, "estimate", "task.py", "--budget", "600calls", "--json")
    assert 0 < json.loads(predicted.stdout)["total"]["calls"] <= 600
    assert server.stats()["received"] == 0

    ran = optimize(project, "task.py", "--budget", "600calls", "--study", "s", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["spend"]["total"]["calls"] == server.stats()["received"] <= 600

    shown = optimize(project, "frontier", "s", "--require-match")
    matched = any(
        point["comparison"] and point["comparison"]["verdict"] == "match"
        for point in report["points"]
        if "frontier" in point["roles"] and point["candidate"]["model"] != "openai/large"
    )
    assert shown.returncode == (0 if matched else 3)
    assert "(predicted " in shown.stdout

    served = server.stats()["received"]
    again = optimize(project, "resume", "s", "--json")
    assert json.loads(again.stdout)["points"] == report["points"]
    assert server.stats()["received"] == served

    (project / "scoring.py").write_text(SCORING.replace("==", "!="))
    changed = optimize(project, "resume", "s")
    assert changed.returncode == 2
    assert "the metric's source" in changed.stderr
    assert "--study" in changed.stderr


def test_objectives_that_are_none_are_refused(project: Path) -> None:
    refused = optimize(project, "task.py", "--objectives", "speed")
    assert refused.returncode == 2
    assert "one of quality or quality,cost or quality,cost,latency" in refused.stderr
