"""Several servers as one model: the load is spread, a dead one is passed by, and every call is counted."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from dspy.lm15 import Message, RateLimitError, Request, ServerError
from dspy.utils.exceptions import LMAuthError
from faults.server import Faults, FaultServer

from optimizers.errors import ModelError
from optimizers.models.fleet import FleetEngine
from optimizers.models.lm import Call, language_model, metered
from optimizers.models.model import Model
from optimizers.models.provider_errors import asked_to_wait
from optimizers.models.resolve import model, parse_model
from optimizers.models.sampling import Sampling


def ask(served: Model, times: int, threads: int) -> list[Call]:
    """Ask a model, several calls at once; returns what was metered."""
    lm = language_model(served, Sampling(max_tokens=8))

    def once(number: int) -> str:
        text = f"Review: order {number} is good\nSentiment:"
        return str(lm(text)[0])

    with metered() as meter, ThreadPoolExecutor(threads) as pool:
        replies = [pool.submit(copy_context().run, once, number) for number in range(times)]
        assert all("positive" in reply.result() or "negative" in reply.result() for reply in replies)
    return [call for _, call in meter.calls]


def fleet(*addresses: str, **declared: Any) -> Model:
    return model("openai/large", api_base=list(addresses), price=(0.1, 0.2), **declared)


@pytest.mark.parametrize("kind", ["chat", "base"])
def test_calls_go_to_all_servers_and_are_metered(kind: Any) -> None:
    random.seed(0)  # LiteLLM draws the server of a base model's call
    with (
        FaultServer(latency=0.02) as one,
        FaultServer(latency=0.02) as two,
        FaultServer(latency=0.02) as three,
    ):
        calls = ask(fleet(one.address, two.address, three.address, kind=kind), 60, 12)
        received = [server.stats()["received"] for server in (one, two, three)]
    assert len(calls) == sum(received) == 60
    assert min(received) >= 8
    assert all(call.prompt and call.completion for call in calls)


def test_the_busier_server_gets_less() -> None:
    with FaultServer(latency=0.01) as fast, FaultServer(latency=0.5) as slow:
        ask(fleet(fast.address, slow.address), 60, 6)
        received = {"fast": fast.stats()["received"], "slow": slow.stats()["received"]}
    assert received["fast"] > 2 * received["slow"]


def test_a_server_that_fails_is_passed_by_and_its_calls_are_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("optimizers.models.lm._wait", lambda error: 0.0)
    with FaultServer() as well, FaultServer(Faults(rate=1.0, kinds=("500",))) as ill:
        calls = ask(fleet(ill.address, well.address), 40, 1)
        assert len(calls) == 40
        assert well.stats()["completed"] == 40
        assert 1 <= ill.stats()["received"] <= 12


@pytest.mark.parametrize("kind", ["chat", "base"])
def test_the_key_is_sent_to_every_kind_of_server(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-test")
    refused = Faults(rate=1.0, kinds=("401",))
    with (
        FaultServer(refused) as one,
        FaultServer(refused) as two,
        pytest.raises(LMAuthError, match="sk-of-this"),
    ):
        ask(fleet(one.address, two.address, kind=kind), 1, 1)


def test_where_all_servers_rest_the_time_to_wait_is_known() -> None:
    failing = Faults(rate=1.0, kinds=("500",))
    with FaultServer(failing) as one, FaultServer(failing) as two:
        engine = FleetEngine("openai/large", [one.address, two.address])
        request = Request(model="openai/large", messages=(Message.user("Say yes."),))
        for _ in range(2):
            with pytest.raises(ServerError):
                engine.complete(request)
        with pytest.raises(RateLimitError) as error:
            engine.complete(request)
        assert one.stats()["received"] + two.stats()["received"] == 2
    assert 0 < (asked_to_wait(error.value) or 0) <= 5


def test_addresses_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ModelError, match="twice"):
        fleet("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1")
    with pytest.raises(ModelError, match="native engine"):
        fleet("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1", engine="lm15")
    with pytest.raises(ModelError, match="holds a key"):
        fleet("http://127.0.0.1:1/v1", "http://user:secret-word@127.0.0.1:2/v1")
    with pytest.raises(ModelError, match="no address"):
        model("local/gemma-3-270m", api_base="http://127.0.0.1:1/v1")


def test_further_servers_are_given_again_on_the_command_line() -> None:
    found = parse_model("openai/m,api_base=http://a/v1,api_base=http://b/v1,price=0.1,rpm=600,tpm=90000")
    assert (found.api_base, found.replicas) == ("http://a/v1", ("http://b/v1",))
    assert (found.rpm, found.tpm, found.concurrency) == (600, 90_000, 16)
