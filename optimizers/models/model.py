"""What a language model is to Parity: a name, a kind, a size, a price and a way to reach it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

Kind = Literal["base", "instruct", "chat"]
"""How a model was trained to be addressed.

``base`` continues text and never sees a chat template; ``instruct`` follows one
turn of instructions; ``chat`` also holds a conversation, so demos can be turns.
"""

Engine = Literal["llama", "auto", "lm15", "litellm"]
"""Who serves the model: ``llama`` in this process, the others over HTTP through DSPy."""

LEAST_CONTEXT = 256
"""Tokens that any model has room for."""

LOCAL_PREFIX = "local/"

DRAWN = ("top_k", "min_p")
"""Sampling parameters that shape a draw: at temperature 0 nothing is drawn, and none is sent."""

ACCEPTABLE = (*DRAWN, "repetition_penalty", "reasoning_effort")
"""Sampling parameters that only some engines take."""

LLAMA_ACCEPTS = frozenset({"top_k", "min_p", "repetition_penalty"})
"""Those that llama.cpp takes."""

CONTINUING = frozenset({"openai", "hosted_vllm", "lm_studio", "together_ai", "fireworks_ai"})
"""Providers with an endpoint that takes text to continue unchanged. Of others LiteLLM would make a
conversation of it, or the server would put a chat template around it."""

REASONING_ROOM = 16_384
"""Tokens a reply may hold on top of its limit where the model reasons. DSPy asks for 16,000 at least of
OpenAI's models: a limit that reasoning has used up leaves no answer, and is paid for."""


class Price(BaseModel):
    """What a provider charges, in US dollars per million tokens.

    Attributes:
        input: Price of a million prompt tokens, caches ignored.
        output: Price of a million generated tokens, reasoning included.
        cached: Price of a million prompt tokens served from the provider's prefix cache;
            None when they cost as much as any other.
        source: Where the figures come from, shown in reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    source: str

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Serving cost in US dollars of one call's tokens, as if no cache had served any."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1_000_000

    def bill(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float:
        """What the provider charges for a call, in US dollars: cached prompt tokens at their own price."""
        cached = self.input if self.cached is None else self.cached
        saved = cached_tokens * (self.input - cached) / 1_000_000
        return self.cost(prompt_tokens, completion_tokens) - saved


class Model(BaseModel):
    """One servable language model, with nothing left to guess.

    Build it with :func:`optimizers.models.resolve.model`, which fills in what the
    catalogue and the cost map know.

    Attributes:
        name: ``local/NAME``, ``local//path/to/file.gguf`` or a DSPy/LiteLLM model string.
        kind: How the model is addressed.
        size: Billions of parameters, when known.
        quantization: How its weights are quantized, where they are a file here and its name says.
        weights: Bytes of that file, and of memory that it takes, without what decoding needs.
        price: What its tokens cost.
        engine: Who serves it.
        api_base: Address of an OpenAI-compatible server, for models served over HTTP.
        replicas: Addresses of further servers of the same model: each call goes to the least busy.
        context: Tokens that fit in one call, prompt and reply together.
        concurrency: Calls that may be in flight at once.
        timeout: Seconds to wait for a reply of a model over HTTP.
        rpm: Calls per minute at most, over all servers; None without a limit.
        tpm: Tokens per minute at most: about those of the prompt and all a reply may hold.
        accepts: Sampling parameters its engine takes beyond temperature, top_p, max_tokens and seed:
            some of :data:`ACCEPTABLE`.
        reasoning_efforts: Levels of its native reasoning, lowest first; empty where it does not
            reason on demand.
        takes_temperature: Whether temperature and top_p may be sent; some models fix their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    kind: Kind
    size: float | None = Field(default=None, gt=0)
    quantization: str | None = None
    weights: int | None = Field(default=None, ge=0)
    price: Price
    engine: Engine = "auto"
    api_base: str | None = None
    replicas: tuple[str, ...] = ()
    context: int = Field(default=4096, ge=LEAST_CONTEXT)
    concurrency: int = Field(default=8, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    rpm: int | None = Field(default=None, ge=1)
    tpm: int | None = Field(default=None, ge=1)
    # A manifest from before there was this field means what the engine takes, too.
    accepts: frozenset[str] = Field(default_factory=lambda data: _accepted_by(data.get("engine")))
    reasoning_efforts: tuple[str, ...] = ()
    takes_temperature: bool = True

    @field_serializer("accepts")
    def _sorted(self, accepts: frozenset[str]) -> list[str]:
        return sorted(accepts)

    @property
    def reasoning_room(self) -> int:
        """Tokens that a reply may hold on top of its limit, for reasoning; 0 where the model does none."""
        if not self.takes_temperature:
            return REASONING_ROOM
        return min(REASONING_ROOM, self.context // 2) if self.reasoning_efforts else 0

    @property
    def takes_top_p(self) -> bool:
        """Whether top_p may be sent with a temperature: Claude takes one of the two since version 4.1."""
        return "claude" not in self.name

    @property
    def is_local(self) -> bool:
        """Whether the model runs inside this process."""
        return self.name.startswith(LOCAL_PREFIX)

    @property
    def label(self) -> str:
        """The short name for tables and charts: what follows the last slash, without ``.gguf``."""
        return self.name.rsplit("/", 1)[-1].removesuffix(".gguf")


def _accepted_by(engine: Any) -> frozenset[str]:
    return LLAMA_ACCEPTS if engine == "llama" else frozenset()
