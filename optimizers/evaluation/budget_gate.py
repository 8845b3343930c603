"""May this call go out? The one gate that every call of a study passes, by any caller.

A call goes out only if the most it may use fits the budget together with all calls in flight, so no limit
is exceeded at any concurrency. The reservation is in the ledger before the call is sent: a process that dies
leaves no call uncounted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizers.errors import BudgetSpent
from optimizers.models.lm import Call as Tokens
from optimizers.models.model import Model
from optimizers.records.budget import Budget, Use
from optimizers.records.rows import Call, Phase

if TYPE_CHECKING:
    from optimizers.evaluation.spend import SpendTracker

LEFT_FOR_THE_REPORT = 3.0
"""Seconds of a time budget kept for writing the result."""


@dataclass
class BudgetGate:
    """Lets calls through within a budget, over one spend tracker. Usable from several threads.

    It tracks calls, tokens, dollars and time of every call that a ``MeteredLM`` makes: for candidates,
    teachers, proposers and judges given by name. It does not see trials, which the search counts, nor
    calls of a ``dspy.LM`` that a metric or a tool holds by itself.

    Args:
        spend: What is used and reserved.
        budget: The study's limits.

    Attributes:
        held_back: What the current phase must leave untouched for a later one.
        phase: Written with each call.
    """

    spend: SpendTracker
    budget: Budget
    held_back: Use = field(default_factory=Use)
    phase: Phase = "prepare"
    _in_flight: dict[int, tuple[Use, Model, float]] = field(default_factory=dict)
    _slowest: dict[str, float] = field(default_factory=dict)

    @property
    def used(self) -> Use:
        """Everything used so far, by earlier processes too; calls in flight at their most."""
        return self.spend.used()

    @property
    def booked(self) -> Use:
        """What calls that have ended used, by earlier processes too, and all time: it never falls."""
        return self.spend.booked()

    def open(self, model: Model, candidate: str | None, prompt: int | None, completion: int | None) -> int:
        """Reserve a call, waiting for calls in flight to settle where that may make room.

        Raises:
            BudgetSpent: It does not fit what is left.
        """
        prompt, completion = _bounded(model, prompt, completion)
        bound = Use(1, prompt + completion, model.price.cost(prompt, completion))
        started = time.time()
        call = Call(
            phase=self.phase,
            candidate=candidate,
            model=model.name,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost=bound.dollars,
            started=started,
        )
        found = self.spend.reserve(call, bound, self._room(bound, model))
        if isinstance(found, str):
            raise BudgetSpent(found, str(self.budget))
        self._in_flight[found] = (bound, model, started)
        return found

    def close(self, number: int, tokens: Tokens) -> None:
        """Settle an answered call; one whose server reports no usage stays at its most."""
        bound, model, _ = self._in_flight[number]
        if tokens.prompt is None or tokens.completion is None:
            self._end(number, bound, state="finished")
            return
        cost = model.price.bill(tokens.prompt, tokens.cached, tokens.completion)
        self._end(
            number,
            Use(1, tokens.prompt + tokens.completion, cost),
            state="finished",
            prompt_tokens=tokens.prompt,
            cached_tokens=tokens.cached,
            completion_tokens=tokens.completion,
            cost=cost,
        )

    def fail(self, number: int, *, refused: bool) -> None:
        """Settle a call without an answer: at nothing when the server refused it, else at its most."""
        bound, _, _ = self._in_flight[number]
        if refused:
            zero = {"prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0}
            self._end(number, Use(1), state="failed", **zero)
        else:
            self._end(number, bound, state="failed")

    def out_of_time(self) -> BudgetSpent | None:
        """That the time is up, where it is."""
        seconds = self.used.seconds + self.held_back.seconds + LEFT_FOR_THE_REPORT
        return BudgetSpent("seconds", str(self.budget)) if seconds > self.budget.most.seconds else None

    def check(self) -> None:
        """Raise that the time is up, if it is."""
        if spent := self.out_of_time():
            raise spent

    def touch(self) -> None:
        """Show that this process still works: its time counts."""
        self.spend.touch()

    def _end(self, number: int, use: Use, **changes: object) -> None:
        bound, model, started = self._in_flight.pop(number)
        self._slowest[model.name] = max(self._slowest.get(model.name, 0.0), time.time() - started)
        self.spend.settle(number, bound, use, **changes)

    def _room(self, bound: Use, model: Model) -> Use:
        """The most that may be used already where a further call is to fit."""
        # A call is expected to take no longer than the slowest so far; its timeout cuts it anyway.
        seconds = self._slowest.get(model.name, 0.0) + LEFT_FOR_THE_REPORT
        return self.budget.most + (self.held_back + bound + Use(seconds=seconds)) * -1


def _bounded(model: Model, prompt: int | None, completion: int | None) -> tuple[int, int]:
    """The most tokens a call may read and generate: where nobody says, its context."""
    return model.context if prompt is None else prompt, model.context if completion is None else completion
