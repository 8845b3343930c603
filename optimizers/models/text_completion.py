"""Base models served over HTTP: the text-completion endpoint, through LiteLLM.

DSPy's own engines speak chat, and its text mode appends words of its own to the
prompt. A base model must see exactly the rendering's text, so this engine sends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from dspy.lm15 import Message, Request, Response, Usage, response_to_events

from optimizers.models.keys import key_or_none
from optimizers.models.third_party import litellm_module


class TextCompletionEngine:
    """Serves a base model behind an OpenAI-compatible ``/completions`` endpoint.

    Args:
        model: LiteLLM model string, e.g. ``openai/NAME``.
        api_base: Address of the server, or None for the provider's own.
        timeout: Seconds to wait for one reply.
    """

    abilities: ClassVar[frozenset[str]] = frozenset({"raw"})

    def __init__(self, model: str, api_base: str | None = None, timeout: float = 120.0) -> None:
        self.model, self.api_base, self.timeout = model, api_base, timeout

    def complete(self, request: Request) -> Response:
        """Send the prompt unchanged and return the continuation.

        Raises:
            lm15 errors: As LiteLLM reports them, translated by DSPy's own table.
        """
        litellm = litellm_module()
        from dspy.clients.engines.litellm_errors import litellm_errors

        provider = self.model.partition("/")[0]
        with litellm_errors(model=self.model, provider=provider):
            reply = litellm.text_completion(
                model=wire_name(self.model),
                prompt=request.messages[0].text or "",
                api_base=self.api_base,
                api_key=key_or_none(self.model),
                timeout=self.timeout,
                num_retries=0,
                max_retries=0,
                **text_options(request),
            )
        return text_response(reply, request.model)

    def stream(self, request: Request) -> Iterator[Any]:
        """The whole reply as events."""
        return iter(response_to_events(self.complete(request)))

    def close(self) -> None:
        """Nothing is held open between calls."""

    def dump_state(self) -> dict[str, Any]:
        """What a saved DSPy program needs to find this engine again, without keys."""
        return {"model": self.model, "api_base": self.api_base, "timeout": self.timeout}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """The engine a saved DSPy program names."""
        return cls(**state)


def wire_name(model: str) -> str:
    """How LiteLLM is told that a model's endpoint takes text to continue."""
    provider, _, name = model.partition("/")
    # LiteLLM knows LM Studio's as a server of conversations alone.
    return f"text-completion-openai/{name}" if provider in ("openai", "lm_studio") else model


def text_options(request: Request) -> dict[str, Any]:
    """What a request sets, by the names that LiteLLM has for it."""
    config, extensions = request.config, request.config.extensions or {}
    options = {
        "max_tokens": config.max_tokens,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "seed": config.seed,
        "stop": list(config.stop) or None,
        "top_k": config.top_k,
        "min_p": extensions.get("min_p"),
        "repetition_penalty": extensions.get("repetition_penalty"),
    }
    return {key: value for key, value in options.items() if value is not None}


def text_response(reply: Any, model: str) -> Response:
    """A reply of LiteLLM's as DSPy's engines give it."""
    choice = reply.choices[0]
    usage = reply.usage
    details = getattr(usage, "prompt_tokens_details", None)
    return Response(
        id=reply.id or None,
        model=model,
        message=Message.assistant(choice.text or ""),
        finish_reason="length" if choice.finish_reason == "length" else "stop",
        usage=Usage(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cache_read_tokens=getattr(details, "cached_tokens", None),
        ),
    )
