"""What Parity sets in other libraries while it works, in one place, and how it is undone.

Importing Parity changes nothing of theirs. A command sets the variables and loggers for its process
(:func:`silence`); code that calls Parity gets them back as they were (:func:`silenced`); a study patches DSPy
while it runs (:func:`unpriced_calls`).
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOUD = ("dspy.clients.lm", "dspy.predict.predict", "LiteLLM", "alembic", "mlflow")
"""Loggers that would bury the progress of a study: errors of theirs are still shown. A reply that was cut,
which DSPy warns of, is counted by its rollout."""

LOCAL_PRICES = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""LiteLLM fetches its price list when it is imported, and takes seconds to give up without a network."""

VARIABLES = {
    **LOCAL_PRICES,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow sets the level of its logger when it is first imported, which is later.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""What libraries read when they are imported; values that the person has set are left alone."""

_patching = threading.Lock()
_patched: list[Any] = []


def silence() -> None:
    """Silence the libraries for as long as this process lives, as a command does."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def silenced() -> Iterator[None]:
    """Silence the libraries while the block runs, and leave loggers and environment as they were."""
    levels = {name: logging.getLogger(name).level for name in LOUD}
    with _variables(VARIABLES):
        silence()
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def litellm_module() -> Any:
    """LiteLLM, imported with the price list that it ships."""
    with _variables(LOCAL_PRICES):
        return importlib.import_module("litellm")


@contextmanager
def unpriced_calls(is_metered: Callable[[], bool]) -> Iterator[None]:
    """Keep DSPy from pricing metered calls, which Parity prices itself, while the block runs.

    DSPy works out each call's route once more for it, and for a model that is not in its list of prices goes
    through the whole list twice: milliseconds in which no other thread runs. It has no switch for it. A later
    DSPy without this function is left as it is: then it only costs time. Blocks may overlap.

    Args:
        is_metered: Whether the calling thread is inside a metered call; other calls are priced as always.
    """
    from dspy.clients import execution

    with _patching:
        if not _patched:
            price = getattr(execution, "_price_result", None)
            if price is not None:
                execution._price_result = lambda *given, **named: (
                    None if is_metered() else price(*given, **named)
                )
        else:
            price = _patched[0]
        _patched.append(price)
    try:
        yield
    finally:
        with _patching:
            _patched.pop()
            if not _patched and price is not None:
                execution._price_result = price


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Variables of the environment that nobody has set, while the block runs."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
