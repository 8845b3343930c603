"""What a check finds, and how it is said: no secret in it, no traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from optimizers.errors import ParityError

Level = Literal["ok", "warning", "problem"]
T = TypeVar("T")

DISTRIBUTION = "prompt-parity"

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWD|PASSWORD|CREDENTIAL)S?(_|$)", re.IGNORECASE)
_SECRET = re.compile(
    r"((?:bearer|basic)\s+(?=\S{12})|[\w-]*(?:key|token|secret|password)=)[^\s@&,'\"]+"
    r"|(?<=://)[^/\s]+(?=@)|\bsk-[\w-]{6,}",
    re.IGNORECASE,
)
_PIECE = 8
"""Characters of a secret in a row that are hidden wherever they stand."""


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


def scrubbed(text: str) -> str:
    """A text without what looks like a secret, and without the values of variables that hold keys.

    Of a value of eight characters or more, every piece of eight is hidden too.
    """
    text = _SECRET.sub(r"\1[hidden]", text)
    hidden: set[int] = set()
    for name, value in os.environ.items():
        secret = value.strip()
        # GOOGLE_APPLICATION_CREDENTIALS and its like name a file, which is no secret.
        if not _SECRET_NAME.search(name) or len(secret) < 4 or os.path.exists(secret):
            continue
        whole = [rf"(?<!\w){re.escape(secret)}(?!\w)"]
        pieces = [re.escape(secret[at : at + _PIECE]) for at in range(len(secret) - _PIECE + 1)]
        for found in re.finditer(f"(?=({'|'.join(pieces or whole)}))", text):
            hidden.update(range(*found.span(1)))
    return re.sub("\0+", "[hidden]", "".join("\0" if at in hidden else one for at, one in enumerate(text)))


def shown(address: str) -> str:
    """An address without user, password and query."""
    return re.sub(r"(?<=://)[^/]*@", "", address).partition("?")[0]


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
