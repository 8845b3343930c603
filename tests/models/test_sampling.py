"""Sampling parameters: what is stored of them, what a model is declared to take, what reaches a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import dspy
import pytest
from dspy.lm15 import Config, Message, Request
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import ModelError
from optimizers.export.single_request import parameters_of
from optimizers.models.from_lm import model_of
from optimizers.models.llama import _body, llama_engine
from optimizers.models.lm import bounds, language_model
from optimizers.models.model import LLAMA_ACCEPTS, Model
from optimizers.models.resolve import model, parse_model
from optimizers.models.sampling import Sampling
from optimizers.prompting.renderings import rendering
from optimizers.prompting.renderings.rendering import Prompt
from optimizers.records.candidate import Candidate

LOCAL = "local/smollm2-135m-instruct"
EVERY = {"top_k": 5, "min_p": 0.25, "repetition_penalty": 1.5}
DRAWN = Sampling(temperature=0.75, top_p=0.5, max_tokens=32, **EVERY)
GREEDY = DRAWN.model_copy(update={"temperature": 0.0})

fractions = st.floats(min_value=0, max_value=1, exclude_min=True)
samplings = st.builds(
    Sampling,
    temperature=st.floats(min_value=0, max_value=2),
    top_p=fractions,
    max_tokens=st.integers(1, 10_000),
    top_k=st.none() | st.integers(1, 1000),
    min_p=st.none() | fractions,
    repetition_penalty=st.none() | st.floats(min_value=0.5, max_value=2),
    reasoning_effort=st.none() | st.sampled_from(["none", "low", "high"]),
)


class Sentiment(dspy.Signature):
    """Say whether a review is positive or negative."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


@given(samplings)
def test_a_sampling_is_read_back_as_it_was_written(sampling: Sampling) -> None:
    assert Sampling.model_validate_json(sampling.model_dump_json()) == sampling
    assert Sampling.model_validate(sampling.model_dump()) == sampling
    assert None not in sampling.model_dump().values()


def test_what_is_not_used_leaves_the_id_of_a_candidate_alone() -> None:
    choices: dict[str, Any] = {"model": "m", "rendering": "turns", "technique": "direct", "predictors": {}}
    plain = Candidate(**choices)
    assert plain.id == "d7b0abf02519"  # as it was when temperature, top_p and max_tokens were all there was
    assert Candidate(**choices, sampling=Sampling(top_k=3)).id != plain.id


@pytest.mark.parametrize(
    ("sampling", "shown"),
    [
        (Sampling(top_k=3, min_p=0.1), ""),
        (Sampling(temperature=0.7, min_p=0.1), "t=0.7 top_p=1 min_p=0.1"),
        (Sampling(repetition_penalty=1.1, reasoning_effort="low"), "repetition_penalty=1.1 effort=low"),
    ],
)
def test_a_summary_names_what_has_an_effect(sampling: Sampling, shown: str) -> None:
    candidate = Candidate(model="m", rendering="turns", technique="direct", predictors={}, sampling=sampling)
    assert candidate.summary.endswith(f", {shown}" if shown else "direct")


# What a model is declared, or known, to take.


def test_an_engine_of_this_process_is_known_even_to_an_older_record() -> None:
    declared = model(LOCAL)
    older = declared.model_dump(exclude={"accepts", "reasoning_efforts", "takes_temperature"})
    assert Model.model_validate(older) == declared
    assert declared.accepts == LLAMA_ACCEPTS


def test_a_model_is_read_back_as_it_was_written() -> None:
    declared = parse_model("openai/x,price=1/2,accepts=top_k/min_p,reasoning_efforts=high/low")
    assert declared.accepts == {"top_k", "min_p", "reasoning_effort"}
    assert declared.reasoning_efforts == ("low", "high")
    assert Model.model_validate_json(declared.model_dump_json()) == declared
    assert json.loads(declared.model_dump_json())["accepts"] == ["min_p", "reasoning_effort", "top_k"]


@pytest.mark.parametrize(
    ("name", "efforts", "takes_temperature"),
    [
        ("openai/gpt-5-mini", ("minimal", "low", "medium", "high"), False),
        ("openai/gpt-5.2", ("none", "low", "medium", "high", "xhigh"), False),
        ("openai/o3-mini", ("low", "medium", "high"), False),
        ("openai/gpt-5-chat-latest", (), True),  # the map says that it reasons; it takes no effort
        ("openai/gpt-4o-mini", (), True),
        ("anthropic/claude-sonnet-4-5", ("low", "medium", "high"), True),
        ("anthropic/claude-opus-4-7", ("low", "medium", "high", "xhigh", "max"), False),
        ("groq/openai/gpt-oss-20b", ("low", "medium", "high"), True),
        ("groq/qwen/qwen3.8-27b", (), True),  # it reasons, at levels the map does not know
        ("moonshot/kimi-k3", ("low", "high", "max"), True),
    ],
)
def test_the_cost_map_knows_reasoning_models(
    name: str, efforts: tuple[str, ...], takes_temperature: bool
) -> None:
    found = model(name, price=(1, 2))
    assert found.reasoning_efforts == efforts
    assert ("reasoning_effort" in found.accepts) == bool(efforts)
    assert found.takes_temperature == takes_temperature


def test_a_declaration_is_worth_more_than_the_map() -> None:
    assert model("openai/gpt-5-mini", reasoning_efforts=()).reasoning_efforts == ()
    own = model("openai/mine", price=(1, 2), accepts=["reasoning_effort"])
    assert own.reasoning_efforts == ("low", "medium", "high")


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"accepts": ["topk"]}, "'topk' is no sampling parameter"),
        ({"accepts": "top_k"}, "'top_k' is no sampling parameter.*list"),
        ({"reasoning_efforts": ["low", "much"]}, "'much' is no reasoning effort"),
        ({"kind": "base", "reasoning_efforts": ["low"]}, "does not reason"),
    ],
)
def test_a_wrong_declaration_is_named(declared: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=f"(?s){told}"):
        model("openai/mine", price=(1, 2), **declared)
    with pytest.raises(ModelError, match="local model"):
        model(LOCAL, accepts=["top_k"])


def test_a_language_model_of_a_users_takes_what_he_sets() -> None:
    found = model_of(dspy.LM("openai/gpt-4o-mini", top_k=20, reasoning_effort="high"))
    assert found.accepts == {"top_k", "reasoning_effort"}
    assert found.reasoning_efforts == ("high",)
    assert model_of(dspy.LM("openai/gpt-5-mini", reasoning_effort="low")).reasoning_efforts[0] == "minimal"


@pytest.mark.parametrize("sampling", [Sampling(top_k=3), Sampling(reasoning_effort="low")])
def test_what_a_model_does_not_take_is_refused_before_any_call(sampling: Sampling) -> None:
    with pytest.raises(ModelError, match="does not take"):
        language_model(model("openai/gpt-4o-mini"), sampling)
    with pytest.raises(ModelError, match="does not take reasoning_effort xhigh"):
        language_model(model("openai/gpt-5-mini"), Sampling(reasoning_effort="xhigh"))


# What reaches a server.


class _Echo(BaseHTTPRequestHandler):
    """Answers in the asked endpoint's format and keeps what it was sent."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        choice = {"index": 0, "finish_reason": "stop", "text": "x"}
        choice["message"] = {"role": "assistant", "content": "x"}
        reply: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "x"}
        reply |= {"choices": [choice], "usage": usage}
        if self.path.endswith("/messages"):
            reply = {"id": "1", "type": "message", "role": "assistant", "model": "x"}
            reply |= {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
            reply["usage"] = {"input_tokens": 3, "output_tokens": 2}
        sent = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A server on loopback whose ``bodies`` are what it was sent."""
    http: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    http.bodies = []
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield http
    http.shutdown()
    http.server_close()


def arrives(server: Any, name: str, sampling: Sampling, rendered: str, **declared: Any) -> dict[str, Any]:
    """The settings of the one request that a rendering makes with a sampling, without its text."""
    address = f"http://127.0.0.1:{server.server_port}/v1"
    served = model(name, price=(1, 2), api_base=address, **declared)
    lm = language_model(served, sampling)
    server.bodies.clear()
    with pytest.raises(dspy.utils.exceptions.AdapterParseError):
        rendering(rendered, seed=7)(lm, {}, Sentiment, [], {"review": "fine"})
    (body,) = server.bodies
    unsaid = ("messages", "prompt", "system", "n", "stream", "response_format", "stop", "output_config")
    return {key: value for key, value in body.items() if key not in unsaid}


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("rendered", ["turns", "dspy_chat"])
def test_a_chat_server_gets_every_parameter(server: Any, engine: str, rendered: str) -> None:
    declared: dict[str, Any] = {"engine": engine, "accepts": list(EVERY), "reasoning_efforts": ["low"]}
    thinking = DRAWN.model_copy(update={"reasoning_effort": "low"})
    known = {"model": "mine", "max_tokens": 32 + 16_384, "reasoning_effort": "low"}
    assert arrives(server, "openai/mine", thinking, rendered, **declared) == {
        **known, **EVERY, "temperature": 0.75, "top_p": 0.5, "seed": 7
    }  # fmt: skip
    greedy = thinking.model_copy(update={"temperature": 0.0})
    assert arrives(server, "openai/mine", greedy, rendered, **declared) == {
        **known, "temperature": 0.0, "repetition_penalty": 1.5
    }  # fmt: skip


def test_a_text_completion_server_gets_every_parameter(server: Any) -> None:
    declared: dict[str, Any] = {"kind": "base", "accepts": list(EVERY)}
    known = {"model": "mine", "max_tokens": 32}
    assert arrives(server, "openai/mine", DRAWN, "completion", **declared) == {
        **known, **EVERY, "temperature": 0.75, "top_p": 0.5, "seed": 7
    }  # fmt: skip
    assert arrives(server, "openai/mine", GREEDY, "completion", **declared) == {
        **known, "temperature": 0.0, "repetition_penalty": 1.5
    }  # fmt: skip


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_model_that_fixes_its_sampling_is_sent_none(server: Any, engine: str, temperature: float) -> None:
    sampling = Sampling(temperature=temperature, max_tokens=32, reasoning_effort="minimal")
    assert arrives(server, "openai/gpt-5-mini", sampling, "turns", engine=engine) == {
        "model": "gpt-5-mini", "max_completion_tokens": 32 + 16_384, "reasoning_effort": "minimal"
    }  # fmt: skip
    off = Sampling(max_tokens=32, reasoning_effort="none")
    assert arrives(server, "openai/gpt-5.1", off, "turns", engine=engine)["reasoning_effort"] == "none"


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_claude_is_sent_no_temperature_while_it_thinks(server: Any, engine: str) -> None:
    name, sampling = "anthropic/claude-sonnet-4-5", Sampling(max_tokens=32, reasoning_effort="high")
    body = arrives(server, name, sampling, "turns", engine=engine)
    assert body["thinking"]["budget_tokens"] > 0
    assert "temperature" not in body
    lm = language_model(model(name), sampling)
    config = Config(max_tokens=lm.kwargs["max_tokens"], reasoning=dspy.lm15.Reasoning(effort="high"))
    most = bounds(lm, Request(model=name, messages=(Message.user("x"),), config=config), None, {})[1]
    assert most is not None
    assert body["max_tokens"] <= most
    assert arrives(server, name, Sampling(max_tokens=32), "turns", engine=engine)["temperature"] == 0.0


def test_what_a_reasoning_model_may_think_is_reserved() -> None:
    lm = language_model(model("openai/gpt-5-mini"), Sampling(max_tokens=32))
    assert bounds(lm, "x", None, {})[1] == 32 + 16_384
    small = model("openai/mine", price=(1, 2), reasoning_efforts=["none", "low"], context=4096)
    assert bounds(language_model(small, Sampling(max_tokens=32)), "x", None, {})[1] == 32 + 2048
    none = Sampling(max_tokens=32, reasoning_effort="none")
    assert bounds(language_model(small, none), "x", None, {})[1] == 32


def test_an_exported_request_holds_what_the_server_is_sent() -> None:
    prompt = Prompt(messages=(("user", "x"),))
    able = frozenset({"grammar", "schema"})
    assert parameters_of(model("openai/gpt-5-mini"), Sampling(reasoning_effort="low"), prompt, able) == {
        "model": "gpt-5-mini", "max_completion_tokens": 256 + 16_384, "reasoning_effort": "low"
    }  # fmt: skip
    assert parameters_of(model(LOCAL), Sampling(temperature=0.75, repetition_penalty=1.5), prompt, able) == {
        "model": "smollm2-135m-instruct", "max_tokens": 256, "temperature": 0.75, "top_p": 1.0, "top_k": 0,
        "min_p": 0.0, "repeat_penalty": 1.5,
    }  # fmt: skip


def test_an_exported_request_names_the_limit_as_the_measured_one() -> None:
    own = model(
        "openai/gpt-oss:20b",
        price=(1, 1),
        api_base="http://127.0.0.1:11434/v1",
        reasoning_efforts=["low", "high"],
    )
    sent = parameters_of(
        own, Sampling(max_tokens=32, reasoning_effort="low"), Prompt(messages=(("user", "x"),)), frozenset()
    )
    assert sent["max_tokens"] > 32
    assert "max_completion_tokens" not in sent


def test_an_exported_request_has_no_constraint_that_the_measured_one_had_not() -> None:
    prompt = Prompt(
        messages=(("user", "x"),), stop=("\n",), grammar='root ::= "x"', schema={"type": "object"}
    )
    plain = parameters_of(model("openai/gpt-5-mini"), Sampling(), prompt, frozenset())
    assert plain.keys() == {"model", "max_completion_tokens"}
    strict = parameters_of(model("openai/gpt-5-mini"), Sampling(), prompt, frozenset({"schema"}))
    assert strict["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert not {"grammar", "stop"} & strict.keys()
    whole = parameters_of(model(LOCAL), Sampling(), prompt, frozenset({"grammar", "schema"}))
    assert whole["grammar"] == prompt.grammar
    assert whole["stop"] == ["\n"]


# llama.cpp.


def local(sampling: Sampling, **extensions: Any) -> Request:
    """What the llama engine gets of a sampling, in one raw prompt."""
    lm = language_model(model(LOCAL), sampling)
    settings = {key: value for key, value in lm.kwargs.items() if value is not None}
    beside = {key: settings.pop(key) for key in ("min_p", "repetition_penalty") if key in settings}
    config = Config(**settings, seed=3, extensions={"raw": True} | beside | extensions)
    return Request(model=LOCAL, messages=(Message.user("The day was long, and the day was"),), config=config)


def test_what_is_not_set_is_off_in_llama_cpp() -> None:
    names = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")

    def sent(sampling: Sampling) -> dict[str, Any]:
        return {key: value for key, value in _body(local(sampling)).items() if key in names}

    plain = {"temperature": 0.75, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    assert sent(Sampling(temperature=0.75)) == plain
    assert sent(DRAWN) == {**plain, "top_p": 0.5, "top_k": 5, "min_p": 0.25, "repeat_penalty": 1.5}
    assert sent(GREEDY) == {"temperature": 0.0, "repeat_penalty": 1.5}
    assert sent(Sampling()) == {"temperature": 0.0}


@pytest.fixture(scope="module")
def replies() -> Any:
    """Answers of SmolLM2 to one raw prompt, by sampling."""
    engine = llama_engine(model(LOCAL))
    return lambda sampling: engine.complete(local(sampling)).text


@pytest.mark.model
def test_a_draw_from_one_token_is_greedy(replies: Any) -> None:
    greedy = replies(Sampling(max_tokens=16))
    hot = Sampling(temperature=1.5, max_tokens=16)
    assert replies(hot) != greedy
    assert replies(hot.model_copy(update={"top_k": 1})) == greedy
    assert replies(hot.model_copy(update={"min_p": 1.0})) == greedy
    assert replies(Sampling(max_tokens=16, top_k=3, min_p=0.5)) == greedy


@pytest.mark.model
def test_a_penalty_changes_a_reply_that_repeats_itself(replies: Any) -> None:
    greedy = replies(Sampling(max_tokens=16))
    assert replies(Sampling(max_tokens=16, repetition_penalty=1.0)) == greedy
    assert replies(Sampling(max_tokens=16, repetition_penalty=2.0)) != greedy
