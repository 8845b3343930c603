"""What a study has used, reservations included: by one process, or by all that share it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from optimizers.records.budget import Use

if TYPE_CHECKING:
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import Call
    from optimizers.records.worker_group import WorkerGroup

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
    """A spend of one process, kept in memory, and in the ledger. Usable from several threads."""

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


class SharedSpend:
    """What all processes of a study have used, kept by its database server.

    Args:
        group: This process's membership.
        ledger: The study's ledger.
    """

    def __init__(self, group: WorkerGroup, ledger: Ledger) -> None:
        self._group, self._ledger = group, ledger
        self._began: float | None = None
        self._earlier, self._session = 0.0, 0

    def begin(self) -> None:
        """Count time from now on, as the process that leads does."""
        self._earlier = self._ledger.used().seconds
        self._session = self._ledger.begin_session(time.time())
        self._began = time.monotonic()

    def used(self) -> Use:
        """Everything used so far, by all processes; time only where this one leads."""
        return self._group.used() + self._time()

    def booked(self) -> Use:
        """What calls that have ended used, by all processes, and the time of those that led."""
        return self._group.booked() + self._time()

    def reserve(self, call: Call, bound: Use, room: Use) -> int | str:
        """Write a call that is about to be sent, once it fits."""
        if self._time().seconds > room.seconds:
            return "seconds"
        while (found := self._group.reserve(call, bound, room)) is None:
            time.sleep(0.05)  # until a call of another process has ended
        return found

    def settle(self, number: int, bound: Use, use: Use, **changes: Any) -> None:
        """Write how a call ended."""
        self._group.settle(number, bound, use, **changes)

    def touch(self) -> None:
        """Note the time this process has led so far."""
        if self._began is not None:
            self._ledger.touch(self._session, time.time())

    def _time(self) -> Use:
        led = time.monotonic() - self._began + self._earlier if self._began is not None else 0.0
        return Use(seconds=led)
