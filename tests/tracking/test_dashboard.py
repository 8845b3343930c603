"""`optimize dashboard`: MLflow's server on the right store, on this machine only."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from optimizers.tracking import dashboard


def test_the_server_is_started_on_loopback_and_never_waits_for_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
        started.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(dashboard.subprocess, "run", run)
    assert dashboard.serve(tmp_path, 5123) == 0
    ((command, env),) = started
    assert f"sqlite:///{tmp_path.resolve()}/mlflow.db" in command
    assert command[command.index("--host") + 1] == "127.0.0.1"
    # Off line, the server hangs in LiteLLM's fetch of its price list unless it is told not to.
    assert env["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


def test_an_interrupt_ends_it_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(command: list[str], **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard.subprocess, "run", interrupted)
    assert dashboard.serve(tmp_path, 5123) == 0
