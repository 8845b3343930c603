"""The tools that exports are made for: each installed in an environment of its own and run on every row.

An environment has the tool and what the tool needs; it is made at first use and kept. Programs that run in
it are in ``export_clients/``; servers are started on a free port of loopback and ended with their children.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from optimizers.errors import ParityError

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "export_clients"
MINUTES = 30
SECONDS_TO_START = 300
KEY = "none"

Found = dict[str, Any]
"""A tool's results: ``rows`` with ``answer``, ``values`` or ``replies``, and messages if it shows them."""


@dataclass(frozen=True)
class Use:
    """One export in the hands of its tool.

    Attributes:
        work: Where environments are.
        app: A folder with ``export/`` and ``questions.json`` in it.
        address: Of the local server; empty where the tool brings the weights itself.
    """

    work: Path
    app: Path
    address: str

    @property
    def export(self) -> Path:
        """What was exported."""
        return self.app / "export"

    def environment(self, **more: str) -> dict[str, str]:
        """Variables of this process, without those that would let in this tree or cached answers."""
        kept = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        added = {
            "OPENAI_BASE_URL": self.address,
            "OPENAI_API_KEY": KEY,
            "DSPY_CACHEDIR": str(self.app / "dspy_cache"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        return kept | added | more

    def ask(self, python: Path, client: str, **more: str) -> Found:
        """Run one of the programs in ``export_clients/`` in an environment."""
        answers = self.app / f"{client}.json"
        answers.unlink(missing_ok=True)
        shown = [str(self.export), str(self.app / "questions.json"), str(answers)]
        command = [str(python), "-P", str(CLIENTS / f"{client}.py"), *shown]
        run(command, cwd=self.app, env=self.environment(**more))
        found: Found = json.loads(answers.read_text(encoding="utf-8"))
        return found


@dataclass(frozen=True)
class Tool:
    """A tool that an export is made for.

    Attributes:
        title: As the table names it.
        version: Of the tool installed in a work folder.
        use: Gives it every row.
        served: Whether it needs a server.
    """

    title: str
    version: Callable[[Path], str]
    use: Callable[[Use], Found]
    served: bool = True


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, ok: Sequence[int] = (0,)
) -> None:
    """Run a command to its end.

    Raises:
        ParityError: It failed; with the end of what it wrote.
    """
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60 * MINUTES, check=False
    )
    if done.returncode not in ok:
        said = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise ParityError(f"{Path(command[0]).name} failed: {said}", where=str(cwd))


def environment(work: Path, name: str, *needs: str, bare: Sequence[str] = ()) -> Path:
    """A virtual environment's Python, made when missing.

    Args:
        work: Where environments are.
        name: The environment's.
        needs: Packages to install; none makes an environment without pip.
        bare: Installed without what they depend on.
    """
    folder = work / "tools" / name
    python, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        venv.create(folder, clear=True, with_pip=bool(needs), symlinks=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for packages in ([*needs], ["--no-deps", *bare]):
            if needs and packages not in ([], ["--no-deps"]):
                run([*pip, *packages], cwd=folder)
        whole.touch()
    return python


def installed(work: Path, name: str, package: str) -> str:
    """The version of a package in an environment."""
    python = work / "tools" / name / "bin" / "python"
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [str(python), "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(command: Sequence[str], use: Use, env: Mapping[str, str], ready: str) -> Iterator[None]:
    """Run a server inside the block, once it answers at an address; it and its children are ended after.

    Raises:
        ParityError: It ended, or did not answer in time.
    """
    log = use.app / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=use.export, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > until:
                said = log.read_text(encoding="utf-8", errors="replace")[-600:]
                raise ParityError(f"{Path(command[0]).name} did not start: {said}", where=str(log))
            time.sleep(1)
        yield
    finally:
        for signum in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, signum)
                process.wait(timeout=20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def use_dspy(use: Use) -> Found:
    """The wheel of this tree, with the program file next to the export."""
    return use.ask(environment(use.work, "dspy", str(ROOT)), "dspy_program")


def use_python(use: Use) -> Found:
    """Nothing but the standard library."""
    return use.ask(environment(use.work, "python"), "python_module")


def use_openai(use: Use) -> Found:
    """OpenAI's client."""
    return use.ask(environment(use.work, "openai", "openai"), "openai_client")


def use_prompty(use: Use) -> Found:
    """Prompty's runtime."""
    return use.ask(environment(use.work, "prompty", "prompty[jinja2,openai]"), "prompty_runtime")


def use_litellm(use: Use) -> Found:
    """LiteLLM's proxy with the exported configuration, called by OpenAI's client."""
    python = environment(use.work, "litellm", "litellm[proxy]")
    client = environment(use.work, "openai", "openai")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # The proxy does not start without a key; clients send it.
    key = f"sk-{token_hex(32)}"
    env = use.environment(LITELLM_MASTER_KEY=key)
    command = [str(python.with_name("litellm")), "--config", "config.yaml", "--host", "127.0.0.1"]
    with started([*command, "--port", str(port)], use, env, f"{address}/health/liveliness"):
        return use.ask(client, "openai_client", OPENAI_BASE_URL=f"{address}/v1", OPENAI_API_KEY=key)


def use_mlflow(use: Use) -> Found:
    """The recorded command, `mlflow models serve`, in an environment with the model's requirements."""
    record = json.loads((use.export / "mlflow.json").read_text(encoding="utf-8"))
    store = (use.export / record["tracking_uri"].removeprefix("sqlite:///")).resolve()
    wanted = max(store.parent.glob("artifacts/**/requirements.txt"), key=lambda path: path.stat().st_mtime)
    python = environment(use.work, "mlflow", "-r", str(wanted))
    port = free_port()
    env = use.environment(PATH=f"{python.parent}:{os.environ['PATH']}", MLFLOW_DISABLE_TELEMETRY="true")
    serve = record["serve"].replace("-p 5001", f"-p {port}")
    questions = json.loads((use.app / "questions.json").read_text(encoding="utf-8"))
    rows = []
    with started(["bash", "-c", f"exec env {serve}"], use, env, f"http://127.0.0.1:{port}/ping"):
        for row in questions["rows"]:
            content = json.dumps({"dataframe_records": [row["inputs"]]}).encode()
            address = f"http://127.0.0.1:{port}/invocations"
            with urlopen(Request(address, content, {"Content-Type": "application/json"})) as reply:
                (answer,) = json.loads(reply.read())["predictions"]
            rows.append({"answer": answer if any(value is not None for value in answer.values()) else None})
    if record["prompts"]:
        formatted = use.ask(python, "mlflow_prompts", MLFLOW_TRACKING_URI=f"sqlite:///{store}")
        rows = [row | more for row, more in zip(rows, formatted["rows"], strict=True)]
    return {"rows": rows}


def node(work: Path) -> Path:
    """The folder of promptfoo's command and of the Node.js that it needs, installed when missing."""
    folder = work / "tools" / "promptfoo"
    if not (folder / "whole").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        npm = shutil.which("npm")
        if npm is None:
            raise ParityError("There is no npm here to install promptfoo with.", where="PATH")
        # npm takes the newest promptfoo that its own Node.js is new enough for.
        path = f"{folder / 'node_modules' / '.bin'}:{os.environ['PATH']}"
        for package in ("node@22", "promptfoo"):
            command = [npm, "install", "--no-fund", "--no-audit", package]
            run(command, cwd=folder, env={**os.environ, "PATH": path})
        (folder / "whole").touch()
    return folder / "node_modules" / ".bin"


def use_promptfoo(use: Use) -> Found:
    """`promptfoo eval` on the tests that were exported, one at a time, past its cache."""
    folder, out = node(use.work), use.app / "promptfoo.json"
    out.unlink(missing_ok=True)
    env = use.environment(
        PATH=f"{folder}:{os.environ['PATH']}",
        PROMPTFOO_CONFIG_DIR=str(use.app / "promptfoo"),
        PROMPTFOO_DISABLE_TELEMETRY="1",
        PROMPTFOO_DISABLE_UPDATE="1",
    )
    questions = json.loads((use.app / "questions.json").read_text(encoding="utf-8"))["rows"]
    flags = ["--no-cache", "--no-write", "--no-table", "--no-progress-bar", "--max-concurrency", "1"]
    flags += ["--filter-first-n", str(len(questions))]
    command = [str(folder / "promptfoo"), "eval", "-c", "promptfooconfig.yaml", "-o", str(out), *flags]
    run(command, cwd=use.export, env=env, ok=(0, 100))  # 100: a test failed
    results = json.loads(out.read_text(encoding="utf-8"))["results"]["results"]
    found = {each["testCase"]["description"]: each for each in results}
    given = [found[row["id"]] for row in questions]
    return {
        "rows": [{"replies": [(each.get("response") or {}).get("output")]} for each in given],
        "passed": [bool(each["success"]) for each in given],
    }


def use_inspect(use: Use) -> Found:
    """`inspect eval` on the samples that were exported, one at a time."""
    python = environment(use.work, "inspect", "inspect-ai>=0.3.285,<0.4", "openai>=3.4")
    (task,) = use.export.glob("*_eval.py")
    logs = use.app / "inspect"
    shutil.rmtree(logs, ignore_errors=True)
    # From the command in its docstring.
    (model,) = re.findall(r"--model (\S+)", task.read_text(encoding="utf-8"))
    flags = ["--model", model, "--model-base-url", use.address, "--display", "none"]
    flags += ["--max-samples", "1", "--max-connections", "1", "--log-dir", str(logs), "--log-format", "json"]
    env = use.environment(PARITY_API_KEY=KEY)
    run([str(python.with_name("inspect")), "eval", task.name, *flags], cwd=use.export, env=env)
    (log,) = logs.glob("*.json")
    questions = json.loads((use.app / "questions.json").read_text(encoding="utf-8"))["rows"]
    found = {each["id"]: each for each in json.loads(log.read_text(encoding="utf-8"))["samples"]}
    given = [found[row["id"]] for row in questions]
    return {
        "rows": [{"replies": [each["output"]["choices"][0]["message"]["content"]]} for each in given],
        "passed": [next(iter(each["scores"].values()))["value"] == "C" for each in given],
    }


def use_finetune(use: Use) -> Found:
    """TRL (without PyTorch, which reading files does not need), `datasets` and mistral-common."""
    needs = ("datasets", "transformers", "jinja2", "mistral-common")
    return use.ask(environment(use.work, "finetune", *needs, bare=("trl",)), "finetune_files")


def _node_version(work: Path) -> str:
    package = work / "tools" / "promptfoo" / "node_modules" / "promptfoo" / "package.json"
    return str(json.loads(package.read_text(encoding="utf-8"))["version"])


def _python_version(_: Path) -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _readers(work: Path) -> str:
    names = ("trl", "datasets", "mistral-common")
    return ", ".join(f"{name} {installed(work, 'finetune', name)}" for name in names)


TOOLS = {
    "dspy": Tool("DSPy, this wheel", lambda work: installed(work, "dspy", "dspy"), use_dspy, served=False),
    "mlflow": Tool(
        "mlflow models serve", lambda work: installed(work, "mlflow", "mlflow"), use_mlflow, served=False
    ),
    "python": Tool("Python, nothing installed", _python_version, use_python),
    "openai": Tool("openai client", lambda work: installed(work, "openai", "openai"), use_openai),
    "promptfoo": Tool("promptfoo eval", _node_version, use_promptfoo),
    "inspect": Tool("inspect eval", lambda work: installed(work, "inspect", "inspect-ai"), use_inspect),
    "prompty": Tool("prompty runtime", lambda work: installed(work, "prompty", "prompty"), use_prompty),
    "litellm": Tool("LiteLLM proxy", lambda work: installed(work, "litellm", "litellm"), use_litellm),
    "finetune": Tool("", _readers, use_finetune, served=False),
}
"""Target -> its tool, those first that run without the local server."""
