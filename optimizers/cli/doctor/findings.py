"""What a check finds, in words, without a traceback."""

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
    """The result of one check.

    Attributes:
        check: What was checked.
        level: ``problem`` stops a study or one of its models; ``warning`` may spoil the result.
        found: What was found.
        fix: What to do about it; empty where nothing needs doing.
    """

    check: str
    level: Level
    found: str
    fix: str = ""


Findings = Iterable[Finding]


def attempt(check: str, work: Callable[[], T], fix: str = "") -> tuple[T | None, list[Finding]]:
    """The result of a function, or the problem that it raised."""
    try:
        return work(), []
    except ParityError as error:
        # The cause names what a program file declares wrongly; the error itself only says that it raised.
        cause = error.__cause__ if isinstance(error.__cause__, ParityError) else error
        said, fix = f"{cause.what} ({cause.where})" if cause.where else cause.what, cause.fix or fix
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
    return None, [Finding(check, "problem", " ".join(said.split()), fix)]


def checked(check: str, work: Callable[[], Findings], fix: str = "") -> list[Finding]:
    """The findings of a check, or the problem that it raised."""
    found, failed = attempt(check, lambda: list(work()), fix)
    return found or failed
