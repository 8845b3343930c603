"""From a Model to the dspy.LM that serves it, and the meter that reads its calls."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import dspy
from dspy.lm15 import Request, Response
from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    LMProviderError,
    LMRateLimitError,
    is_retryable_lm_error,
)

from optimizers.errors import ModelError, ParityError
from optimizers.models.fleet import FleetEngine
from optimizers.models.keys import KEY_GIVEN, held_variable, key_variables, litellm_address
from optimizers.models.llama import llama_engine
from optimizers.models.model import ACCEPTABLE, DRAWN, Model
from optimizers.models.provider_errors import RefusalError, asked_to_wait, meant
from optimizers.models.rate_limits import seconds_to_wait
from optimizers.models.sampling import Sampling
from optimizers.models.text_completion import TextCompletionEngine

ATTEMPTS = 2
"""Times a request is sent at most: a transient provider error is retried once, here and nowhere else."""

PER_MESSAGE = 32
"""Tokens that a chat template may put around one message, and more."""

LONGEST_WAIT = 30.0
"""Seconds to wait before the second attempt at most, whatever the server asks for."""

THINKING_BESIDE = 32_768
"""Most tokens that DSPy allows some of Anthropic's models for thinking on top of the given limit."""

_METER = "parity_meter"

_REFUSED = (LMRateLimitError, LMInvalidRequestError, LMAuthError, LMBillingError, LMConfigurationError)
"""Errors by which a server says that it did no work, or that come before anything is sent, such as a
lacking key: nothing is billed for them. Of others nobody knows, so they count at their most."""


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


class Gate(Protocol):
    """What a meter asks before every call: a study's budget gate."""

    def open(self, model: Model, candidate: str | None, prompt: int | None, completion: int | None) -> int:
        """Reserve a call that may use this many tokens (None: as many as fit), and return its number."""
        ...

    def check(self) -> None:
        """Raise what keeps any further call from being let through, such as that time is up."""
        ...

    def close(self, number: int, call: Call) -> None:
        """Note what an answered call used."""
        ...

    def fail(self, number: int, *, refused: bool) -> None:
        """Note that a call got no answer; ``refused`` when the server is known to have done no work."""
        ...


@dataclass
class Meter:
    """Collects the calls made while :func:`metered` is open, from any thread DSPy starts.

    Attributes:
        gate: Reserves every call before it is sent, and books it when it ends; None where nothing is limited.
        candidate: Id of the candidate the calls are for, or what else they are for.
        calls: The answered calls, each with the model that answered.
        stopped: What the gate refused a call with, should the program have swallowed it.
    """

    gate: Gate | None = None
    candidate: str | None = None
    calls: list[tuple[Model, Call]] = field(default_factory=list)
    stopped: ParityError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, model: Model, prompt: int | None, completion: int | None) -> int:
        """Ask the gate for a call."""
        try:
            return self.gate.open(model, self.candidate, prompt, completion) if self.gate else 0
        except ParityError as error:
            self.stopped = error
            raise

    def wait(self, seconds: float) -> None:
        """Wait for a call's turn, unless the gate has no time for it."""
        try:
            if self.gate:
                self.gate.check()
        except ParityError as error:
            self.stopped = error
            raise
        time.sleep(seconds)

    def close(self, number: int, model: Model, call: Call) -> None:
        """Record an answered call."""
        with self._lock:
            self.calls.append((model, call))
        if self.gate:
            self.gate.close(number, call)

    def fail(self, number: int, error: BaseException) -> None:
        """Record a call without an answer."""
        if self.gate:
            # A reply that was filtered out after it was written came with no status of an error.
            written = isinstance(error, RefusalError) and error.status is None
            self.gate.fail(number, refused=isinstance(error, _REFUSED) and not written)


@contextmanager
def metered(gate: Gate | None = None, candidate: str | None = None) -> Iterator[Meter]:
    """Read every call that MeteredLMs make inside the block, on account of a candidate."""
    meter = Meter(gate, candidate)
    with dspy.context(**{_METER: meter, "disable_history": False}):
        yield meter


_answers: ContextVar[list[Call]] = ContextVar("parity_answers")


def is_in_metered_call() -> bool:
    """Whether this thread is inside a call that a meter reads."""
    return _answers.get(None) is not None


class MeteredLM(dspy.LM):  # type: ignore[misc]
    """A dspy.LM whose calls are read by the open meter rather than piling up in histories.

    Every request it sends is one the meter's gate let through; a transient error is
    retried once, and the second request passes the gate like any other.

    Attributes:
        served: The model it serves.
    """

    served: Model

    @cached_property
    def supports_response_schema(self) -> bool:
        """DSPy's word on structured output, asked once: its answer takes milliseconds, at every call."""
        return bool(super().supports_response_schema)

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """As dspy.LM, metered."""
        meter = dspy.settings.get(_METER)
        if meter is None:
            return super().__call__(prompt, messages=messages, **kwargs)
        bound = self._bounds(prompt, messages, kwargs)
        for left in reversed(range(ATTEMPTS)):
            while pause := seconds_to_wait(self.served, *bound):
                meter.wait(pause)
            number, token = meter.open(self.served, *bound), _answers.set([])
            try:
                reply = super().__call__(prompt, messages=messages, **kwargs)
            except BaseException as raised:
                error = meant(raised)
                meter.fail(number, error)
                if not (left and _transient(error)):
                    raise error from error.__cause__
                time.sleep(_wait(error))
            else:
                answered = _answers.get()
                meter.close(number, self.served, answered[-1] if answered else Call(None, 0, None))
                return reply
            finally:
                _answers.reset(token)
        raise AssertionError("the last attempt returns or raises")

    def _bounds(self, prompt: Any, messages: Any, kwargs: Mapping[str, Any]) -> tuple[int | None, int | None]:
        """The most tokens of all the completions that a call asks for, each of which may be a request."""
        read, written = bounds(self, prompt, messages, kwargs)
        context, count = self.served.context, kwargs.get("n", self.kwargs.get("n")) or 1
        if read is not None and self.served.is_local:
            read = min(read, context)
        if count == 1:
            return read, written
        return count * (context if read is None else read), count * (written or context)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        """As calling, with ``await``: the call runs on a thread of its own."""
        return await asyncio.to_thread(self.__call__, prompt, messages=messages, **kwargs)

    def update_history(self, entry: dict[str, Any]) -> None:
        """Hand the finished call to the meter; without one, keep DSPy's histories."""
        if dspy.settings.get(_METER) is None:
            super().update_history(entry)
            return
        # Of several completions, one without usage makes the call's unknown.
        silent = any(None in (one.usage.input_tokens, one.usage.output_tokens) for one in _completions(entry))
        _answers.get().append(_call({} if silent else entry["usage"]))


def bounds(
    lm: dspy.LM, prompt: Any, messages: Any, kwargs: Mapping[str, Any]
) -> tuple[int | None, int | None]:
    """The most tokens a call can read and generate; None where only the model's context bounds it.

    A token stands for at least one byte of text, so the bytes of all that is sent, and
    some for the template around each message, bound the tokens read.
    """
    config = prompt.config if isinstance(prompt, Request) else None
    effort = config.reasoning if config else kwargs.get("reasoning_effort", lm.kwargs.get("reasoning_effort"))
    if config:
        asked = config.max_tokens or (config.extensions or {}).get("max_tokens")
    else:
        asked = kwargs.get("max_tokens", kwargs.get("max_completion_tokens"))
    completion = asked or lm.kwargs.get("max_tokens") or lm.kwargs.get("max_completion_tokens")
    if completion and effort and lm.model.partition("/")[0] == "anthropic":
        completion += THINKING_BESIDE
    if isinstance(prompt, Request):
        texts = [message.text for message in prompt.messages]
        if None in texts:
            return None, completion
        schema = json.dumps(prompt.config.response_format) if prompt.config.response_format else ""
        text = "".join([str(prompt.system or ""), schema, *map(str, texts)])
        return len(text.encode()) + PER_MESSAGE * (len(texts) + 2), completion
    extra = {key: value for key, value in kwargs.items() if key in ("tools", "response_format")}
    content = messages or [{"role": "user", "content": prompt}]
    if any(not isinstance(message.get("content"), str) for message in content):
        return None, completion
    # A Python schema class prints shorter than the JSON it is sent as: room for that too.
    text = "".join(message["content"] for message in content) + 4 * str(extra)
    return len(text.encode()) + PER_MESSAGE * (len(content) + 2), completion


def _transient(error: BaseException) -> bool:
    # The bare class stands for a reply that could not be read: cut short, or a web page.
    return isinstance(error, Exception) and (is_retryable_lm_error(error) or type(error) is LMProviderError)


def _wait(error: BaseException) -> float:
    asked = asked_to_wait(error)
    return min(LONGEST_WAIT, 1.0 if asked is None else asked)


def _completions(entry: Mapping[str, Any]) -> Sequence[Response]:
    answered = entry["response"]
    return answered if isinstance(answered, tuple) else ()


def _call(usage: Mapping[str, Any]) -> Call:
    """Usage as DSPy states it, for every provider and engine: totals that hold everything."""
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else details.cached_tokens
    return Call(usage.get("prompt_tokens"), cached or 0, usage.get("completion_tokens"))


def language_model(model: Model, sampling: Sampling | None = None, *, measured: bool = True) -> dspy.LM:
    """The dspy.LM that serves a model.

    Args:
        model: What to serve.
        sampling: Settings of every call, or None for the provider's own defaults.
        measured: Read by meters and past DSPy's cache, as the search needs it. False gives
            a plain dspy.LM, as an export needs it.

    Raises:
        ModelError: The sampling has what the model does not take.
    """
    settings = {} if sampling is None else call_settings(model, sampling)
    if model.engine == "llama":
        settings["engine"] = llama_engine(model)
    elif model.replicas and model.api_base:
        addresses = (model.api_base, *model.replicas)
        settings["engine"] = FleetEngine(model.name, addresses, model.timeout, text=model.kind == "base")
    elif model.kind == "base":
        settings["engine"] = TextCompletionEngine(model.name, model.api_base, model.timeout)
    else:
        settings |= {"engine": model.engine, "timeout": model.timeout} | _connection(model)
    if measured:
        lm = MeteredLM(model.name, cache=False, num_retries=0, **settings)
        lm.served = model
        return lm
    return dspy.LM(model.name, num_retries=ATTEMPTS - 1, **settings)


def call_settings(model: Model, sampling: Sampling) -> dict[str, Any]:
    """What a model is sent of a sampling, by the names that ``dspy.LM`` has for it.

    Greedy decoding is sent nothing that shapes a draw; a model that fixes its own sampling is sent
    no temperature; and one that reasons has room to, on top of the reply's own limit.

    Raises:
        ModelError: The sampling has what the model does not take.
    """
    wanted = {name: value for name in ACCEPTABLE if (value := getattr(sampling, name)) is not None}
    effort = wanted.get("reasoning_effort")
    refused = sorted(wanted.keys() - model.accepts)
    if not refused and effort is not None and effort not in model.reasoning_efforts:
        refused = [f"reasoning_effort {effort}"]
    if refused:
        takes = ", ".join([*sorted(model.accepts), *model.reasoning_efforts]) or "none of these settings"
        raise ModelError(
            f"The model does not take {', '.join(refused)}.",
            where=model.name,
            fix=f"declare accepts and reasoning_efforts of it, or leave them out: it takes {takes}",
        )
    thinks = effort not in (None, "none")
    room = model.reasoning_room if thinks or effort is None or not model.takes_temperature else 0
    settings: dict[str, Any] = {"max_tokens": sampling.max_tokens + room}
    # Claude takes no temperature while it thinks, and none together with a top_p since version 4.1.
    if model.takes_temperature and not (thinks and "claude" in model.name):
        settings["temperature"] = sampling.temperature
        if sampling.temperature > 0:
            settings |= {key: wanted[key] for key in DRAWN if key in wanted}
            if model.takes_top_p:
                settings["top_p"] = sampling.top_p
    return settings | {key: value for key, value in wanted.items() if key not in DRAWN}


def _connection(model: Model) -> dict[str, Any]:
    provider, address = model.name.partition("/")[0], model.api_base
    if address is None and provider not in KEY_GIVEN:
        return {}
    variable = held_variable(key_variables(model.name))
    if variable is not None:
        # What every engine finds by itself is left to it: a key that is not held cannot be repeated.
        found = variable == f"{provider.upper()}_API_KEY" and provider not in KEY_GIVEN
        key = {} if found else {"api_key": os.environ[variable]}
    else:
        # Servers on one's own machine ask for no key, but the clients insist on one.
        key = {} if address is None else {"api_key": "none"}
    if address is None:
        return key
    if model.engine == "litellm":
        address = litellm_address(model.name, address)
    return {"api_base": address} | key
