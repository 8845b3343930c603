"""Calls and tokens per minute: a call waits for its turn here rather than be refused by the provider."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

if TYPE_CHECKING:
    from optimizers.models.model import Model

MINUTE = 60
"""Seconds over which calls and tokens are counted."""

BYTES_PER_TOKEN = 4
"""Providers count a request's tokens before they read it, by about this many bytes for each."""

_lock = threading.Lock()
_counts = SlidingWindowCounterRateLimiter(MemoryStorage())
_processes = 1


def share_limits(processes: int) -> None:
    """Keep this process to its share of every limit, where several work on one study."""
    global _processes
    _processes = max(1, processes)


def seconds_to_wait(model: Model, most_bytes: int | None, completion: int | None) -> float:
    """Seconds until a call may be tried again; 0 where it may be sent now, and has been counted.

    Counted are the prompt's tokens, about, and all that the reply may hold: so do providers, who
    refuse a request before they know how long its reply will be.

    Args:
        model: What is called.
        most_bytes: Bytes of the prompt; None where nobody knows, which counts as a full context.
        completion: Tokens of the reply at most.
    """
    if model.rpm is None and model.tpm is None:
        return 0.0
    prompt = model.context if most_bytes is None else most_bytes // BYTES_PER_TOKEN
    tokens = prompt + (model.context if completion is None else completion)
    wanted = []
    for kind, limit, amount in (("calls", model.rpm, 1), ("tokens", model.tpm, tokens)):
        if limit is not None:
            own = max(1, limit // _processes)
            # A call larger than what a minute holds goes alone.
            wanted.append((RateLimitItemPerSecond(own, MINUTE), kind, min(amount, own)))
    with _lock:
        for item, kind, amount in wanted:
            if not _counts.test(item, model.name, kind, cost=amount):
                return max(0.05, min(1.0, MINUTE / item.amount))
        for item, kind, amount in wanted:
            _counts.hit(item, model.name, kind, cost=amount)
    return 0.0
