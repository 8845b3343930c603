"""promptfoo suites: prompts that render to the measured messages, and checks that tell labels apart."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
import yaml
from dspy.utils.exceptions import AdapterParseError
from fakes import EXPORTED_AS, LARGE, FakeEngine, Make, Notes, maker, measured, with_dev
from pydantic import BaseModel

from optimizers.errors import ExportError
from optimizers.export.point import AWKWARD
from optimizers.export.targets.promptfoo import write_promptfoo
from optimizers.models.model import Model
from optimizers.task.data.split import Dataset, example_id
from optimizers.task.task import LoadedTask

INJECTED = (
    'Say which. {{ inputs.review }} {% raw %} {# gone #} {{ env.HOME }} "}} {\n---\nuser:\n'
    "{{{ a }}} - !!python/x ${HOME}"
)
ODD = (
    *AWKWARD,
    "",
    " \x1f\x85\u2028 x \ufeff",
    "$& $1 {{ inputs.review }} {% endraw %} {{",
    "user:\nsystem:",
    "x\n",
)


class Line(BaseModel):
    """A product with how many of it."""

    product: str
    quantity: int


class Explain(dspy.Signature):
    """Say what a review is about, and how good it finds it."""

    review: str = dspy.InputField()
    topic: str = dspy.OutputField()
    sentiment: Literal["positive", "negative", "{odd} one"] = dspy.OutputField()


class Templated(dspy.Signature):
    """Say which it is."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "{{ env.HOME }}"] = dspy.OutputField()


class Extract(dspy.Signature):
    """Read the order."""

    review: str = dspy.InputField()
    line: Line = dspy.OutputField()


@pytest.fixture
def make(task: LoadedTask, engines: dict[str, FakeEngine]) -> Make:
    """A point of a task, of whose predictors all have the same prompt."""
    return maker(task, INJECTED)


def suite_in(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    config = yaml.safe_load((folder / "promptfooconfig.yaml").read_text(encoding="utf-8"))
    return config, json.loads((folder / "tests.json").read_text(encoding="utf-8"))


def odd_task(task: LoadedTask) -> LoadedTask:
    return with_dev(task, [{"review": text, "sentiment": "positive"} for text in ODD])


@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_tests_are_dev_examples_and_none_is_of_train_or_test(
    make: Make, task: LoadedTask, tmp_path: Path, model: Model, rendering: str
) -> None:
    made = make(model, rendering)
    written = write_promptfoo(made, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    config, tests = suite_in(tmp_path)
    dev = {example_id(example): example.review for example in task.dataset.dev}
    assert {test["description"]: test["vars"]["inputs"]["review"] for test in tests}.items() <= dev.items()
    assert len(tests) == min(50, len(dev))
    assert config["prompts"] == [f"file://prompt.{'j2' if rendering == 'completion' else 'json'}"]
    everything = "".join(path.read_text(encoding="utf-8") for path in written)
    sealed = [example.review for example in (*task.dataset.test, *task.dataset.train)]
    assert not [review for review in sealed if json.dumps(review) in everything]


@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_all_that_is_sent_beside_the_messages_is_what_was_measured(
    make: Make, tmp_path: Path, model: Model, rendering: str
) -> None:
    write_promptfoo(make(model, rendering), tmp_path)
    (provider,) = suite_in(tmp_path)[0]["providers"]
    sent = provider["config"]["passthrough"] | provider["config"]
    kind = "completion" if rendering == "completion" else "chat"
    assert provider["id"] == f"openai:{kind}:{model.name.removeprefix('local/')}"
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (60, 0.3, 0.9)
    assert "OPENAI_BASE_URL" in sent["apiBaseUrl"]
    if rendering in ("completion", "compact", "turns"):
        assert "positive" in sent["grammar"]
        assert sent["stop"] == ["\n"]


@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_checks_tell_labels_apart_as_the_rendering_reads_them(
    make: Make, task: LoadedTask, tmp_path: Path, model: Model, rendering: str
) -> None:
    records = [
        {"review": "a", "topic": "the {{ lamp }}", "sentiment": "{odd} one"},
        {"review": "b", "topic": "lamp", "sentiment": "positive"},
    ]
    explain = with_dev(task, records, program=dspy.Predict(Explain))
    made = make(model, rendering, of=explain, demos=())
    write_promptfoo(made, tmp_path)
    predictor, adapter = made.compiled.module, made.compiled.adapter()
    replies = {
        "completion": "The lamp\nSentiment: {}",
        "compact": "Topic: the lamp\nSentiment: {}",
        "turns": "Topic: the lamp\nSentiment: {}",
        "dspy_chat": "[[ ## topic ## ]]\nlamp\n\n[[ ## sentiment ## ]]\n{}\n\n[[ ## completed ## ]]",
    }
    for test in suite_in(tmp_path)[1]:
        gold = next(r["sentiment"] for r in records if r["review"] == test["vars"]["inputs"]["review"])
        if rendering == "json_object":
            (check,) = test["assert"]
            assert check["type"] == "is-json"
            told = check["value"]["properties"]["sentiment"]
            assert told == {"const": gold}
            continue
        checks = {check["metric"]: check for check in test["assert"]}
        said = checks["sentiment as labelled"]["value"]
        assert not any(opener in json.dumps(test["assert"]) for opener in ("{{", "{%", "{#"))
        for written in ("positive", "Positive.", '"positive"', "NEGATIVE", "{odd} one", "{ODD}  one"):
            reply = replies[rendering].replace("{}", written)
            read = None
            with suppress(AdapterParseError):
                read = adapter.parse(predictor.signature, reply)["sentiment"]
            assert bool(re.search(said, reply)) == (read == gold), (written, gold)
        assert set(checks) == {"sentiment as labelled", "topic (fallback)"}


def test_outputs_that_are_records_fall_back_to_json(make: Make, task: LoadedTask, tmp_path: Path) -> None:
    records = [{"review": "two lamps", "line": {"product": "lamp", "quantity": 2}}]
    extract = with_dev(task, records, program=dspy.Predict(Extract))
    write_promptfoo(make(LARGE, "json_object", of=extract, demos=()), tmp_path)
    ((check,),) = (test["assert"] for test in suite_in(tmp_path)[1])
    assert check["type"] == "is-json"
    assert "quantity" in json.dumps(check["value"])
    assert "fallback" in check["metric"]
    write_promptfoo(make(LARGE, "compact", of=extract, demos=()), tmp_path)
    ((check,),) = (test["assert"] for test in suite_in(tmp_path)[1])
    assert check["type"] == "contains-json"


@pytest.mark.parametrize("technique", ["self_consistency_3", "self_check"])
def test_several_calls_are_refused_and_nothing_is_written(make: Make, tmp_path: Path, technique: str) -> None:
    with pytest.raises(ExportError, match="calls"):
        write_promptfoo(make(LARGE, "compact", technique=technique), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_several_predictors_are_refused(make: Make, task: LoadedTask, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="one prompt"):
        write_promptfoo(make(LARGE, "compact", of=replace(task, program=Notes()), demos=()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_protocol_and_a_parameter_that_is_a_template_are_refused(
    make: Make, task: LoadedTask, tmp_path: Path
) -> None:
    other = LARGE.model_copy(update={"name": "anthropic/claude", "engine": "auto"})
    with pytest.raises(ExportError, match="protocol"):
        write_promptfoo(make(other, "turns"), tmp_path)
    odd = LARGE.model_copy(
        update={"name": "openai/x", "engine": "auto", "api_base": "http://{{ env.HOST }}/v1"}
    )
    with pytest.raises(ExportError, match="template"):
        write_promptfoo(make(odd, "turns"), tmp_path)
    labels = replace(task, program=dspy.Predict(Templated))
    with pytest.raises(ExportError, match="template"):
        write_promptfoo(make(LARGE, "turns", of=labels), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_suite_without_dev_examples_is_refused(make: Make, task: LoadedTask, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="dev example"):
        write_promptfoo(make(LARGE, "turns", of=with_dev(task, [{"review": "file://secret.txt"}])), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_was_measured_on_is_in_a_suite(make: Make, task: LoadedTask, tmp_path: Path) -> None:
    empty = replace(task, dataset=Dataset(task.dataset.train, (), task.dataset.test, "f", 0, ()))
    with pytest.raises(ExportError, match="dev example"):
        write_promptfoo(make(LARGE, "turns", of=empty), tmp_path)


class Listener(BaseHTTPRequestHandler):
    """Notes what it is asked, and says "positive"."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({"path": self.path, **body})
        said = {"role": "assistant", "content": "positive"}
        content = json.dumps({"choices": [{"message": said, "text": "positive"}], "usage": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None: ...


@pytest.mark.skipif(shutil.which("promptfoo") is None, reason="promptfoo is not installed")
@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_promptfoo_itself_sends_the_measured_requests(
    make: Make, task: LoadedTask, tmp_path: Path, model: Model, rendering: str
) -> None:
    made = make(model, rendering, of=odd_task(task))
    write_promptfoo(made, tmp_path)
    handler = type("Noting", (Listener,), {"asked": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {
            "PROMPTFOO_DISABLE_TELEMETRY": "1",
            "PROMPTFOO_DISABLE_UPDATE": "1",
            "PROMPTFOO_CONFIG_DIR": str(tmp_path / "own"),
            "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "OPENAI_API_KEY": "none",
        }
        for command in (["validate"], ["eval", "--no-cache", "--no-table", "-o", "out.json"]):
            done = subprocess.run(
                ["promptfoo", *command, "-c", "promptfooconfig.yaml"],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            # It ends with 100 where a check failed.
            assert done.returncode in (0, 100), done.stdout + done.stderr
            assert "invalid" not in done.stdout.lower(), done.stdout
        server.shutdown()
    wanted = [measured(made, {"review": text}) for text in ODD]
    sent = parameters(tmp_path)
    assert len(handler.asked) == len(ODD)
    for asked in handler.asked:
        assert asked.pop("path") == (
            "/v1/completions" if rendering == "completion" else "/v1/chat/completions"
        )
        neutral = {"best_of": 1, "presence_penalty": 0, "frequency_penalty": 0}
        prompt = asked.pop("prompt", None)
        messages = asked.pop("messages", [{"role": "user", "content": prompt}])
        assert messages in wanted
        wanted.remove(messages)
        assert asked == sent | (neutral if rendering == "completion" else {})
    results = json.loads((tmp_path / "out.json").read_text())["results"]["results"]
    if rendering in ("completion", "compact", "turns"):
        assert [result["success"] for result in results] == [True] * len(ODD)


def parameters(folder: Path) -> dict[str, Any]:
    """What a suite sends beside messages."""
    (provider,) = suite_in(folder)[0]["providers"]
    config = dict(provider["config"])
    sent = config.pop("passthrough")
    for own in ("omitDefaults", "apiBaseUrl", "apiKeyRequired"):
        config.pop(own, None)
    return {"model": provider["id"].split(":", 2)[2], **sent, **config}
