"""Parity: find the cheapest model and prompt that does a narrow task well enough, and prove it.

A program file ends with a declaration::

    from optimizers import Task, model

    task = Task(program=Classify(), metric=exact_match("sentiment"), data="data/reviews.toml",
                models=["local/gemma-3-270m", model("openai/NAME", price=(0.1, 0.4))])

:class:`Parity` is the same as a DSPy optimizer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizers.api import Parity
    from optimizers.models.resolve import model
    from optimizers.task.task import Task

__all__ = ["Parity", "Task", "model"]

_HOMES = {
    "Parity": "optimizers.api",
    "Task": "optimizers.task.task",
    "model": "optimizers.models.resolve",
}


def __getattr__(name: str) -> Any:
    # They load pydantic and DSPy, which `optimize --help` need not wait for.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
