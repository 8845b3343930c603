"""Budgets: how much a study may use of trials, calls, tokens, dollars and time, all at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizers.errors import BudgetError

Unit = Literal["calls", "tokens", "dollars", "seconds"]
USED: tuple[Unit, ...] = ("calls", "tokens", "dollars", "seconds")
"""What an amount used is counted in; trials are only limited."""

AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[a-zA-Z$]*)")

UNITS: dict[str, tuple[str, float]] = {
    "": ("trials", 1),
    "trial": ("trials", 1),
    "trials": ("trials", 1),
    "call": ("calls", 1),
    "calls": ("calls", 1),
    "kcalls": ("calls", 1e3),
    "tok": ("tokens", 1),
    "tokens": ("tokens", 1),
    "ktok": ("tokens", 1e3),
    "mtok": ("tokens", 1e6),
    "usd": ("dollars", 1),
    "dollars": ("dollars", 1),
    "cents": ("dollars", 0.01),
    "s": ("seconds", 1),
    "sec": ("seconds", 1),
    "seconds": ("seconds", 1),
    "min": ("seconds", 60),
    "minutes": ("seconds", 60),
    "h": ("seconds", 3600),
    "hours": ("seconds", 3600),
}
"""What a unit counts, and how many of it one unit is."""

WHOLE = ("trials", "calls", "tokens")

EXAMPLE = "for example --budget 200, 5usd, 2Mtok, 3000calls or 30min, or several: --budget 200,5usd"


class Budget(BaseModel):
    """Limits of a study; None is no limit. Everything it does counts, confirmation included.

    Attributes:
        trials: Candidates tried.
        calls: Requests sent to models, retries included.
        tokens: Tokens read and generated.
        dollars: US dollars billed.
        seconds: Wall-clock time, over all the processes that worked on the study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int | None = Field(default=None, ge=1)
    calls: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    dollars: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def __str__(self) -> str:
        """As a person would write it: ``200 trials, 5 usd``."""
        return ", ".join(f"{_plain(f'{amount:,.12f}')} {unit}" for amount, unit in self._limits())

    @property
    def most(self) -> Use:
        """The most that may be used; infinite where there is no limit."""
        limits = (self.calls, self.tokens, self.dollars, self.seconds)
        # Prices are sums of floats: a billionth of a cent is no overshoot.
        return Use(*(math.inf if limit is None else limit * (1 + 1e-9) for limit in limits))

    @property
    def option(self) -> str:
        """As the command line takes it: ``200trials,5usd``."""
        return ",".join(f"{_plain(f'{amount:.12f}')}{unit}" for amount, unit in self._limits())

    def _limits(self) -> list[tuple[float, str]]:
        named = {"trials": "trials", "calls": "calls", "tokens": "tok", "dollars": "usd", "seconds": "s"}
        known = [(getattr(self, field), unit) for field, unit in named.items()]
        return [(amount, unit) for amount, unit in known if amount is not None]


def _plain(number: str) -> str:
    """A number without the zeros that say nothing; never with an exponent."""
    return number.rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Use:
    """An amount used, or the most that something may use, or an average of amounts.

    Attributes:
        calls: Requests sent to models.
        tokens: Tokens read and generated.
        dollars: US dollars billed.
        seconds: Wall-clock seconds.
    """

    calls: float = 0
    tokens: float = 0
    dollars: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Use) -> Use:
        return Use(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.dollars + other.dollars,
            self.seconds + other.seconds,
        )

    def __mul__(self, factor: float) -> Use:
        return Use(self.calls * factor, self.tokens * factor, self.dollars * factor, self.seconds * factor)

    def beyond(self, room: Use) -> str | None:
        """The first unit in which this is more than another amount, or None."""
        return next((unit for unit in USED if getattr(self, unit) > getattr(room, unit)), None)

    def share_of(self, budget: Budget) -> float:
        """How much of the budget's scarcest unit this is, 0 when only trials are limited."""
        limits = {unit: getattr(budget, unit) for unit in USED}
        return max((getattr(self, unit) / limit for unit, limit in limits.items() if limit), default=0.0)


def parse_budget(texts: Iterable[str]) -> Budget:
    """A budget from what a user wrote: ``200``, ``5usd``, ``2Mtok``, ``3000calls``, ``30min``, or several.

    Args:
        texts: Amounts; one text may hold several, separated by commas.

    Raises:
        BudgetError: An amount is not positive, its unit is unknown, or a unit comes twice.
    """
    limits: dict[str, float] = {}
    parts = [part.strip() for text in texts for part in text.split(",")]
    for part in parts:
        found = AMOUNT.fullmatch(part.removeprefix("$") + ("usd" if part.startswith("$") else ""))
        unit = UNITS.get(found["unit"].lower()) if found else None
        if found is None or unit is None:
            raise BudgetError(
                f"The budget {part!r} is no amount of a known unit.", where="--budget", fix=EXAMPLE
            )
        name, factor = unit
        amount = float(found["number"]) * factor
        if amount <= 0 or (name in WHOLE and round(amount, 6) != round(amount)):
            whole = "positive whole number of" if name in WHOLE else "positive amount of"
            raise BudgetError(f"The budget {part!r} is no {whole} {name}.", where="--budget", fix=EXAMPLE)
        if name in limits:
            raise BudgetError(f"The budget names {name} twice.", where="--budget", fix="name each unit once")
        limits[name] = round(amount) if name in WHOLE else amount
    return Budget.model_validate(limits)
