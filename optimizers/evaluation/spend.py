"""What a study has used, reservations included, where one process works on it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from optimizers.records.budget import Use

if TYPE_CHECKING:
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import Call

SIGN_OF_LIFE = 1.0
"""Seconds between two notes in the ledger that a process still works."""


class SpendTracker(Protocol):
    """Keeps what a study has used. A call is reserved with the most it may use, and settled when it ends."""

    def used(self) -> Use:
        """Everything used so far, by all processes; calls in flight at their most."""

    def booked(self) -> Use:
        """What calls that have ended used, by all processes, and all time: it never falls."""

    def reserve(self, call: Call, bound: Use, room: Use) -> int | str:
        """Write a call that is about to be sent, once it fits.

        Waits for calls in flight to settle where that may make room.

        Args:
            call: The call.
            bound: The most it may use.
            room: The most that may be used without it.

        Returns:
            Its number; or the unit it would exceed, where nothing is in flight any more.
        """

    def settle(self, number: int, bound: Use, use: Use, **changes: Any) -> None:
        """Write how a call ended, and what it used in place of what was reserved."""

    def touch(self) -> None:
        """Show that this process still works: its time counts."""


class LocalSpend:
    """A spend of one process, kept in memory beside the ledger. Usable from several threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.lose_calls(time.time())
        self._settled, self._reserved, self._in_flight = ledger.used(), Use(), 0
        self._began, self._touched = time.monotonic(), 0.0
        self._session = ledger.begin_session(time.time())
        self._changed = threading.Condition()

    def used(self) -> Use:
        """Everything used so far, by earlier processes too."""
        with self._changed:
            return self.booked() + self._reserved

    def booked(self) -> Use:
        """What calls that have ended used, by earlier processes too, and all time."""
        with self._changed:
            return self._settled + Use(seconds=time.monotonic() - self._began)

    def reserve(self, call: Call, bound: Use, room: Use) -> int | str:
        """Write a call that is about to be sent, once it fits."""
        with self._changed:
            while (unit := self.used().beyond(room)) is not None:
                if not self._in_flight:
                    return unit
                self._changed.wait()
            self._in_flight += 1
            self._reserved += bound
        # Written outside the lock: the ledger has its own, and other calls need not wait for both.
        try:
            return self._ledger.start_call(call)
        except BaseException:
            self._give_back(bound, Use())
            raise

    def settle(self, number: int, bound: Use, use: Use, **changes: Any) -> None:
        """Write how a call ended."""
        now = time.time()
        try:
            self._ledger.end_call(number, now, **changes)
            if now - self._touched > SIGN_OF_LIFE:
                self.touch()
        finally:
            self._give_back(bound, use)

    def _give_back(self, bound: Use, use: Use) -> None:
        """Count what a call used in place of what was reserved."""
        with self._changed:
            self._in_flight -= 1
            # From nothing again where it can be: sums of many dollars and their negatives drift.
            self._reserved = self._reserved + bound * -1 if self._in_flight else Use()
            self._settled += use
            self._changed.notify_all()

    def touch(self) -> None:
        """Show in the ledger that this process still works."""
        self._touched = time.time()
        self._ledger.touch(self._session, self._touched)
