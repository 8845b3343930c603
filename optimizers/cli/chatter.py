"""Third parties' logs, progress bars and calls home: kept off the terminal and the network while we work."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

LOUD = ("dspy.clients.lm", "dspy.predict.predict", "LiteLLM", "alembic", "mlflow")
"""Loggers that would bury the progress of a study: errors of theirs are still shown. A reply that was cut,
which DSPy warns of, is counted by its rollout."""

VARIABLES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow sets the level of its logger when it is first imported, which is later.
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""What libraries read when they are imported; values that the person has set are left alone."""


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
    added = [name for name in VARIABLES if name not in os.environ]
    silence()
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
