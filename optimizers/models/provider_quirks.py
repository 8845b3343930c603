"""What a request may say on its way to a model over HTTP.

DSPy's own engine knows each provider it speaks to and words a request for it. LiteLLM refuses a
setting that the provider does not take, and passes the limit of a reply on by the name it is given.
"""

from __future__ import annotations

from functools import cache

import dspy

from optimizers.models.third_party import litellm_module

_NEWER_LIMIT = frozenset({"openai", "azure"})
"""Services that call the limit of a reply ``max_completion_tokens``, and refuse the older ``max_tokens``
for models that reason."""


def takes_seed(lm: dspy.BaseLM) -> bool:
    """Whether a seed can be sent; where it cannot, draws at a temperature are not repeatable."""
    return not _by_litellm(lm) or _litellm_takes("seed", lm.model)


def older_limit(lm: dspy.BaseLM) -> bool:
    """Whether the limit of a reply goes by its older name, ``max_tokens``.

    Every server of OpenAI's kind knows that one. Some pass over ``max_completion_tokens`` without a
    word, so that replies have no end: Ollama's, and LM Studio's documentation has it not.
    """
    from dspy.clients.lm import _is_openai_reasoning_model

    if not isinstance(getattr(lm, "engine", None), str) or _is_openai_reasoning_model(lm.model):
        return False
    if lm.model.startswith("openai/") and lm.kwargs.get("api_base"):
        return True
    return lm.model.partition("/")[0] not in _NEWER_LIMIT and _by_litellm(lm)


def _by_litellm(lm: dspy.BaseLM) -> bool:
    from dspy.clients.backend_selection import select_backend

    if not isinstance(getattr(lm, "engine", None), str):
        return False
    try:
        return not select_backend(lm).native
    except Exception:  # What is wrong with the model or its settings, the call itself says.
        return False


@cache
def _litellm_takes(parameter: str, model: str) -> bool:
    litellm = litellm_module()

    return parameter in (litellm.get_supported_openai_params(model=model) or ())
