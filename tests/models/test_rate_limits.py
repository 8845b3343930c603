"""Calls wait for their turn ahead of the provider's refusal, and never past the end of a study's time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from faults.server import FaultServer, read_log

from optimizers.errors import BudgetSpent, ModelError
from optimizers.models import rate_limits
from optimizers.models.lm import Call, Gate, language_model, metered
from optimizers.models.model import Model
from optimizers.models.resolve import model
from optimizers.models.sampling import Sampling


@pytest.fixture(autouse=True)
def short_minutes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A minute of one second, and counts of this test's own."""
    monkeypatch.setattr(rate_limits, "MINUTE", 1)
    rate_limits._counts.storage.reset()
    yield
    rate_limits.share_limits(1)


def ask(served: Model, times: int, gate: Gate | None = None) -> float:
    """Ask a model many times at once; returns seconds."""
    lm, start = language_model(served, Sampling(max_tokens=4)), time.monotonic()
    with metered(gate), ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(copy_context().run, lm, f"Review: {n} is good") for n in range(times)]
        for one in waiting:
            one.result()
    return time.monotonic() - start


def most_in_a_second(log: Path) -> int:
    times = sorted(entry["time"] for entry in read_log(log))
    return max(sum(1 for later in times if start <= later < start + 1) for start in times)


def test_calls_per_minute_are_kept(tmp_path: Path) -> None:
    with FaultServer(log=tmp_path / "log") as server:
        served = model("openai/large", api_base=server.address, price=(0.1, 0.2), rpm=10)
        seconds = ask(served, 32)
    assert seconds > 1.5
    # Ten each second; calls that waited for a busy machine may arrive with those of the next.
    assert most_in_a_second(tmp_path / "log") <= 20


def test_tokens_per_minute_are_kept(tmp_path: Path) -> None:
    with FaultServer(log=tmp_path / "log") as server:
        # A prompt counts for some 30 tokens with its reply.
        limited = model("openai/small", api_base=server.address, price=(0.1, 0.2), tpm=200)
        assert ask(limited, 20) > 1.5


def test_a_call_larger_than_a_minute_holds_goes_alone() -> None:
    with FaultServer() as server:
        served = model("openai/large", api_base=server.address, price=(0.1, 0.2), tpm=5)
        ask(served, 2)
        assert server.stats()["completed"] == 2


def test_processes_share_a_limit() -> None:
    rate_limits.share_limits(5)
    with FaultServer() as server:
        assert ask(model("openai/large", api_base=server.address, price=(0.1, 0.2), rpm=20), 12) > 1.5


class OutOfTime:
    """A gate whose time is up as soon as a call has to wait."""

    def open(self, model: Model, candidate: str | None, prompt: int | None, completion: int | None) -> int:
        return 0

    def check(self) -> None:
        raise BudgetSpent("seconds", "1s")

    def close(self, number: int, call: Call) -> None: ...

    def fail(self, number: int, *, refused: bool) -> None: ...


def test_nobody_waits_past_the_end_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MINUTE", 60)  # a short one may be over before the last call is made
    with FaultServer() as server:
        served = model("openai/large", api_base=server.address, price=(0.1, 0.2), rpm=4)
        with pytest.raises(BudgetSpent):
            ask(served, 16, OutOfTime())
        # Where a minute of the clock ends in between, one more may go.
        assert server.stats()["received"] in (4, 5)


def test_no_limit_below_one() -> None:
    with pytest.raises(ModelError, match="no call could be sent"):
        model("openai/gpt-4o-mini", rpm=0)


def test_a_limit_is_kept_in_the_record() -> None:
    served = model("openai/gpt-4o-mini", rpm=500, tpm=200_000)
    assert Model.model_validate_json(json.dumps(served.model_dump(mode="json"))) == served
