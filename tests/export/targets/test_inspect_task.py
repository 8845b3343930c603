"""Inspect tasks: samples that are sent as measured, replies scored as the compiled program reads them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from fakes import EXPORTED_AS, LARGE, SMALL, FakeEngine, Make, Notes, maker, measured, with_dev

from optimizers.errors import ExportError
from optimizers.export.point import AWKWARD
from optimizers.export.targets import inspect_task
from optimizers.export.targets.inspect_task import write_inspect
from optimizers.models.model import Model
from optimizers.task.data.split import Dataset, example_id
from optimizers.task.task import LoadedTask

INJECTED = 'Say which. {{ inputs.review }} {0} {review} """ \\ \n---\nuser:\n${HOME} <think>no</think>'
ODD = (
    *AWKWARD,
    "",
    " \x1f\x85\u2028 x \ufeff",
    "file://secret.txt",
    "data:image/png;base64,AAAA",
    "<think>a</think>",
)
CHAT = [case for case in EXPORTED_AS if case[1] != "completion"]


class Explain(dspy.Signature):
    """Say what a review is about, and how good it finds it."""

    review: str = dspy.InputField()
    topic: str = dspy.OutputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


@pytest.fixture
def make(task: LoadedTask, engines: dict[str, FakeEngine]) -> Make:
    """A point of a task, of whose predictors all have the same prompt."""
    return maker(task, INJECTED)


def odd_task(task: LoadedTask) -> LoadedTask:
    return with_dev(task, [{"review": text, "sentiment": "positive"} for text in ODD])


def literals(path: Path) -> dict[str, Any]:
    """The constants and functions of a task file, without what it imports of Inspect."""
    before, _, after = path.read_text(encoding="utf-8").partition("\nfrom inspect_ai")
    constants = after[after.index("\nSAMPLES: ") : after.index("\nCHAT = ")]
    module: dict[str, Any] = {"__name__": "exported"}
    exec(compile(before + constants, "exported", "exec"), module)
    return module


@pytest.mark.parametrize(("model", "rendering"), CHAT)
def test_samples_are_dev_examples_and_none_is_of_train_or_test(
    make: Make, task: LoadedTask, tmp_path: Path, model: Model, rendering: str
) -> None:
    (path,) = write_inspect(make(model, rendering), tmp_path)
    assert path.name == "reviews_eval.py"
    found = literals(path)
    dev = {example_id(example): example for example in task.dataset.dev}
    assert len(found["SAMPLES"]) == min(50, len(dev))
    for sample in found["SAMPLES"]:
        example = dev[sample["id"]]
        assert sample["inputs"] == {"review": example.review}
        assert sample["labels"] == {"sentiment": example.sentiment}
        assert found["render"](sample["inputs"]) == measured(make(model, rendering), sample["inputs"])
    sealed = [example.review for example in (*task.dataset.test, *task.dataset.train)]
    assert not [review for review in sealed if review in path.read_text(encoding="utf-8")]


def test_the_outputs_of_an_exact_match_are_scored_and_else_all_that_are_labelled(
    make: Make, task: LoadedTask, tmp_path: Path
) -> None:
    records = [{"review": "a", "topic": "lamp", "sentiment": "positive"}]
    explain = with_dev(task, records, program=dspy.Predict(Explain))
    (path,) = write_inspect(make(LARGE, "turns", of=explain, demos=()), tmp_path)
    assert literals(path)["SCORED"] == ["topic", "sentiment"]
    assert "stand-in for sentiment_matches" in path.read_text()
    exact = replace(explain, metric_name="exact_match(sentiment)")
    (path,) = write_inspect(make(LARGE, "turns", of=exact, demos=()), tmp_path)
    assert literals(path)["SCORED"] == ["sentiment"]
    assert "the metric of the study" in path.read_text()


def test_what_one_request_of_messages_cannot_hold_is_refused(
    make: Make, task: LoadedTask, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="text to continue"):
        write_inspect(make(SMALL, "completion"), tmp_path)
    with pytest.raises(ExportError, match="calls"):
        write_inspect(make(LARGE, "compact", technique="self_check"), tmp_path)
    with pytest.raises(ExportError, match="one prompt"):
        write_inspect(make(LARGE, "compact", of=replace(task, program=Notes()), demos=()), tmp_path)
    other = LARGE.model_copy(update={"name": "anthropic/claude", "engine": "auto"})
    with pytest.raises(ExportError, match="protocol"):
        write_inspect(make(other, "turns"), tmp_path)
    empty = replace(task, dataset=Dataset(task.dataset.train, (), task.dataset.test, "f", 0, ()))
    with pytest.raises(ExportError, match="dev example"):
        write_inspect(make(LARGE, "turns", of=empty), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("for message in render(inputs)]", "for message in render(inputs)[1:]]"),
        ('content=message["content"]', 'content=" ".join(message["content"].split())'),
        ('"top_p": "top_p",', ""),
        ("all(same(", "any(not same("),
    ],
)
def test_a_task_that_would_send_or_score_otherwise_is_not_written(
    make: Make, task: LoadedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, instead: str
) -> None:
    made = make(LARGE, "turns", of=odd_task(task))
    assert inspect_task.TASK.count(said) == 1
    changed = inspect_task.TASK.replace(said, instead)
    if "top_p" in said:
        changed = changed.replace('name != "model" and', 'name not in ("model", "top_p") and')
    monkeypatch.setattr(inspect_task, "TASK", changed)
    with pytest.raises(ExportError, match="would not do what was measured"):
        write_inspect(made, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Listener(BaseHTTPRequestHandler):
    """Notes what it is asked, and says what a reply in the rendering's form would be."""

    asked: list[dict[str, Any]]
    said: str

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, **body})
        message = {"role": "assistant", "content": self.said}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        content = json.dumps(answer | {"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None: ...


SAID = {
    "compact": "Positive.",
    "turns": "Sentiment: positive",
    "json_object": '{"sentiment": "positive"}',
    "dspy_chat": "[[ ## sentiment ## ]]\npositive\n\n[[ ## completed ## ]]",
}
REMOTE = LARGE.model_copy(update={"name": "openai/gpt-4o-mini", "engine": "auto"})
INSPECT = Path(os.environ.get("INSPECT_COMMAND", "inspect"))
"""From an environment of its own: it asks for another release of openai's client than LiteLLM does."""


@pytest.mark.skipif(not INSPECT.is_file(), reason="INSPECT_COMMAND names no `inspect`")
@pytest.mark.parametrize(("model", "rendering"), [*CHAT, (REMOTE, "json_object")])
def test_the_command_in_the_file_sends_the_measured_requests_and_scores_them(
    make: Make, task: LoadedTask, tmp_path: Path, model: Model, rendering: str
) -> None:
    records = [{"review": text, "sentiment": "positive"} for text in ODD]
    records.append({"review": "It broke.", "sentiment": "negative"})
    made = make(model, rendering, of=with_dev(task, records))
    (path,) = write_inspect(made, tmp_path)
    (told,) = [line for line in path.read_text().splitlines() if line.startswith("    ") and " eval " in line]
    handler = type("Noting", (Listener,), {"asked": [], "said": SAID[rendering]})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v1"
        words = shlex.split(told.replace("http://127.0.0.1:8080/v1", address))
        arguments = words[words.index("eval") :]
        keys = {"PARITY_API_KEY": "none", "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": address}
        done = subprocess.run(
            [str(INSPECT), *arguments, "--display", "plain", "--log-format", "json"],
            cwd=tmp_path, env=os.environ | keys | {"HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = [measured(made, {"review": record["review"]}) for record in records]
    parameters = literals(path)["PARAMETERS"]
    for asked in handler.asked:
        assert asked.pop("path") == "/v1/chat/completions"
        wanted.remove(asked.pop("messages"))
        assert asked == parameters
    assert wanted == []
    (log,) = (tmp_path / "logs").glob("*.json")
    results = json.loads(log.read_text())["results"]
    (scored,) = results["scores"]
    assert scored["metrics"]["accuracy"]["value"] == pytest.approx(len(ODD) / len(records))
