"""`optimize dashboard`: a study in MLflow, and in Optuna's dashboard where that is installed.

Both are servers of their own, which run on this machine for as long as the command does.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from optimizers.errors import ParityError, UsageError
from optimizers.records.folder import StudyFolder
from optimizers.records.tracking.mlflow_store import open_store, tracking_uri
from optimizers.records.tracking.study_view import StudyPages, study_pages

HOST = "127.0.0.1"

GRACE = 2.0
"""Seconds that servers are given to end by themselves."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # processes for jobs that nothing here starts
    "PYTHONWARNINGS": "ignore",  # about how MLflow calls its own libraries
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # off line, MLflow would wait for ever on LiteLLM's price list
}

OPTUNA_SERVER = (
    "import sys, bottle, optuna_dashboard as dashboard; "
    "bottle.run(dashboard.wsgi(sys.argv[1]), host=sys.argv[2], port=int(sys.argv[3]), quiet=True)"
)


def serve(folder: StudyFolder, port: int, *, in_browser: bool) -> int:
    """Show a study until the command is interrupted.

    Args:
        folder: The study's folder. MLflow's store is next to it unless MLFLOW_TRACKING_URI says
            otherwise; one that is a server already is only pointed at.
        port: MLflow's port on this machine, loopback only. Optuna's dashboard takes the next free one.
        in_browser: Open the page in the user's browser too.

    Returns:
        The exit code: 0 when interrupted.

    Raises:
        StudyError: The study is not in the store.
        UsageError: The port is in use.
        ParityError: The store cannot be used, or its server does not start.
    """
    runs = folder.path.parent
    uri = tracking_uri(runs)
    remote = uri.startswith(("http://", "https://"))
    if not remote and not is_free(port):
        raise UsageError(
            f"Port {port} of this machine is in use.",
            where="--port",
            fix=f"end what listens there, or take another: --port {free_port(port + 1)}",
        )
    pages = study_pages(open_store(runs), folder.read_manifest())
    with _interruptible(), ExitStack() as servers:
        try:
            if remote:
                show(folder.path.name, pages, uri.rstrip("/"), in_browser=in_browser)
                mlflow = None
            else:
                say("Starting MLflow ...")
                # An address may hold a password, and command lines are seen by everyone.
                store = {"MLFLOW_BACKEND_STORE_URI": uri}
                mlflow = servers.enter_context(_running(mlflow_command(port), store))
                if not _answers(mlflow, port):
                    raise ParityError("MLflow's server does not start.", fix="see above what it says")
                show(folder.path.name, pages, f"http://{HOST}:{port}", in_browser=in_browser)
            optuna = servers.enter_context(_optuna(folder, free_port(port + 1)))
            server = mlflow or optuna
            if server is None:
                return 0
            say("Ctrl-C ends it.")
            return server.wait()
        except KeyboardInterrupt:
            return 0


def show(name: str, pages: StudyPages, root: str, *, in_browser: bool) -> None:
    """Print where a study's pages are, and open the first of them where that is wanted."""
    print(f"Study {name}")
    print(f"  trials  {root}{pages.trials}")
    print(f"  charts  {root}{pages.charts}")
    print(f"  result  {root}{pages.result}", flush=True)
    if in_browser:
        try:
            opened = webbrowser.open(root + pages.trials)
        except webbrowser.Error:
            opened = False
        if not opened:
            say("No browser could be opened: open an address above yourself.")


def display_there() -> bool:
    """Whether a browser can probably open for the person at this terminal."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) != 0


def free_port(start: int) -> int:
    """The first free port from this one on."""
    candidates: Iterable[int] = (*range(start, 65536), *range(1024, start))
    return next(port for port in candidates if is_free(port))


def mlflow_command(port: int) -> list[str]:
    """The command of MLflow's server: one worker, silent unless something is wrong."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    return [*command, "--workers", "1", "--uvicorn-opts", "--log-level warning"]


def optuna_command(storage: Path, port: int) -> list[str]:
    """The command of Optuna's dashboard on a study's storage."""
    return [sys.executable, "-c", OPTUNA_SERVER, f"sqlite:///{storage.resolve()}", HOST, str(port)]


@contextmanager
def _optuna(folder: StudyFolder, port: int) -> Iterator[subprocess.Popen[bytes] | None]:
    """Optuna's dashboard, while the block runs, where it is installed; else a message on how to get it."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        say("Optuna's dashboard shows the search too: pip install 'prompt-parity[dashboard]'")
        yield None
    elif not folder.optuna.is_file():
        yield None
    else:
        with _running(optuna_command(folder.optuna, port)) as server:
            if _answers(server, port):
                print(f"  optuna  http://{HOST}:{port}/dashboard (the last round has all trials)", flush=True)
                yield server
            else:
                say("Optuna's dashboard does not start; the rest goes on without it.")
                yield None


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that ends when the block does, with every process that it has started."""
    # A group of its own, so that it can be ended whole.
    server = subprocess.Popen(
        command,
        env={**os.environ, **SETTINGS, **(environment or {})},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        _signal(server, signal.SIGTERM)
        try:
            server.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _signal(server, signal.SIGKILL)


def _signal(server: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a server and all that it has started, if any of them is left."""
    try:
        os.killpg(server.pid, number)
    except ProcessLookupError:
        return


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server answers; False when it has ended instead."""
    while server.poll() is None:
        try:
            connection = HTTPConnection(HOST, port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().close()
            return True
        except (OSError, HTTPException):
            time.sleep(0.2)
        finally:
            connection.close()
    return False


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let ``kill`` and a closed terminal end the block as Ctrl-C does: a server outlives neither."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """Print a message on stderr; the addresses go to stdout."""
    print(text, file=sys.stderr, flush=True)
