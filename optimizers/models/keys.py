"""Where the key of a provider is looked for: the names of variables, never what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizers.models.model import Model

_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
}
"""Where DSPy and LiteLLM look for a provider's key, where that is not PROVIDER_API_KEY alone."""

_NO_KEY = frozenset(
    {"bedrock", "hosted_vllm", "lm_studio", "local", "ollama", "ollama_chat", "sagemaker", "vertex_ai"}
)
"""Providers that take no key, or credentials of another kind."""


def key_variables(name: str) -> tuple[str, ...]:
    """The environment variables of which one holds the key of a model over HTTP, the usual one first.

    Args:
        name: The model's name.
    """
    provider = name.partition("/")[0]
    return _VARIABLES.get(provider, (f"{provider.upper()}_API_KEY",))


def needs_key(model: Model) -> bool:
    """Whether calls are refused without a key, as far as the provider's name tells."""
    return model.api_base is None and model.name.partition("/")[0] not in _NO_KEY
