"""From a dspy.LM that a DSPy user has already to a Model."""

from __future__ import annotations

import os
from typing import Any

import dspy

from optimizers.errors import ModelError
from optimizers.models.keys import key_variables
from optimizers.models.lm import MeteredLM
from optimizers.models.model import ACCEPTABLE, Kind, Model
from optimizers.models.reasoning import known_efforts
from optimizers.models.resolve import model

SAMPLED = frozenset(
    {"temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "rollout_id", *ACCEPTABLE}
)
"""Settings of a dspy.LM that the search chooses itself."""

CARRIED = frozenset({"api_base", "base_url", "api_key", "timeout"})
"""Settings of a dspy.LM that a model takes over."""


def model_of(lm: dspy.LM) -> Model:
    """The model that a ``dspy.LM`` serves.

    Args:
        lm: One of DSPy's own class, over HTTP.

    Raises:
        ModelError: It has a setting, an engine or a class of its own that a model cannot carry.
        PriceError: Its price is not in the cost map.
    """
    where, settings = str(lm.model), {key: value for key, value in lm.kwargs.items() if value is not None}
    declare = f'declare it: optimizers.model("{where}", ...)'
    if type(lm) not in (dspy.LM, MeteredLM) or not isinstance(lm.engine, str):
        what = "This language model has a class or an engine of its own, which a study cannot record."
        raise ModelError(what, where=where, fix=declare)
    if lm.model_type not in ("chat", "text"):
        raise ModelError(f"The model type {lm.model_type!r} is not searched.", where=where, fix=declare)
    foreign = sorted(settings.keys() - SAMPLED - CARRIED)
    if foreign:
        what = f"The language model has settings that a study cannot record: {', '.join(foreign)}."
        raise ModelError(what, where=where, fix=f"leave them out, or {declare}")
    variables = key_variables(where)
    if "api_key" in settings and settings["api_key"] not in map(os.environ.get, variables):
        raise ModelError(
            "The language model has an API key of its own, and studies keep no keys.",
            where=where,
            fix=f"set {variables[0]} in the environment to it",
        )
    kind: Kind = "base" if lm.model_type == "text" else "chat"
    engine: Any = lm.engine
    address = settings.get("api_base") or settings.get("base_url")
    # What its user sets, its server takes.
    effort = settings.get("reasoning_effort")
    return model(
        where,
        kind=kind,
        engine=engine,
        api_base=address,
        timeout=settings.get("timeout"),
        accepts=sorted(settings.keys() & set(ACCEPTABLE)),
        reasoning_efforts=(effort,) if effort and not known_efforts(where) else None,
    )
