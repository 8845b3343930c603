"""The export benchmark: differences between a tool and the direct run are counted and named."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from benchmarks import exports
from benchmarks.export_direct import DirectRun, PredictorRun
from benchmarks.export_tools import Use, free_port, started
from benchmarks.exports import Chosen, compared, leaked

CHOSEN = cast(Chosen, SimpleNamespace(target="openai", kind="chat", notes=""))


def row(identity: str, reply: str) -> DirectRun:
    messages = [{"role": "user", "content": identity}]
    body = {"messages": messages, "temperature": 0.0, "cache_prompt": True}
    step = PredictorRun("classify", {"review": identity}, {"sentiment": reply}, body, reply)
    return DirectRun(identity, {"review": identity}, {"sentiment": reply}, 1.0, (step,))


def sent(content: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}]} | more


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_named", lambda chosen: "a point")


def test_replies_messages_and_settings_are_told_apart() -> None:
    rows = [row("a", "positive"), row("b", "negative")]
    found = {"rows": [{"replies": ["positive"]}, {"replies": ["negative "]}], "passed": [True, False]}
    requests = [sent("a", temperature=0.0), sent("b ", temperature=0.5, best_of=1)]
    outcome = compared(CHOSEN, rows, found, requests, "tool 1")
    assert (outcome.rows, outcome.same, outcome.alike, outcome.requests) == (2, 1, 1, 2)
    for text in ("example b", "differ: temperature", "also sent: best_of", "judge 1 of 2"):
        assert text in outcome.notes


def test_a_tool_that_asks_another_number_of_times_is_named_and_not_compared() -> None:
    found = {"rows": [{"values": [{"sentiment": "positive"}]}]}
    outcome = compared(CHOSEN, [row("a", "positive")], found, [sent("a"), sent("a")], "tool 1")
    assert (outcome.same, outcome.alike) == (1, None)
    assert "2 requests rather than 1" in outcome.notes


def test_a_tool_that_gives_nothing_has_no_identical_output() -> None:
    assert compared(CHOSEN, [row("a", "positive")], {"rows": [{}]}, [], "tool 1").same == 0


def test_a_dev_example_in_a_fine_tuning_file_is_found(tmp_path: Path) -> None:
    def exported(*texts: str) -> Any:
        kept = [SimpleNamespace(inputs=lambda text=text: {"review": text}) for text in texts]
        signature = SimpleNamespace(input_fields={"review": None})
        module = SimpleNamespace(predictors=lambda: [SimpleNamespace(signature=signature)])
        dataset = SimpleNamespace(dev=kept, test=[])
        return SimpleNamespace(compiled=SimpleNamespace(module=module), task=SimpleNamespace(dataset=dataset))

    line = {"prompt": "Say which.\n\nReview: a very good buy.\nSentiment:", "completion": " positive"}
    (tmp_path / "train.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert leaked(exported("good buy.", "bad."), tmp_path) == 0
    assert leaked(exported("a very\ngood buy."), tmp_path) == 1


def test_a_server_and_its_children_are_ended(tmp_path: Path) -> None:
    use = Use(tmp_path, tmp_path, "")
    use.export.mkdir()
    port = free_port()
    serve = f"{sys.executable} -m http.server --bind 127.0.0.1 {port} & echo $! > child; wait"
    with started(["bash", "-c", serve], use, dict(os.environ), f"http://127.0.0.1:{port}/"):
        child = int((use.export / "child").read_text())
        os.kill(child, 0)
    for _ in range(50):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    pytest.fail("the child is still there")
