"""The embedded engine: llama.cpp in this process, behind DSPy's engine protocol.

One engine holds one set of weights. Its slots decode several replies together and
keep the prompts they saw last, so a candidate's instruction and demos are decoded
once and reused for every example that follows.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dspy.lm15 import (
    ContextLengthError,
    InvalidRequestError,
    Message,
    Request,
    Response,
    ServerError,
    TokenLogprob,
    TopLogprob,
    Usage,
    response_to_events,
)

from optimizers.errors import EngineError
from optimizers.models.model import LOCAL_PREFIX, Model

SLOTS = 4
"""Replies decoded together. More slots on a CPU only split its memory bandwidth further."""

PREFIX_CACHE = 1024
"""MiB of decoded prompts kept in addition to the slots: interleaved candidates find their prefixes again."""

SHORT_REPLY = 16
"""Replies of at most this many tokens are decoded one at a time.

A short constrained answer is nearly all prompt, and several slots would each decode
the shared prefix again; one at a time is faster, and replies hardly ever differ between runs.
"""


class _Turn:
    """Lets one engine at a time compute: two at once spin on each other's cores."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holder: LlamaEngine | None = None
        self._calls = 0

    @contextmanager
    def of(self, engine: LlamaEngine) -> Iterator[None]:
        with self._free:
            self._free.wait_for(lambda: self._holder in (None, engine))
            self._holder = engine
            self._calls += 1
        try:
            yield
        finally:
            with self._free:
                self._calls -= 1
                if self._calls == 0:
                    self._holder = None
                    self._free.notify_all()


_turn = _Turn()
_engines: dict[tuple[str, int], LlamaEngine] = {}
_engines_lock = threading.Lock()


class LlamaEngine:
    """Serves ``local/...`` models through xllamacpp.

    Weights are found, pulled and loaded at the first call, so building a program
    costs nothing. Raw prompts (``Config.extensions={"raw": True}``) bypass the chat
    template; ``extensions={"grammar": GBNF}`` and ``response_format`` constrain decoding.
    ``Config.logprobs`` asks for the likeliest tokens at each step, by the model's own
    probabilities: before temperature and before any constraint.

    ``extensions`` also take ``min_p`` and ``repetition_penalty``. llama.cpp penalizes what occurred
    among the last 64 tokens, the prompt's included; without a penalty it does not at all.

    Args:
        name: ``local/NAME`` of the catalogue, or ``local/`` followed by a path to a GGUF file.
        context: Tokens that fit in one call.
    """

    abilities: ClassVar[frozenset[str]] = frozenset({"raw", "grammar", "schema", "logprobs"})

    def __init__(self, name: str, context: int) -> None:
        self.name, self.context = name, context
        self._server: Any = None
        self._loading = threading.Lock()
        self._one_at_a_time = threading.Lock()

    def complete(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            ContextLengthError: The prompt does not fit.
            InvalidRequestError: llama.cpp refused the request, e.g. a malformed grammar.
            ServerError: llama.cpp failed.
        """
        server = self._loaded()
        body = _body(request)
        short = (request.config.max_tokens or SHORT_REPLY + 1) <= SHORT_REPLY
        with _turn.of(self):
            if short:
                with self._one_at_a_time:
                    reply = _send(server, body)
            else:
                reply = _send(server, body)
        return _response(reply, request.model)

    def stream(self, request: Request) -> Iterator[Any]:
        """The whole reply as events: decoding is local, so nothing is gained by streaming it."""
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Free the weights."""
        self._server = None

    def warm_up(self) -> None:
        """Load the weights now rather than inside the first measured call."""
        self._loaded()

    def dump_state(self) -> dict[str, Any]:
        """What a saved DSPy program needs to find this engine again."""
        return {"name": self.name, "context": self.context}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> LlamaEngine:
        """The process's engine for what a saved DSPy program names."""
        return shared_engine(str(state["name"]), int(state["context"]))

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is the same engine: weights are loaded once in a process.
        return shared_engine, (self.name, self.context)

    def _loaded(self) -> Any:
        with self._loading:
            if self._server is None:
                self._server = _load(weights(self.name), self.context)
            return self._server


def llama_engine(model: Model) -> LlamaEngine:
    """The process's one engine for a local model: its weights are loaded once."""
    return shared_engine(model.name, model.context)


def shared_engine(name: str, context: int) -> LlamaEngine:
    """The process's one engine for a name and a context."""
    with _engines_lock:
        return _engines.setdefault((name, context), LlamaEngine(name, context))


def weights(name: str) -> Path:
    """Path of a local model's GGUF file, pulled at first use when the catalogue has it.

    Raises:
        EngineError: The name is neither in the catalogue nor a file.
        AssetError: The weights cannot be pulled or do not verify.
    """
    from optimizers.models.assets import fetch
    from optimizers.models.catalogue import entry_of
    from optimizers.models.quantized import requantized

    if entry := entry_of(name):
        whole, quantization = fetch(entry.asset), name.partition("@")[2]
        return requantized(whole, quantization) if quantization else whole
    path = Path(name.removeprefix(LOCAL_PREFIX)).expanduser()
    if not path.is_file():
        raise EngineError(
            "No weights at this path.", where=name, fix="give local/PATH of a GGUF file that exists"
        )
    return path


def with_real_size(model: Model) -> Model:
    """A model with the size of its weights as they are, where they were made here and predicted before."""
    made = "@" in model.name and model.is_local
    return model.model_copy(update={"weights": weights(model.name).stat().st_size}) if made else model


def _load(path: Path, context: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = SLOTS
    params.n_ctx = context * SLOTS
    # Without the full window, models with sliding attention (gemma) cannot reuse a prefix.
    params.swa_full = True
    params.cache_ram_mib = PREFIX_CACHE
    params.port = 0
    params.verbosity = -1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    params.cpuparams.n_threads = cores
    params.cpuparams_batch.n_threads = cores
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise EngineError(f"llama.cpp cannot load these weights: {error}", where=str(path)) from error


def _body(request: Request) -> dict[str, Any]:
    """The request in the shape of llama.cpp's OpenAI-compatible endpoints."""
    config = request.config
    extensions = config.extensions or {}
    drawn = llama_sampling(
        config.temperature or 0.0,
        top_p=config.top_p,
        top_k=config.top_k,
        min_p=extensions.get("min_p"),
        repetition_penalty=extensions.get("repetition_penalty"),
    )
    body: dict[str, Any] = {**drawn, "cache_prompt": True}
    optional = {
        "max_tokens": config.max_tokens,
        "seed": config.seed,
        "stop": list(config.stop) or None,
        "grammar": extensions.get("grammar"),
        "response_format": _response_format(config.response_format),
    }
    body.update({key: value for key, value in optional.items() if value is not None})
    if extensions.get("raw"):
        body["prompt"] = request.messages[0].text or ""
        if config.logprobs is not None:
            body["logprobs"] = config.logprobs
        return body
    messages = [{"role": message.role, "content": message.text or ""} for message in request.messages]
    if request.system:
        system = (
            request.system
            if isinstance(request.system, str)
            else "".join(str(p.text) for p in request.system)
        )
        messages.insert(0, {"role": "system", "content": system})
    body["messages"] = messages
    if config.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": config.logprobs}
    return body


def llama_sampling(
    temperature: float,
    *,
    top_p: float | None = None,
    top_k: int | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
) -> dict[str, Any]:
    """How tokens are drawn, by llama.cpp's names; None is off.

    Where they are not sent, llama.cpp draws from 40 tokens (``top_k``) that are at least 0.05 as
    likely as the likeliest (``min_p``), and 0.95 of the mass (``top_p``).
    """
    sent: dict[str, Any] = {"temperature": temperature}
    if temperature > 0:
        sent |= {"top_p": 1.0 if top_p is None else top_p, "top_k": top_k or 0, "min_p": min_p or 0.0}
    return sent if repetition_penalty is None else sent | {"repeat_penalty": repetition_penalty}


def _response_format(declared: dict[str, Any] | None) -> dict[str, Any] | None:
    if declared is None or declared["type"] != "json_schema":
        return declared
    return {
        "type": "json_schema",
        "json_schema": {key: value for key, value in declared.items() if key != "type"},
    }


def _send(server: Any, body: dict[str, Any]) -> dict[str, Any]:
    handle = server.handle_completions if "prompt" in body else server.handle_chat_completions
    reply: dict[str, Any] = handle(body)
    error = reply.get("error")
    if error is None:
        return reply
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        raise ContextLengthError(message)
    if int(error.get("code", 500)) < 500:
        raise InvalidRequestError(message)
    raise ServerError(message)


def _response(reply: dict[str, Any], model: str) -> Response:
    choice, usage = reply["choices"][0], reply["usage"]
    text = choice["text"] if "text" in choice else choice["message"].get("content") or ""
    return Response(
        id=reply.get("id") or None,
        model=model,
        message=Message.assistant(text),
        finish_reason="length" if choice.get("finish_reason") == "length" else "stop",
        usage=Usage(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            cache_read_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        ),
        logprobs=_logprobs((choice.get("logprobs") or {}).get("content")),
    )


def _logprobs(steps: list[dict[str, Any]] | None) -> tuple[TokenLogprob, ...] | None:
    """The token chosen at each step and the likeliest ones, None where they were not asked for."""
    if not steps:
        return None
    return tuple(
        TokenLogprob(
            token=step["token"],
            logprob=step["logprob"],
            bytes=tuple(step["bytes"]),
            top=tuple(
                TopLogprob(token=one["token"], logprob=one["logprob"], bytes=tuple(one["bytes"]))
                for one in step["top_logprobs"]
            ),
        )
        for step in steps
    )
