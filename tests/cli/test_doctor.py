"""The doctor: it finds what would stop a study, says how to mend it, and never shows a key."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from faults.server import FaultServer
from rich.console import Console

from optimizers.cli.doctor import machine, program, servers
from optimizers.cli.doctor.diagnose import diagnose, show
from optimizers.cli.doctor.findings import Finding
from optimizers.records.tracking.mlflow_store import experiment_of, open_store

CANARY = "sk-canary-7Fq2xVb9LmWz4TnR"

PROGRAM = '''
import dspy
from typing import Literal
from optimizers import Task, model

class Sentiment(dspy.Signature):
    """Say whether a review is positive or negative."""
    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()

def metric(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)

task = Task(program=dspy.Predict(Sentiment), metric=metric, data="rows.csv", models=[MODELS], margin=MARGIN)
'''


class Answering(ThreadingHTTPServer):
    """A server with one answer, which remembers what it was asked."""

    daemon_threads = True

    def __init__(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.headers = status, body, headers
        self.asked: list[tuple[str, str, str | None]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        key = self.headers.get("Authorization")
        self.server.asked.append((self.command, self.path, key))
        self.send_response(self.server.status, f"you sent {key}")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body.replace("KEY", str(key)).encode())

    do_POST = do_GET


@contextmanager
def answering(
    status: int = 200, body: str = "", headers: Mapping[str, str] | None = None
) -> Iterator[Answering]:
    server = Answering(status, body, headers or {})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys, proxies, caches or stores of the machine that runs the tests."""
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "MLFLOW_TRACKING_URI", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPTIMIZE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '0'\n")
    write_rows(folder, balanced(60))
    write_program(folder, '"local/smollm2-135m-instruct"')
    return folder


def balanced(count: int) -> list[tuple[str, str]]:
    return [("good", "positive"), ("bad", "negative")] * (count // 2)


def write_rows(project: Path, rows: list[tuple[str, str]]) -> None:
    words = [hex(hash_of(i))[2:] for i in range(len(rows))]
    lines = [f"{words[i]} {words[-i]} is {word},{label}" for i, (word, label) in enumerate(rows)]
    (project / "rows.csv").write_text("review,sentiment\n" + "\n".join(lines) + "\n")


def hash_of(number: int) -> int:
    """Numbers that look unlike, so that no row is nearly another."""
    return (number + 1) * 2654435761 % 2**32


def write_program(project: Path, models: str, margin: float = 0.1) -> Path:
    text = PROGRAM.replace("MODELS", models).replace("MARGIN", str(margin))
    (project / "task.py").write_text(text)
    return project / "task.py"


def of(findings: list[Finding], check: str) -> Finding:
    """The only finding of a check."""
    (found,) = [one for one in findings if one.check == check]
    return found


def checked(project: Path, models: str | None = None, **declared: float) -> list[Finding]:
    if models is not None:
        write_program(project, models, **declared)
    return diagnose(project / "task.py", project / "runs")


def served(address: str, more: str = "") -> str:
    return f'model("openai/small", api_base="{address}", price=(0.1, 0.2){more})'


LISTED = json.dumps({"data": [{"id": "small", "max_model_len": 16384}]})


# The installation.


def test_an_installation_that_fits_has_no_problem_and_leaves_nothing_behind(tmp_path: Path) -> None:
    findings = diagnose(None, tmp_path / "runs")
    assert {one.level for one in findings if one.check != "disk for weights"} <= {"ok", "warning"}
    assert f"dspy {metadata.version('dspy')}" in of(findings, "libraries").found
    assert list(tmp_path.iterdir()) == []


def test_without_a_program_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from optimizers.cli.doctor.diagnose import diagnose\n"
        f"diagnose(None, Path({str(tmp_path)!r}))\n"
        "heavy = {'dspy', 'optuna', 'mlflow', 'litellm', 'datasets', 'matplotlib', 'xllamacpp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def pretend(monkeypatch: pytest.MonkeyPatch, *requires: str, python: str = ">=3.11") -> None:
    """Parity's metadata as another pyproject.toml would give them."""
    about = metadata.metadata(machine.DISTRIBUTION)
    del about["Requires-Python"], about["Provides-Extra"]
    about["Requires-Python"] = python
    about["Provides-Extra"] = "dev"
    monkeypatch.setattr(machine.metadata, "metadata", lambda name: about)
    monkeypatch.setattr(machine.metadata, "requires", lambda name: list(requires))


def test_a_missing_library_an_old_one_and_one_for_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = "nobody-has-this-either; sys_platform == 'nowhere'"
    pretend(monkeypatch, "nobody-has-this>=2", "rich>=900", "pydantic>=2", elsewhere)
    findings = list(machine.libraries())
    lacking, old = of(findings, "library nobody-has-this"), of(findings, "library rich")
    assert (lacking.level, old.level) == ("problem", "problem")
    assert "not installed" in lacking.found
    assert "nobody-has-this>=2" in lacking.fix
    assert metadata.version("rich") in old.found
    assert "rich>=900" in old.fix
    assert of(findings, "libraries").found == f"pydantic {metadata.version('pydantic')}"


def test_a_python_outside_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, python=">=3.99")
    found = of(list(machine.libraries()), "python")
    assert found.level == "problem"
    assert ">=3.99" in found.fix


def test_an_extra_that_lacks_something_is_no_problem_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, "nobody-has-this; extra == 'dashboard'", "rich; extra == 'dashboard'")
    found = of(list(machine.libraries()), "extra dashboard")
    assert found.level == "ok"
    assert "nobody-has-this" in found.found
    assert "rich" not in found.found
    assert "[dashboard]" in found.fix
    pretend(monkeypatch, "rich; extra == 'dashboard'")
    assert of(list(machine.libraries()), "extra dashboard").fix == ""


def test_tools_for_work_on_parity_itself_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "nobody-has-this; extra == 'dev'")
    assert not any("dev" in found.check for found in machine.libraries())


def test_a_check_that_fails_itself_is_a_problem_without_its_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(name: str) -> list[str]:
        raise RuntimeError(f"the index refused {CANARY}")

    monkeypatch.setenv("INDEX_TOKEN", CANARY)
    monkeypatch.setattr(machine.metadata, "requires", broken)
    found = of(diagnose(None, tmp_path), "libraries")
    assert found.level == "problem"
    assert found.found == "RuntimeError: the index refused [hidden]"


# Folders and stores.


def test_a_file_in_place_of_the_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    assert of(diagnose(None, tmp_path / "runs"), "runs folder").level == "problem"
    assert of(diagnose(None, tmp_path / "runs/below"), "runs folder").level == "problem"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write in")
def test_a_runs_folder_that_cannot_be_written() -> None:
    found = of(diagnose(None, Path("/proc/runs")), "runs folder")
    assert found.level == "problem"
    assert "--runs" in found.fix


def test_locks_that_do_not_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Loose:
        def __init__(self, path: str, blocking: bool = True) -> None:
            self.path = path

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr("filelock.FileLock", Loose)
    found = of(diagnose(None, tmp_path), "runs folder")
    assert found.level == "problem"
    assert "file locks do not work" in found.found


@pytest.mark.parametrize(
    ("free", "level"), [(1_000_000, "problem"), (100_000_000, "warning"), (10**12, "ok")]
)
def test_disk_that_runs_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: str) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: usage._replace(free=free))
    assert of(diagnose(None, tmp_path), "disk for runs").level == level


def test_disk_for_weights_counts_only_what_is_lacking(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    lacking = of(checked(project), "disk for weights").found
    monkeypatch.setattr("optimizers.models.catalogue.pulled", lambda name: True)
    there = checked(project)
    assert "197 MB needed" in lacking  # the parts and the whole of 98 MB
    assert "0 MB needed" in of(there, "disk for weights").found
    assert of(there, "weights of local/smollm2-135m-instruct").found == "98 MB, pulled"


def revisions() -> dict[str, str]:
    """The installed MLflow's revisions, oldest first, with the one before each."""
    import re

    folder = Path(str(metadata.distribution("mlflow").locate_file("mlflow/store/db_migrations/versions")))
    texts = [file.read_text() for file in folder.glob("*.py")]
    pairs = [dict(re.findall(r'^(revision|down_revision) = "(\w+)"', text, re.MULTILINE)) for text in texts]
    return {one["revision"]: one.get("down_revision", "") for one in pairs if one}


def store_at(path: Path, version: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE experiments (artifact_location)")
        store.execute("CREATE TABLE alembic_version (version_num)")
        store.execute("INSERT INTO alembic_version VALUES (?)", (version,))


def test_mlflow_stores_of_this_version_an_older_one_and_a_newer_one(tmp_path: Path) -> None:
    known = revisions()
    (newest,) = known.keys() - set(known.values())
    for version, level in ((newest, "ok"), (known[newest], "problem"), ("ffffffffffff", "problem")):
        runs = tmp_path / version
        store_at(runs / "mlflow.db", version)
        found = of(diagnose(None, runs), "MLflow store")
        assert found.level == level, found
        assert ("db upgrade" in found.fix) == (level == "problem")


def test_a_runs_folder_that_was_copied_or_moved_and_the_fix(tmp_path: Path) -> None:
    old, new = tmp_path / "it's old/runs", tmp_path / "new place/runs"
    old.mkdir(parents=True)
    client, page = open_store(old), tmp_path / "page.html"
    page.write_text("a page")
    run = client.create_run(experiment_of(client, "reviews", old)).info.run_id
    client.log_artifact(run, str(page))
    assert not [one for one in diagnose(None, old) if one.check == "MLflow files"]
    shutil.copytree(old, new)
    assert "another folder" in of(diagnose(None, new), "MLflow files").found
    shutil.rmtree(old.parent)
    found = of(diagnose(None, new), "MLflow files")
    assert found.level == "warning"
    assert f"{old / 'artifacts'}, which is gone" in found.found
    subprocess.run(found.fix.partition(": ")[2], shell=True, check=True)
    assert not [one for one in diagnose(None, new) if one.check == "MLflow files"]
    mended = open_store(new)
    assert mended.get_run(run).info.artifact_uri.startswith((new / "artifacts").as_uri())
    assert [one.path for one in mended.list_artifacts(run)] == ["page.html"]


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, and it is long enough to be read as one" * 20)
    found = of(diagnose(None, tmp_path), "MLflow store")
    assert found.level == "problem"
    assert "DatabaseError" in found.found
    assert found.fix


def test_a_declared_store_is_named_without_its_password_and_not_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering() as server:
        uri = f"http://me:{CANARY}@127.0.0.1:{server.server_port}/mlflow?token=also-secret"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        found = of(diagnose(None, tmp_path), "MLflow store").found
        assert server.asked == []
    assert f"http://127.0.0.1:{server.server_port}/mlflow;" in found
    assert "me:" not in found
    assert "secret" not in found


# A program and its models.


def test_a_good_program_has_no_problem(project: Path) -> None:
    findings = checked(project)
    assert [one for one in findings if one.level == "problem"] == []
    assert "Predict" in of(findings, "program").found
    weights = of(findings, "weights of local/smollm2-135m-instruct")
    assert "98 MB are pulled at first use (Apache-2.0)" in weights.found
    assert "--pull local/smollm2-135m-instruct" in weights.fix
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "ends the process, with 3"),
        ("x = 1", "declares no task"),
        ("from optimizers import model\nmodel('openai/nobody-knows')", "no known price"),
    ],
)
def test_a_program_that_does_not_load(project: Path, text: str, said: str) -> None:
    (project / "task.py").write_text(text)
    found = of(checked(project), "program")
    assert found.level == "problem"
    assert said in found.found
    assert found.fix


def test_a_missing_program(project: Path) -> None:
    assert of(diagnose(project / "nowhere.py", project), "program").level == "problem"


def test_models_that_are_nonsense_leave_a_finding_and_no_traceback(project: Path) -> None:
    text = write_program(project, "").read_text().replace("models=[]", "models=7")
    (project / "task.py").write_text(text)
    assert of(checked(project), "program").level == "problem"


def test_a_model_without_a_price_is_named_and_the_data_is_looked_at_all_the_same(project: Path) -> None:
    findings = checked(project, '"openai/nobody-knows,context=9000", "local/smollm2-135m-instruct"')
    unpriced = of(findings, "model openai/nobody-knows")
    assert unpriced.level == "problem"
    assert "price=INPUT/OUTPUT" in unpriced.fix
    assert "train" in of(findings, "rows").found


def test_a_price_of_nothing_is_warned_of(project: Path) -> None:
    findings = checked(project, 'model("ollama/mine", price=(0.0, 0.0)), model("groq/x", price=(1.0, 2.0))')
    assert of(findings, "price of ollama/mine").level == "warning"
    assert of(findings, "price of groq/x").level == "ok"


def test_own_weights_that_are_a_page(project: Path) -> None:
    for name, content in (("good", b"GGUF\x03"), ("page", b"<html>")):
        (project / f"{name}-1b-instruct.gguf").write_bytes(content)
    paths = [f"local/{project}/{name}-1b-instruct.gguf" for name in ("good", "page")]
    findings = checked(project, ", ".join(map(repr, paths)))
    assert [of(findings, f"weights of {path}").level for path in paths] == ["ok", "problem"]


def test_a_key_that_is_needed_and_one_that_is_not(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    names = ["groq/x", "gemini/x", "ollama/x"]
    models = ", ".join(f'model("{name}", price=(1.0, 2.0))' for name in names)
    lacking = checked(project, models)
    assert [of(lacking, f"key of {name}").level for name in names] == ["problem", "problem", "ok"]
    assert of(lacking, "key of groq/x").fix == "set GROQ_API_KEY in the environment"
    monkeypatch.setenv("GROQ_API_KEY", CANARY)
    monkeypatch.setenv("GOOGLE_API_KEY", CANARY)
    there = checked(project)
    assert [of(there, f"key of {name}").level for name in names] == ["ok", "ok", "ok"]
    assert of(there, "key of gemini/x").found == "GOOGLE_API_KEY is set"


def test_where_a_provider_without_one_address_serves_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "BEDROCK_")):
            monkeypatch.delenv(name)
    models = ", ".join(f'model("{name}", price=(1.0, 2.0))' for name in ("azure/x", "bedrock/x"))
    lacking = checked(project, models)
    assert of(lacking, "place of azure/x").fix.startswith("set AZURE_API_BASE")
    assert of(lacking, "key of azure/x").fix == "set AZURE_API_KEY in the environment"
    assert of(lacking, "place of bedrock/x").level == "warning"
    assert "AWS_ACCESS_KEY_ID" in of(lacking, "key of bedrock/x").found
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://our.openai.azure.com")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    there = checked(project)
    assert [of(there, f"place of {name}").level for name in ("azure/x", "bedrock/x")] == ["ok", "ok"]


def test_a_server_of_ones_own_is_asked_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    with answering(401) as server:
        monkeypatch.setenv("LM_STUDIO_API_BASE", server.address)
        monkeypatch.setenv("LM_STUDIO_API_KEY", CANARY)
        found = of(checked(project, 'model("lm_studio/x", price=(1.0, 2.0))'), "server of lm_studio/x")
    assert found.fix == "set LM_STUDIO_API_KEY to a key of this server"
    assert server.asked == [("GET", "/v1/models", f"Bearer {CANARY}")]


def test_the_context_of_a_listed_model(project: Path) -> None:
    assert of(checked(project, '"openai/gpt-4o-mini"'), "context of openai/gpt-4o-mini").level == "ok"
    found = of(checked(project, '"openai/gpt-4o-mini,context=900000"'), "context of openai/gpt-4o-mini")
    assert (found.level, found.fix) == ("warning", "declare context=128000")


# Servers.


def test_a_server_is_asked_once_for_its_models_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with answering(body=LISTED) as server:
        more = served(server.address).replace("small", "large")
        findings = checked(project, f"{served(server.address)}, {more}")
    assert server.asked == [("GET", "/v1/models", f"Bearer {CANARY}")]
    assert of(findings, "server of openai/small").level == "ok"
    assert of(findings, "server of openai/large").level == "warning"
    assert of(findings, "context of openai/small").found == "8,192 tokens; the model takes 16,384"
    assert "assumed" in of(findings, "context of openai/large").found


def test_a_server_that_takes_less_than_is_declared(project: Path) -> None:
    with answering(body=LISTED) as server:
        findings = checked(project, served(server.address, ", context=32000"))
    found = of(findings, "context of openai/small")
    assert (found.level, found.fix) == ("warning", "declare context=16384")


@pytest.mark.parametrize(
    ("status", "body", "level", "said"),
    [
        (401, "", "problem", "asks for a key"),
        (404, "", "warning", "status 404"),
        (200, "<html>log in</html>", "warning", "no list of models"),
        (200, '{"data": 3}', "warning", "no list of models"),
        (503, "", "warning", "status 503"),
    ],
)
def test_what_a_server_answers(project: Path, status: int, body: str, level: str, said: str) -> None:
    with answering(status, body) as server:
        found = of(checked(project, served(server.address)), "server of openai/small")
    assert found.level == level
    assert said in found.found
    assert found.fix


def test_a_server_without_a_list_of_models_is_no_problem(project: Path) -> None:
    with FaultServer() as server:
        findings = checked(project, served(server.address))
        assert server.stats()["received"] == 0
    assert of(findings, "server of openai/small").level == "warning"
    assert of(findings, "key of openai/small").level == "ok"


def test_a_server_that_is_not_there_and_an_address_that_is_none(project: Path) -> None:
    with answering() as server:
        gone = server.address
    for address, said in ((gone, "Connection refused"), ("file://elsewhere", "not an http address")):
        found = of(checked(project, served(address)), "server of openai/small")
        assert found.level == "problem"
        assert said in found.found


@pytest.mark.parametrize("bytes_sent", [0, 40])
def test_a_server_that_keeps_silent_or_trickles_is_left_after_its_time(
    monkeypatch: pytest.MonkeyPatch, bytes_sent: int
) -> None:
    over = threading.Event()

    def trickle(handler: _Handler) -> None:
        for _ in range(bytes_sent):
            handler.wfile.write(b"H")
            if over.wait(0.1):
                return
        over.wait(4.0)

    monkeypatch.setattr(_Handler, "do_GET", trickle)
    monkeypatch.setattr(servers, "SECONDS", 0.5)
    with answering() as server:
        started = time.monotonic()
        answer = servers.ask(server.address, "")
        took = time.monotonic() - started
        over.set()
    assert isinstance(answer, str)
    assert took < 2.0


def test_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with answering(body=LISTED) as other, answering(302, headers={"Location": other.address}) as server:
        found = of(checked(project, served(server.address)), "server of openai/small")
        assert other.asked == []
    assert found.level == "warning"


# Keys.


def shown(findings: list[Finding]) -> str:
    out = io.StringIO()
    show(findings, Console(file=out, width=100))
    return out.getvalue()


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 429, 500])
def test_a_key_is_never_shown_though_the_server_repeats_it(
    monkeypatch: pytest.MonkeyPatch, project: Path, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    body = '{"data": [{"id": "KEY", "max_model_len": "KEY"}], "error": "the header was KEY"}'
    with answering(status, body, {"X-Echo": CANARY, "Location": f"/{CANARY}"}) as server:
        findings = checked(project, served(server.address))
    assert server.asked[0][2] == f"Bearer {CANARY}"
    everything = shown(findings) + repr(findings) + "".join(capfd.readouterr())
    assert "canary" not in everything
    assert CANARY[-8:] not in everything


def test_every_server_of_a_model_is_asked(project: Path) -> None:
    with answering(body=LISTED) as well, answering(500) as ill:
        models = f'model("openai/small", api_base=["{well.address}", "{ill.address}"], price=(0.1, 0.2))'
        findings = [one for one in checked(project, models) if one.check == "server of openai/small"]
    assert [one.level for one in findings] == ["ok", "warning"]
    assert "status 500" in findings[1].found


def test_a_server_that_answers_with_the_key_in_place_of_http(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setattr(_Handler, "do_GET", lambda self: self.wfile.write(f"{CANARY}\r\n".encode()))
    with answering() as server:
        found = of(checked(project, served(server.address)), "server of openai/small")
    assert (found.level, "canary" in repr(found)) == ("problem", False)
    assert "BadStatusLine" in found.found


def test_a_key_with_a_line_break_is_a_problem_and_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{CANARY}\n")
    with answering(body=LISTED) as server:
        findings = checked(project, served(server.address))
    assert server.asked == [("GET", "/v1/models", None)]
    assert of(findings, "key of openai/small").level == "problem"
    assert "canary" not in repr(findings)


@pytest.mark.parametrize(
    "line",
    [
        f"raise ValueError('refused: {CANARY}')",
        f"raise ValueError('refused: {CANARY[:14]}...')",
        f"raise ValueError('Authorization: Bearer {CANARY}')",
        f"raise ValueError('https://me:{CANARY}@host/v1?api_key={CANARY}')",
        f"raise KeyError(b'{CANARY}\\n')",
    ],
)
def test_a_program_whose_error_holds_the_key(
    monkeypatch: pytest.MonkeyPatch, project: Path, line: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    (project / "task.py").write_text(line)
    findings = checked(project)
    assert "canary" not in repr(findings) + shown(findings)
    assert "Error" in of(findings, "program").found


def test_an_address_is_shown_without_what_opens_it(project: Path) -> None:
    with answering(body=LISTED) as server:
        address = f"http://me:hunter2&co@127.0.0.1:{server.server_port}/v1"
        findings = checked(project, served(address))
        broken = checked(project, f'"openai/small,api_base={address},kind=odd"')
    assert "&co" not in repr(broken)
    assert "hunter2" not in repr(findings) + repr(broken)
    assert of(broken, "model openai/small").level == "problem"


# Data.


def test_data_that_is_well(project: Path) -> None:
    write_rows(project, balanced(700))
    findings = checked(project)
    assert [one for one in findings if one.check == "data"] == []
    assert of(findings, "balance of sentiment").found in (
        "positive 50%, negative 50%",
        "negative 50%, positive 50%",
    )
    assert of(findings, "duplicates").level == "ok"


def test_a_margin_that_the_test_set_cannot_show(project: Path) -> None:
    write_rows(project, balanced(700))
    (note,) = [one for one in checked(project, '"local/gemma-3-270m"', margin=0.01) if one.check == "data"]
    assert note.level == "warning"
    assert "at the margin of 0.01" in note.found
    assert "wider margin" in note.fix


def test_duplicates_blanks_contradictions_and_one_label_for_nearly_all(project: Path) -> None:
    write_rows(project, [("good", "positive")] * 560 + [("bad", "negative")] * 60)
    lines = (project / "rows.csv").read_text().splitlines()
    blanks, contradiction = [",positive"] * 3, lines[5].replace("positive", "negative")
    (project / "rows.csv").write_text("\n".join([*lines, *lines[1:200], *blanks, contradiction]) + "\n")
    findings = checked(project)
    notes = {one.found.partition(":")[0]: one for one in findings if one.check == "data"}
    assert notes["rows left out for want of an input or an output"].fix == "fill in the blank cells"
    assert "which output is right" in notes["inputs that appear with different outputs"].fix
    assert of(findings, "duplicates").level == "warning"
    assert of(findings, "duplicates").found.startswith("200 dropped")
    lopsided = of(findings, "balance of sentiment")
    assert lopsided.level == "warning"
    assert lopsided.found == "positive 90%, negative 10%"
    assert "always saying positive" in lopsided.fix


def test_every_note_that_a_split_can_make_has_a_fix_of_its_own() -> None:
    from optimizers.task.data.power import group_note, part_notes, size_note

    asked = {"train": 9, "test": 9}
    notes = [
        size_note(50, 0.02),
        group_note(3, "author"),
        *part_notes({"train": ['["a"]'], "test": ['["b"]']}, asked),
    ]
    for note in notes:
        assert note is not None
        assert any(part in note for part in program.NOTE_FIXES), note


def test_missing_data_and_data_that_would_be_pulled(project: Path) -> None:
    (project / "rows.csv").unlink()
    gone = of(checked(project), "data")
    assert (gone.level, "rows.csv" in gone.found) == ("problem", True)
    text = write_program(project, '"local/gemma-3-270m"').read_text()
    card = Path(machine.__file__).parents[3] / "data" / "reviews.toml"
    shutil.copy(card, project / "reviews.toml")
    for source, level, said in (
        ("reviews.toml", "ok", "0.4 MB are pulled"),
        ("hf://a/b", "warning", "hf://a/b"),
    ):
        (project / "task.py").write_text(text.replace("rows.csv", source))
        found = of(checked(project), "data")
        assert (found.level, said in found.found) == (level, True)
        assert "optimize estimate" in found.fix


# What is printed.


def test_everything_found_is_printed_as_it_stands() -> None:
    findings = [
        Finding("extra dev", "ok", "optional", "pip install 'prompt-parity[dev]'"),
        Finding("key", "problem", "[hidden] is [bold]not[/bold] set"),
    ]
    out = shown(findings)
    for text in (
        "pip install 'prompt-parity[dev]'",
        "[hidden] is [bold]not[/bold] set",
        "problems: 1, warnings: 0",
    ):
        assert text in out
    assert out.splitlines()[-1].startswith("problems")
