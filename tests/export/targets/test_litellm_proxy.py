"""LiteLLM configurations: the measured model and parameters by the task's name, and its messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import litellm
import pytest
import yaml
from fakes import EXPORTED_AS, LARGE, FakeEngine, Make, Notes, exported_of
from pydantic import BaseModel

from optimizers.errors import ExportError
from optimizers.export.point import AWKWARD, Exported
from optimizers.export.targets.litellm_proxy import write_litellm
from optimizers.export.targets.openai_requests import render
from optimizers.models.model import Model
from optimizers.task.task import LoadedTask

INJECTED = "Say which. {% raw %} {# gone #} {{ env.HOME }} os.environ/HOME\n---\nUser: it is !!python/x: [a"


class Line(BaseModel):
    """A product with how many of it."""

    product: str
    quantity: int


class Extract(dspy.Signature):
    """Read the order."""

    review: str = dspy.InputField()
    line: Line = dspy.OutputField()
    note: str = dspy.OutputField()


@pytest.fixture
def make(task: LoadedTask, engines: dict[str, FakeEngine]) -> Make:
    """A point of a task, of whose predictors all have the same prompt."""

    def made(
        model: Model, rendering: str, *, of: LoadedTask = task, technique: str = "direct", **study: Any
    ) -> Exported:
        return exported_of(of, model, rendering, technique=technique, study=study, instruction=INJECTED)

    return made


def loaded(folder: Path) -> Any:
    return yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))


def asked_of(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> dict[str, Any]:
    """What the proxy's router hands to LiteLLM for a request of this name. Nothing is called."""
    seen: dict[str, Any] = {}

    def note(**kwargs: Any) -> Any:
        seen.update(kwargs)
        return litellm.ModelResponse()

    monkeypatch.setattr(litellm, "completion", note)
    router = litellm.Router(model_list=loaded(folder)["model_list"])
    router.completion(model=name, messages=[{"role": "user", "content": "x"}])
    return seen


@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_a_router_hands_on_the_measured_parameters(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, rendering: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of the environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    write_litellm(make(model, rendering), tmp_path)
    sent = asked_of(monkeypatch, tmp_path, "reviews")
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (60, 0.3, 0.9)
    assert (sent["api_key"], sent["api_base"]) == ("of the environment", "http://127.0.0.1:9/v1")
    provider = "text-completion-openai" if rendering == "completion" else "openai"
    assert litellm.get_llm_provider(sent["model"])[:2] == (model.name.removeprefix("local/"), provider)
    assert sent["extra_body"]["top_k"] == 0
    if rendering in ("completion", "compact", "turns"):
        assert sent["stop"] == ["\n"]
        assert "positive" in sent["extra_body"]["grammar"]
    if rendering == "json_object":
        assert sent["response_format"]["json_schema"]["schema"]["required"] == ["sentiment"]


@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_the_messages_beside_are_those_measured_and_no_key_is_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, rendering: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    made = make(model, rendering)
    config, template = write_litellm(made, tmp_path)
    content = json.loads(template.read_text(encoding="utf-8"))
    predictor = made.compiled.module.predict
    for text in AWKWARD:
        wanted = made.compiled.adapter().format(predictor.signature, [], {"review": text})
        assert render(content, {"review": text}) == wanted
    assert content["parameters"] == {"model": "reviews"}
    assert "os.environ/OPENAI_API_KEY" in config.read_text(encoding="utf-8")
    assert not any("sk-secret-value" in path.read_text(encoding="utf-8") for path in tmp_path.iterdir())


def test_each_predictor_has_a_name_of_its_own(
    make: Make, task: LoadedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_litellm(make(LARGE, "turns", of=replace(task, program=Notes())), tmp_path)
    assert {path.name for path in written} == {"config.yaml", "take.json", "judge.json"}
    assert [entry["model_name"] for entry in loaded(tmp_path)["model_list"]] == [
        "reviews-take",
        "reviews-judge",
    ]
    assert asked_of(monkeypatch, tmp_path, "reviews-judge")["stop"] == ["\n"]


def test_outputs_that_are_records_keep_their_schema(
    make: Make, task: LoadedTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_litellm(make(LARGE, "json_object", of=replace(task, program=dspy.Predict(Extract))), tmp_path)
    sent = asked_of(monkeypatch, tmp_path, "reviews")
    schema = sent["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["line", "note"]
    assert "quantity" in json.dumps(schema)


def test_a_providers_model_keeps_its_address_and_leaves_keys_to_litellm(make: Make, tmp_path: Path) -> None:
    other = LARGE.model_copy(
        update={"name": "anthropic/claude-x", "engine": "litellm", "api_base": "http://127.0.0.1:9"}
    )
    write_litellm(make(other, "turns", task="My task: {{ v }} !"), tmp_path)
    (entry,) = loaded(tmp_path)["model_list"]
    assert entry["model_name"] == "My-task-v"
    assert entry["litellm_params"]["model"] == "anthropic/claude-x"
    assert entry["litellm_params"]["api_base"] == "http://127.0.0.1:9"
    assert "api_key" not in entry["litellm_params"]


def test_ollamas_address_is_the_one_that_litellm_puts_its_path_behind(make: Make, tmp_path: Path) -> None:
    own = LARGE.model_copy(
        update={"name": "ollama_chat/x", "engine": "lm15", "api_base": "http://127.0.0.1:11434/v1"}
    )
    write_litellm(make(own, "turns"), tmp_path)
    (entry,) = loaded(tmp_path)["model_list"]
    assert entry["litellm_params"]["api_base"] == "http://127.0.0.1:11434"


@pytest.mark.parametrize("technique", ["self_consistency_3", "self_check"])
def test_several_calls_are_refused_and_nothing_is_written(make: Make, tmp_path: Path, technique: str) -> None:
    with pytest.raises(ExportError, match="calls"):
        write_litellm(make(LARGE, "compact", technique=technique), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_names_a_variable_is_refused(make: Make, tmp_path: Path) -> None:
    odd = LARGE.model_copy(update={"name": "openai/x", "engine": "auto", "api_base": "os.environ/HOME"})
    with pytest.raises(ExportError, match="variable"):
        write_litellm(make(odd, "turns"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_programs_that_pick_of_several_replies_are_refused(
    make: Make, task: LoadedTask, tmp_path: Path
) -> None:
    best = dspy.BestOfN(dspy.Predict("review -> sentiment"), N=2, reward_fn=lambda a, p: 1.0, threshold=1.0)
    with pytest.raises(ExportError, match="picks one"):
        write_litellm(make(LARGE, "turns", of=replace(task, program=best)), tmp_path)
    assert list(tmp_path.iterdir()) == []
