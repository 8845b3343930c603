"""`optimize dashboard`: the study's pages, on this machine only, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest
from fakes import candidate, manifest

from optimizers.errors import UsageError
from optimizers.records.folder import StudyFolder
from optimizers.records.tracking import dashboard
from optimizers.records.tracking.mlflow_log import StudyRun
from optimizers.records.tracking.study_view import StudyPages
from optimizers.results.statistics.intervals import estimate

PAGES = StudyPages(trials="/#/trials", charts="/#/charts", result="/#/result")


def test_a_port_in_use_is_an_error_that_names_a_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = StudyFolder.create(tmp_path, manifest())
    with socket.create_server((dashboard.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port}.* in use") as error:
            dashboard.serve(folder, port, in_browser=False)
    assert error.value.fix is not None
    assert dashboard.is_free(int(error.value.fix.split("--port ")[1]))


def test_the_servers_listen_on_loopback_and_never_wait_for_the_network() -> None:
    command = dashboard.mlflow_command(5123)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "127.0.0.1" in dashboard.optuna_command(Path("optuna.db"), 5124)
    # Off line, the server hangs in LiteLLM's fetch of its price list unless it is told not to.
    assert dashboard.SETTINGS["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


@pytest.mark.parametrize(
    ("terminal", "environment", "opens"),
    [
        (True, {"DISPLAY": ":0"}, True),
        (True, {"WAYLAND_DISPLAY": "wayland-0"}, True),
        (False, {"DISPLAY": ":0"}, False),
        (True, {}, False),
        (True, {"DISPLAY": ":10", "SSH_CONNECTION": "there 1 here 22"}, False),
    ],
)
def test_a_browser_is_opened_unasked_only_where_somebody_sees_it(
    terminal: bool, environment: dict[str, str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert dashboard.display_there() == opens


def no_browser(url: str) -> bool:
    return False


def broken_browser(url: str) -> bool:
    raise webbrowser.Error("no runnable browser")


@pytest.mark.parametrize("browser", [no_browser, broken_browser])
def test_the_addresses_are_printed_and_a_missing_browser_is_no_failure(
    browser: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", browser)
    dashboard.show("study", PAGES, "http://127.0.0.1:5123", in_browser=True)
    printed = capsys.readouterr()
    assert "http://127.0.0.1:5123/#/trials" in printed.out
    assert "No browser" in printed.err


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    parent = (
        "import pathlib, subprocess, sys, time; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"pathlib.Path({str(noted)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    with dashboard._running([sys.executable, "-c", parent]) as server:
        while not (noted.exists() and noted.read_text()):
            time.sleep(0.05)
        started = int(noted.read_text())
        assert is_alive(started)
    assert server.poll() is not None
    deadline = time.monotonic() + 5
    while is_alive(started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(started)


def test_optunas_dashboard_that_is_missing_or_broken_is_said_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = StudyFolder.create(tmp_path, manifest())
    folder.optuna.touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with dashboard._optuna(folder, 5123) as server:
        assert server is None
    assert "pip install 'prompt-parity[dashboard]'" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(dashboard, "optuna_command", lambda storage, port: [sys.executable, "-c", "exit(1)"])
    with dashboard._optuna(folder, dashboard.free_port(20000)) as server:
        assert server is None
    assert "goes on without it" in capsys.readouterr().err


def test_a_killed_command_ends_as_an_interrupted_one() -> None:
    with pytest.raises(KeyboardInterrupt), dashboard._interruptible():
        signal.raise_signal(signal.SIGTERM)


def test_the_real_server_shows_the_study_until_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = StudyFolder.create(tmp_path, manifest())
    with StudyRun.open(manifest(), folder) as run:
        chosen = candidate("local/small", "instruction")
        run.trial(0, chosen, estimate([1.0, 0.0]), cost=2e-6, rollouts=2, seconds=0.5)
    port = dashboard.free_port(20000 + os.getpid() % 20000)
    answers: list[str] = []

    def look(name: str, pages: StudyPages, root: str, *, in_browser: bool) -> None:
        connection = HTTPConnection(root.removeprefix("http://"), timeout=20)
        connection.request("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=reviews")
        answers.append(connection.getresponse().read().decode())
        connection.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard, "show", look)
    assert dashboard.serve(folder, port, in_browser=False) == 0
    assert f"mlflow.sharedViewState.{run.run_id}" in answers[0]
    assert dashboard.is_free(port)
