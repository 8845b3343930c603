"""Several servers of one model as one model: LiteLLM's Router chooses which gets a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Self

from dspy.lm15 import Request, Response, response_to_events

from optimizers.models.keys import OLLAMA, key_or_none
from optimizers.models.text_completion import text_options, text_response, wire_name
from optimizers.models.third_party import litellm_module

REST = 5.0
"""Seconds for which a server that failed is left alone, if another one is there."""


@lru_cache(maxsize=64)
def _router(model: str, addresses: tuple[str, ...], timeout: float, text: bool) -> Any:
    """The router of a fleet: one for the process, as it must know of all calls that are under way."""
    provider, _, short = model.partition("/")
    # Ollama's servers are given by their address of OpenAI's kind.
    chat = f"openai/{short}" if provider in OLLAMA else model
    return litellm_module().Router(
        model_list=[
            {
                "model_name": model,
                "litellm_params": {
                    "model": wire_name(model) if text else chat,
                    "api_base": address,
                    "api_key": key_or_none(model),
                    "timeout": timeout,
                    "max_retries": 0,
                },
            }
            for address in addresses
        ],
        # LiteLLM does not know which calls for text are under way: each server is as likely as any.
        routing_strategy="simple-shuffle" if text else "least-busy",
        # A second attempt passes the study's account like any other, so it is not the router's to make. It
        # must find another server: the first failure has this one rest.
        num_retries=0,
        allowed_fails=0,
        cooldown_time=REST,
    )


class FleetEngine:
    """Serves a model by whichever of its servers has least to do; for plain text, by any of them.

    Args:
        model: LiteLLM model string, e.g. ``openai/NAME``.
        addresses: Where the servers are.
        timeout: Seconds to wait for one reply.
        text: Send prompts unchanged to ``/completions``, as base models need it.
    """

    def __init__(
        self, model: str, addresses: Sequence[str], timeout: float = 120.0, text: bool = False
    ) -> None:
        self.model, self.addresses, self.timeout, self.text = model, tuple(addresses), timeout, text
        self.abilities: frozenset[str] = frozenset({"raw"}) if text else frozenset()

    def complete(self, request: Request) -> Response:
        """Have one server answer.

        Raises:
            lm15 errors: As LiteLLM reports them; where all servers rest after failures, that of a rate
                limit, which says when to try again.
        """
        from dspy.clients.engines.litellm_errors import litellm_errors

        with litellm_errors(model=self.model, provider=self.model.partition("/")[0]):
            return self._sent(request)

    def _sent(self, request: Request) -> Response:
        from dspy.clients.lm15_boundary import request_kwargs, response_value

        router = _router(self.model, self.addresses, self.timeout, self.text)
        if self.text:
            prompt = request.messages[0].text or ""
            reply = router.text_completion(model=self.model, prompt=prompt, **text_options(request))
            return text_response(reply, request.model)
        sent = request_kwargs(request, "chat")
        if "max_completion_tokens" in sent:  # some servers of one's own pass over the newer name
            sent["max_tokens"] = sent.pop("max_completion_tokens")
        if request.config.top_k is not None:
            sent["top_k"] = request.config.top_k
        reply = router.completion(model=self.model, **sent)
        found: Response = response_value(reply, "chat", request)
        return found

    def stream(self, request: Request) -> Iterator[Any]:
        """The whole reply as events."""
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Nothing is held open between calls."""

    def dump_state(self) -> dict[str, Any]:
        """What a saved DSPy program needs to find this engine again, without keys."""
        return {
            "model": self.model,
            "addresses": list(self.addresses),
            "timeout": self.timeout,
            "text": self.text,
        }

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """The engine a saved DSPy program names."""
        return cls(**state)
