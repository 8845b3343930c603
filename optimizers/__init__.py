"""Parity: find the cheapest model and prompt that does a narrow task well enough, and prove it.

A program file ends with a declaration::

    from optimizers import Task, model

    task = Task(program=Classify(), metric=exact_match("sentiment"), data="data/reviews.toml",
                models=["local/gemma-3-270m", model("openai/NAME", price=(0.1, 0.4))])

:class:`Parity` is the same as a DSPy optimizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optimizers.task import Task

if TYPE_CHECKING:
    from optimizers.models.resolve import model
    from optimizers.teleprompter import Parity

__all__ = ["Parity", "Task", "model"]


def __getattr__(name: str) -> Any:
    # Models load pydantic, and Parity loads DSPy, which `optimize --help` need not wait for.
    if name == "model":
        from optimizers.models.resolve import model

        return model
    if name == "Parity":
        from optimizers.teleprompter import Parity

        return Parity
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
