"""Records that are written while the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class WriteBehind:
    """Writes in the order asked for, by one thread of its own, so that nobody waits for a write.

    Args:
        name: Prefix of the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._pending: list[Future[Any]] = []

    def __call__(self, write: Callable[[], Any]) -> None:
        """Have something written after all that was asked for before."""
        self._pending.append(self._writer.submit(write))

    def close(self, error: BaseException | None = None) -> None:
        """Wait until all is written, then raise what the first failed write met.

        Args:
            error: What is being raised already, and comes first.
        """
        self._writer.shutdown(wait=True)
        if error is None:
            for written in self._pending:
                written.result()
