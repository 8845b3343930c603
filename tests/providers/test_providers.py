"""Providers one by one, by their documented wire format: what they are sent, what their replies mean."""

from __future__ import annotations

import fnmatch
import json
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from fakes import Classify, sentiment_dataset, sentiment_matches
from providers.answers import chat_answer, refusal, text_answer
from providers.errors import WAIT
from providers.server import Asked, Provider, Reply
from providers.wire import LIMIT, TEMPERATURE, TOP_P, WIRES, Wire

from optimizers.cli.doctor.servers import key_of
from optimizers.errors import EngineError, ModelError
from optimizers.evaluation.rollouts import run_rollouts
from optimizers.models.keys import key_variables, needs_key
from optimizers.models.lm import Call
from optimizers.models.model import Model
from optimizers.models.resolve import model
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.rows import Rollout

SAMPLED = Sampling(temperature=TEMPERATURE, top_p=TOP_P, max_tokens=LIMIT)
EXAMPLE = sentiment_dataset().dev[0]

STOPS = {
    "key": "a key that is valid for this model",
    "access": "a key that is valid for this model",
    "model": "correct the model's name",
    "credit": "credit of the account",
}
"""What stops a study, and what its message says to do."""

OUTCOMES: Mapping[str, tuple[frozenset[str | None], int]] = {
    "busy": (frozenset({"rate_limit"}), 2),
    "broken": (frozenset({"server"}), 2),
    "overloaded": (frozenset({"server"}), 2),
    "within": (frozenset({"server"}), 2),
    "page": (frozenset({"server"}), 2),
    "malformed": (frozenset({"server", "provider"}), 2),
    "long": (frozenset({"context_overflow"}), 1),
    "setting": (frozenset({"provider"}), 1),
    "filtered": (frozenset({None}), 1),
    "blocked": (frozenset({None}), 1),
}
"""What a rollout fails with, if that is a failure, and how often it is sent."""


class Book:
    """Lets every call through and keeps what it used."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refused: list[bool] = []

    def open(self, model: Model, candidate: str | None, prompt: int | None, completion: int | None) -> int:
        return 0

    def close(self, number: int, call: Call) -> None:
        self.calls.append(call)

    def fail(self, number: int, *, refused: bool) -> None:
        self.refused.append(refused)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds waited before another attempt; nobody waits in tests."""
    waited: list[float] = []
    monkeypatch.setattr("optimizers.models.lm.time.sleep", waited.append)
    return waited


@pytest.fixture(params=WIRES, ids=[wire.name for wire in WIRES])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Wire:
    served: Wire = request.param
    for name, value in served.environ.items():
        monkeypatch.setenv(name, value)
    return served


def declared(wire: Wire) -> Model:
    return model(wire.model, engine=wire.engine, **wire.settings)  # type: ignore[arg-type]


def run(served: Model, sampling: Sampling = SAMPLED, book: Book | None = None) -> Rollout:
    """One rollout of a candidate, as a study runs it."""
    candidate = Candidate(
        model=served.name,
        rendering="completion" if served.kind == "base" else "turns",
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Say whether it is good.")},
        sampling=sampling,
    )
    compiled = compile_candidate(Classify(), candidate, [served])
    known = {"model": served, "metric": sentiment_matches, "split": "dev", "gate": book}
    return run_rollouts(compiled, [EXAMPLE], **known)[0]  # type: ignore[arg-type]


def sent(provider: Provider) -> list[Asked]:
    """What was asked of the model. LiteLLM asks Ollama about it too, also from a thread of its own."""
    return [asked for asked in provider.asked if asked.path != "/api/show"]


def at(body: Any, path: str) -> Any:
    for step in path.split("."):
        body = body[int(step) if step.isdigit() else step]
    return body


def names_in(body: Any) -> set[str]:
    """Every name in a body, however deep."""
    if isinstance(body, dict):
        return set(body).union(*map(names_in, body.values()))
    return set().union(*map(names_in, body)) if isinstance(body, list) else set()


def secret_of(wire: Wire) -> str:
    """A key that is set, or what stands for it where none is."""
    return next(iter(wire.environ.values()), "KEY")


def said_by(wire: Wire, reply: Reply) -> Reply:
    """The reply, repeating the key that it was sent."""
    body = json.dumps(reply.body) if not isinstance(reply.body, str) else reply.body
    return Reply(reply.status, body.replace("KEY", secret_of(wire)), reply.headers)


def test_a_request_is_what_the_provider_documents(provider: Provider, wire: Wire) -> None:
    provider.reply = Reply(200, wire.answer("positive", "whole"))
    run(declared(wire))
    (asked,) = sent(provider)
    assert (asked.host, asked.path) == wire.address
    assert asked.query == wire.query
    for name, value in wire.auth.items():
        assert fnmatch.fnmatchcase(asked.headers[name], value), asked.headers[name]
    assert {path: at(asked.body, path) for path in wire.body} == wire.body
    assert not names_in(asked.body) & set(wire.never)
    assert ("seed" in names_in(asked.body)) != ("seed" in wire.never)
    assert secret_of(wire) not in (asked.path, *asked.query.values())
    assert EXAMPLE.review in json.dumps(asked.body)


def test_tokens_arrive_in_one_convention_and_are_billed(provider: Provider, wire: Wire) -> None:
    provider.reply = Reply(200, wire.answer("positive", "whole"))
    served, book = declared(wire), Book()
    rollout = run(served, book=book)
    assert rollout.parsed
    assert book.calls == [Call(prompt=100, cached=wire.cached, completion=30)]
    price = served.price
    cached = price.input if price.cached is None else price.cached
    bill = ((100 - wire.cached) * price.input + wire.cached * cached + 30 * price.output) / 1e6
    assert price.bill(100, wire.cached, 30) == pytest.approx(bill)
    assert rollout.cost == pytest.approx((100 * price.input + 30 * price.output) / 1e6)


def test_a_reply_cut_short_is_a_wrong_answer_with_its_tokens(provider: Provider, wire: Wire) -> None:
    provider.reply = Reply(200, wire.answer("posit", "cut"))
    rollout = run(declared(wire))
    assert (rollout.failure, rollout.score, rollout.parsed) == (None, 0.0, False)
    assert (rollout.prompt_tokens, rollout.completion_tokens) == (100, 30)


def test_a_filtered_reply_is_a_wrong_answer(provider: Provider, wire: Wire) -> None:
    provider.reply = Reply(200, wire.answer("", "filtered"))
    book = Book()
    rollout = run(declared(wire), book=book)
    assert (rollout.failure, rollout.score, rollout.parsed) == (None, 0.0, False)
    assert len(sent(provider)) == 1
    assert book.refused in ([], [False]), "it was written, and is paid for"


def test_greedy_decoding_sends_nothing_that_shapes_a_draw(provider: Provider, wire: Wire) -> None:
    provider.reply = Reply(200, wire.answer("positive", "whole"))
    run(declared(wire), Sampling(max_tokens=LIMIT))
    (asked,) = sent(provider)
    assert not names_in(asked.body) & {"top_p", "topP", "seed", "top_k"}


@pytest.mark.parametrize(
    ("wire", "kind"),
    [pytest.param(wire, kind, id=f"{wire.name}-{kind}") for wire in WIRES for kind in wire.errors],
    indirect=["wire"],
)
def test_an_error_is_taken_for_what_it_is(
    provider: Provider, wire: Wire, kind: str, waits: list[float]
) -> None:
    provider.reply = said_by(wire, wire.errors[kind])
    served, book = declared(wire), Book()
    if kind in STOPS:
        with pytest.raises(EngineError) as caught:
            run(served, book=book)
        said = str(caught.value)
        assert caught.value.where == wire.model
        assert STOPS[kind] in said
        assert not wire.environ or secret_of(wire) not in said
        assert len(sent(provider)) == 1
        assert book.refused == [True]
        return
    rollout = run(served, book=book)
    failures, times = OUTCOMES[kind]
    assert rollout.failure in failures, rollout.error
    assert len(sent(provider)) == times
    assert not wire.environ or secret_of(wire) not in (rollout.error or "")
    if rollout.failure is None:
        assert (rollout.score, rollout.parsed) == (0.0, False)
    if kind == "busy":
        asked = "Retry-After" in wire.errors[kind].headers or f"{WAIT}s" in json.dumps(wire.errors[kind].body)
        assert waits == [WAIT if asked else 1.0]


@pytest.mark.parametrize(
    "wire", [wire for wire in WIRES if wire.answer is chat_answer], ids=lambda wire: wire.name, indirect=True
)
def test_a_refusal_beside_an_empty_content_is_a_wrong_answer(provider: Provider, wire: Wire) -> None:
    provider.reply = Reply(200, refusal("", "whole"))
    rollout = run(declared(wire))
    assert (rollout.failure, rollout.score, rollout.parsed) == (None, 0.0, False)


def test_a_key_is_looked_for_where_it_is_documented(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    served = declared(wire)
    if wire.keys:
        assert key_variables(wire.model) == wire.keys
    held = [name for name in key_variables(wire.model) if name in wire.environ]
    assert bool(held) or not wire.auth
    variable, finding = key_of(served)
    assert finding.level == "ok"
    assert not held or variable == held[0]
    for name in held:
        monkeypatch.delenv(name)
    _, finding = key_of(served)
    assert finding.level == ("problem" if needs_key(served) else "ok")
    assert key_variables(wire.model)[0] in finding.found


@pytest.mark.parametrize(
    ("name", "address", "declared"),
    [
        ("openai/davinci-002", ("api.openai.com", "/v1/completions"), {}),
        ("openai/served", ("127.0.0.1:8080", "/v1/completions"), {"api_base": "http://127.0.0.1:8080/v1"}),
        ("hosted_vllm/served", ("localhost:8000", "/v1/completions"), {}),
        ("lm_studio/served", ("localhost:1234", "/v1/completions"), {}),
        ("together_ai/served", ("api.together.ai", "/v1/completions"), {}),
        ("fireworks_ai/served", ("api.fireworks.ai", "/inference/v1/completions"), {}),
    ],
)
def test_a_base_model_continues_exactly_the_text(
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    address: tuple[str, str],
    declared: dict[str, Any],
) -> None:
    for variable in ("OPENAI_API_KEY", "TOGETHERAI_API_KEY", "FIREWORKS_API_KEY"):
        monkeypatch.setenv(variable, "canary-of-base")
    provider.reply = Reply(200, text_answer(" positive"))
    book = Book()
    rollout = run(model(name, kind="base", price=(0.1, 0.2), **declared), book=book)
    assert rollout.output == {"sentiment": "positive"}
    assert book.calls == [Call(prompt=100, cached=40, completion=30)]
    (asked,) = sent(provider)
    assert (asked.host, asked.path) == address
    assert asked.body["prompt"].endswith(f"Review: {EXAMPLE.review}\nSentiment:")
    assert asked.body["max_tokens"] == LIMIT
    assert "\n" in "".join(asked.body["stop"])
    assert isinstance(asked.body["seed"], int)
    assert "messages" not in asked.body
    wants_key = needs_key(model(name, price=(0.1, 0.2), **declared)) or name.startswith("openai/")
    assert asked.headers["authorization"] == f"Bearer {'canary-of-base' if wants_key else 'none'}"


@pytest.mark.parametrize(
    "name", ["openrouter/x", "ollama/x", "azure/x", "bedrock/x", "anthropic/x", "gemini/x"]
)
def test_a_provider_that_would_make_a_conversation_of_the_text_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="continues text unchanged"):
        model(name, kind="base", price=(0.1, 0.2))


def test_no_address_but_the_servers_can_be_reached(provider: Provider) -> None:
    with pytest.raises(PermissionError), socket.socket() as alone:
        alone.connect(("192.0.2.1", 443))
