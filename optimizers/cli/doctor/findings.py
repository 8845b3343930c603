"""What a check finds, and how it is said: no secret in it, no traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from optimizers.errors import ParityError

Level = Literal["ok", "warning", "problem"]
T = TypeVar("T")

DISTRIBUTION = "prompt-parity"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at.
        level: ``problem`` stops a study or a model of it; ``warning`` may spoil it.
        found: What there is.
        fix: What to do about it, if anything.
    """

    check: str
    level: Level
    found: str
    fix: str = ""


Findings = Iterable[Finding]


def attempt(check: str, work: Callable[[], T], fix: str = "") -> tuple[T | None, list[Finding]]:
    """What some work gives, or else the problem with it."""
    try:
        return work(), []
    except ParityError as error:
        # What a program file's own declaration was refused for says more than that the file raises.
        cause = error.__cause__ if isinstance(error.__cause__, ParityError) else error
        said, fix = f"{cause.what} ({cause.where})" if cause.where else cause.what, cause.fix or fix
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
    return None, [Finding(check, "problem", " ".join(said.split()), fix)]


def checked(check: str, work: Callable[[], Findings], fix: str = "") -> list[Finding]:
    """What a check finds, or else the problem with the check."""
    found, failed = attempt(check, lambda: list(work()), fix)
    return found or failed
