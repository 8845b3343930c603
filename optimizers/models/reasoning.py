"""Which models reason on demand, at which levels, and which leave their sampling to be chosen.

LiteLLM's cost map says of a model whether it reasons (``supports_reasoning``), which of the rarer
levels it has (``supports_none_reasoning_effort`` ...), for some the whole list
(``reasoning_effort_levels``), and of some that they fix their own sampling
(``supports_sampling_params``). What it does not say is not guessed: such a model is declared.
"""

from __future__ import annotations

import re
from typing import Any

from optimizers.models.pricing import listed_entries

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every level there is, lowest first, by the names OpenAI and LiteLLM give them."""

USUAL_EFFORTS = ("low", "medium", "high")
"""The levels of a model that is known to reason on demand, when nothing else is known."""

GRADED = frozenset({"openai", "azure", "anthropic", "gemini"})
"""Providers that take the usual levels for each of their models that reasons."""

OPEN_WEIGHT_HOSTS = frozenset({"cerebras", "deepinfra", "fireworks_ai", "groq", "together_ai"})
"""Hosts that take ``reasoning_effort``; of what they serve only gpt-oss is known to have the usual levels."""

_CHAT = re.compile(r"(?:^|-)chat(?:-|$)")


def known_efforts(name: str) -> tuple[str, ...]:
    """The reasoning efforts of a model over HTTP as the cost map knows them, lowest first.

    Args:
        name: DSPy/LiteLLM model string.

    Returns:
        Names of :data:`EFFORTS`; none where the model does not reason on demand, or where its
        levels are not known.
    """
    provider, entry = name.partition("/")[0], _entry(name)
    if entry.get("mode", "chat") != "chat" or not entry.get("supports_reasoning"):
        return ()
    levels = entry.get("reasoning_effort_levels")
    if levels is None:
        # OpenAI's "-chat" models are listed as reasoning, and take no effort.
        host = "gpt-oss" in name and provider in OPEN_WEIGHT_HOSTS
        if not (provider in GRADED or host) or _CHAT.search(name.rpartition("/")[2]):
            return ()
        levels = [effort for effort in EFFORTS if _has(entry, effort)]
    return tuple(effort for effort in EFFORTS if effort in levels)


def leaves_sampling_open(name: str) -> bool:
    """Whether a model over HTTP takes a temperature and top_p.

    OpenAI's reasoning models refuse any but their own, as do some others that the map marks.
    """
    from dspy.clients.lm import _is_openai_reasoning_model

    if _entry(name).get("supports_sampling_params") is False or _is_openai_reasoning_model(name):
        return False
    return name.partition("/")[0] not in ("openai", "azure") or not known_efforts(name)


def _has(entry: dict[str, Any], effort: str) -> bool:
    return bool(entry.get(f"supports_{effort}_reasoning_effort", effort in USUAL_EFFORTS))


def _entry(name: str) -> dict[str, Any]:
    """What the map holds of a model under its provider; a name alone may be another provider's model."""
    provider = name.partition("/")[0]
    for key, entry in listed_entries(name):
        if key == name or entry.get("litellm_provider") == provider:
            return entry
    return {}
