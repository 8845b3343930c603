"""Where the key of a provider is looked for: the names of variables, never what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optimizers.models.model import Model

_VARIABLES = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "bedrock": ("AWS_ACCESS_KEY_ID", "AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE"),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "ollama": ("OLLAMA_API_KEY",),
    "ollama_chat": ("OLLAMA_API_KEY",),
    "sagemaker": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
    "vertex_ai": ("GOOGLE_APPLICATION_CREDENTIALS",),
}
"""Where DSPy and LiteLLM look for a provider's key, where that is not PROVIDER_API_KEY alone."""

_NO_KEY = frozenset(
    {"bedrock", "hosted_vllm", "lm_studio", "local", "ollama", "ollama_chat", "sagemaker", "vertex_ai"}
)
"""Providers that take no key, or credentials of another kind."""

OLLAMA = frozenset({"ollama", "ollama_chat"})

KEY_GIVEN = OLLAMA | {"azure", "hosted_vllm"}
"""Providers whose key DSPy's own engine does not look for where LiteLLM does: it is handed over."""

OWN_ADDRESS = {
    "hosted_vllm": ("HOSTED_VLLM_API_BASE", "http://localhost:8000/v1"),
    "lm_studio": ("LM_STUDIO_API_BASE", "http://localhost:1234/v1"),
}
"""Servers of one's own: the variable with their address, and where they listen unless told otherwise.
Without an address LiteLLM would send what they are asked to OpenAI."""


PLACES = {
    "azure": ("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_RESOURCE"),
    "bedrock": ("AWS_REGION", "AWS_REGION_NAME", "AWS_DEFAULT_REGION"),
}
"""Variables of which one says where a provider's models are served, for those that have no one address."""

OPENAI_KIND = OLLAMA | OWN_ADDRESS.keys() | {"openai"}
"""Providers whose servers list their models as OpenAI's does, and take a key as it does."""


def address_of(name: str, declared: str | None) -> str | None:
    """Where a model over HTTP is reached; None where that is the engine's to know.

    Args:
        name: The model's name.
        declared: The ``api_base`` that its user declared.
    """
    provider = name.partition("/")[0]
    if declared is None and provider in OWN_ADDRESS:
        variable, usual = OWN_ADDRESS[provider]
        return os.environ.get(variable) or usual
    if declared is not None and provider in OLLAMA:
        return f"{declared.rstrip('/').removesuffix('/v1')}/v1"
    return declared


def key_variables(name: str) -> tuple[str, ...]:
    """The environment variables of which one holds the key of a model over HTTP, the usual one first.

    Args:
        name: The model's name.
    """
    provider = name.partition("/")[0]
    return _VARIABLES.get(provider, (f"{provider.upper()}_API_KEY",))


def held_variable(names: Iterable[str]) -> str | None:
    """The first of some environment variables that is set and not empty; None where none is."""
    return next((name for name in names if os.environ.get(name)), None)


def key_or_none(name: str) -> str:
    """A model's key, or the word ``none``: servers of one's own ask for no key, but clients insist on one."""
    variable = held_variable(key_variables(name))
    return "none" if variable is None else os.environ[variable]


def needs_key(model: Model) -> bool:
    """Whether calls are refused without a key, as far as the provider's name tells."""
    provider = model.name.partition("/")[0]
    return provider not in _NO_KEY and (model.api_base is None or provider == "azure")


def litellm_address(name: str, address: str) -> str:
    """A model's address as LiteLLM wants it: behind that of Ollama it puts a path of its own."""
    return address.removesuffix("/v1") if name.partition("/")[0] in OLLAMA else address
