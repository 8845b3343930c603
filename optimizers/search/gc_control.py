"""Python's garbage collector, kept from what a study never throws away."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from going through all that is loaded by now, again and again.

    Libraries, the task and its data are a million objects; every full collection would look at each of
    them, a tenth of the time of rollouts on a fast server. Also a decorator.
    """
    if gc.get_freeze_count():  # somebody's else, who would lose it at the end
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep the collector off while a great many objects are read that all stay: a study's earlier trials.

    It would go through them again and again as they become more, which takes longer than to read them.
    Also a decorator.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
