"""From a Model to the dspy.LM that serves it, and the meter that reads its calls."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.lm15 import Response, Usage

from optimizers.candidate import Sampling
from optimizers.models.llama import llama_engine
from optimizers.models.model import Model
from optimizers.models.text_completion import TextCompletionEngine

RETRIES = 2
"""Times a transient provider error is retried, by DSPy's LM layer and nowhere else."""

_METER = "parity_meter"
_CACHE_APART = frozenset({"anthropic", "bedrock"})
_REASONING_APART = frozenset({"gemini", "vertex_ai", "vertex", "xai"})


@dataclass(frozen=True)
class Call:
    """Tokens of one model call.

    Attributes:
        prompt: Tokens read, cached ones included; None when the server does not say.
        cached: Of those, tokens from a prefix cache.
        completion: Tokens generated, reasoning included; None when the server does not say.
    """

    prompt: int | None
    cached: int
    completion: int | None


@dataclass
class Meter:
    """Collects the calls made while :func:`metered` is open, from any thread DSPy starts."""

    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, calls: list[Call]) -> None:
        """Record finished calls."""
        with self._lock:
            self.calls.extend(calls)


@contextmanager
def metered() -> Iterator[Meter]:
    """Read every call that MeteredLMs make inside the block."""
    meter = Meter()
    with dspy.context(**{_METER: meter, "disable_history": False}):
        yield meter


class MeteredLM(dspy.LM):  # type: ignore[misc]
    """A dspy.LM whose calls are read by the open meter rather than piling up in histories."""

    def update_history(self, entry: dict[str, Any]) -> None:
        """Hand the finished call to the meter; without one, keep DSPy's histories."""
        meter = dspy.settings.get(_METER)
        if meter is None:
            super().update_history(entry)
            return
        responses = entry["response"]
        if isinstance(responses, Response):
            responses = [responses]
        provider = self.model.partition("/")[0]
        meter.add([_call(response.usage, provider) for response in responses])


def _call(usage: Usage, provider: str) -> Call:
    """Usage in one convention: providers differ on whether totals hold cached and reasoning tokens."""
    prompt, completion = usage.input_tokens, usage.output_tokens
    cached = usage.cache_read_tokens or 0
    if prompt is not None and provider in _CACHE_APART:
        prompt += cached + (usage.cache_write_tokens or 0)
    if completion is not None and provider in _REASONING_APART:
        completion += usage.reasoning_tokens or 0
    return Call(prompt=prompt, cached=cached, completion=completion)


def language_model(model: Model, sampling: Sampling | None = None, *, measured: bool = True) -> dspy.LM:
    """The dspy.LM that serves a model.

    Args:
        model: What to serve.
        sampling: Settings of every call, or None for the provider's own defaults.
        measured: Read by meters and past DSPy's cache, as the search needs it. False gives
            a plain dspy.LM, as an export needs it.
    """
    settings: dict[str, Any] = {}
    if sampling is not None:
        settings = {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens}
        if sampling.temperature > 0:
            settings["top_p"] = sampling.top_p
    if model.engine == "llama":
        settings["engine"] = llama_engine(model)
    elif model.kind == "base":
        settings["engine"] = TextCompletionEngine(model.name, model.api_base)
    else:
        settings["engine"] = model.engine
        settings |= _connection(model)
    if measured:
        return MeteredLM(model.name, cache=False, num_retries=RETRIES, **settings)
    return dspy.LM(model.name, num_retries=RETRIES, **settings)


def _connection(model: Model) -> dict[str, Any]:
    if model.api_base is None:
        return {}
    key = f"{model.name.partition('/')[0].upper()}_API_KEY"
    # Servers on one's own machine ask for no key, but the clients insist on one.
    return {"api_base": model.api_base} | ({} if key in os.environ else {"api_key": "none"})
