"""The exceptions Parity raises on purpose, and the exit code each one means.

::

    ParityError                exit 1  something failed that is not the user's input
    ├── AssetError             exit 1  weights or example data cannot be had or do not verify
    ├── EngineError            exit 1  a model cannot be loaded or served
    ├── MetricError            exit 1  the task's metric raised, or returned something that is no score
    ├── BudgetSpent            exit 1  the next call would not fit the budget; ends a phase of the study
    ├── StorageError           exit 1  the database server of a shared study does not answer
    ├── LeadershipLost               exit 1  another process leads the shared study now
    ├── ExportError            exit 1  an export does not behave as the compiled program does
    └── UserError              exit 2  bad input: named, located, with its fix; nothing was written
        ├── TaskError          a program file that is missing, broken, or declares no task
        ├── DataError          a data file that is missing, empty, mis-shaped or too small
        ├── ModelError         an unknown or misdeclared model
        ├── PriceError         a model whose price nobody has stated
        ├── UsageError         an option with a value it does not take
        ├── BudgetError        a budget that is no positive amount of a known unit
        └── StudyError         a study that does not exist or belongs to another task
"""

from __future__ import annotations

import json
import os
import re
from urllib.parse import quote, quote_plus


class ParityError(Exception):
    """A failure with a message meant for the person at the terminal. Keys in it are hidden.

    Args:
        what: What is wrong, one sentence.
        where: The file, row, column, model or option it is about.
        fix: What to do about it, one sentence.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what = what = scrubbed(what)
        self.where = where = None if where is None else scrubbed(where)
        self.fix = fix = None if fix is None else scrubbed(fix)
        lines = [what]
        if where is not None:
            lines.append(f"  where: {where}")
        if fix is not None:
            lines.append(f"  fix:   {fix}")
        super().__init__("\n".join(lines))


class AssetError(ParityError):
    """Weights or example data cannot be pulled, or their hash does not match."""


class EngineError(ParityError):
    """A model's engine cannot load the weights or failed to answer."""


class MetricError(ParityError):
    """The metric raised, or returned NaN or something that is no number."""


class BudgetSpent(ParityError):
    """The next call would not fit what is left of the budget.

    Args:
        unit: The unit that is used up.
        budget: The budget, in words.
    """

    def __init__(self, unit: str, budget: str) -> None:
        self.unit, self.budget = unit, budget
        super().__init__(f"The budget of {budget} is used up: the next call would exceed its {unit}.")


class StorageError(ParityError):
    """The database server that holds a study does not answer, or refuses."""


class LeadershipLost(ParityError):
    """This process was taken for dead, and another one leads the study."""

    def __init__(self) -> None:
        super().__init__("Another process leads this study now.")


class ExportError(ParityError):
    """An export was refused because it does not match the compiled program."""


class UserError(ParityError):
    """Bad input from the person at the terminal."""

    exit_code = 2


class TaskError(UserError):
    """The program file cannot be used as a task."""


class DataError(UserError):
    """The data cannot be used for this task."""


class ModelError(UserError):
    """The model is unknown or its declaration contradicts itself."""


class PriceError(UserError):
    """The model has no known price, and unknown is never taken for zero."""


class UsageError(UserError):
    """An option has a value it does not take."""


class BudgetError(UserError):
    """The budget is not a positive amount of a known unit."""


class StudyError(UserError):
    """The study is missing, or its name is taken by another task."""


def to_json(error: ParityError) -> str:
    """An error as text that another process can raise again."""
    known = {"kind": type(error).__name__, "what": error.what, "where": error.where, "fix": error.fix}
    spent = {"unit": error.unit, "budget": error.budget} if isinstance(error, BudgetSpent) else {}
    return json.dumps(known | spent)


def from_json(text: str) -> ParityError:
    """The error that another process wrote."""
    known = json.loads(text)
    if known["kind"] == BudgetSpent.__name__:
        return BudgetSpent(known["unit"], known["budget"])
    kind = next((one for one in _kinds(ParityError) if one.__name__ == known["kind"]), ParityError)
    return kind(known["what"], where=known["where"], fix=known["fix"])


def _kinds(of: type[ParityError]) -> list[type[ParityError]]:
    return [of, *(kind for below in of.__subclasses__() for kind in _kinds(below))]


# Keys and passwords are kept out of what is shown and written: servers and programs repeat them in errors.

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWD|PASSWORD|CREDENTIAL)S?(_|$)", re.IGNORECASE)
_SECRET = re.compile(
    r"((?:bearer|basic)\s+(?=\S{12})|[\w-]*(?:key|token|secret|password)=)[^\s@&,'\"]+"
    r"|(?<=://)[^/\s]+(?=@)|\bsk-[\w-]{6,}",
    re.IGNORECASE,
)
_PLACEHOLDERS = {
    "none",
    "null",
    "empty",
    "dummy",
    "fake",
    "test",
    "unused",
    "ollama",
    "lm-studio",
    "not-needed",
}
"""What servers that want no key are given in its place: words that messages need."""

_PIECE = 8
"""Characters of a secret in a row that are hidden wherever they are."""


def scrubbed(text: str) -> str:
    """A text without what looks like a secret, and without the values of variables that hold keys.

    Of a value of eight characters or more, every piece of eight is hidden too, also as JSON, Python and
    addresses write it.
    """
    text = _SECRET.sub(r"\1[hidden]", text)
    hidden: set[int] = set()
    for name, value in os.environ.items():
        secret = value.strip()
        # GOOGLE_APPLICATION_CREDENTIALS and its like name a file, which is no secret.
        if not _SECRET_NAME.search(name) or len(secret) < 4 or os.path.exists(secret):
            continue
        if secret.lower() in _PLACEHOLDERS:
            continue
        whole = [rf"(?<!\w){re.escape(secret)}(?!\w)"]
        pieces = sorted({re.escape(piece) for form in _written(secret) for piece in _pieces(form)})
        for found in re.finditer(f"(?=({'|'.join(pieces or whole)}))", text):
            hidden.update(range(*found.span(1)))
    return re.sub("\0+", "[hidden]", "".join("\0" if at in hidden else one for at, one in enumerate(text)))


def _written(secret: str) -> set[str]:
    """How a secret may be written in other text."""
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)}


def _pieces(secret: str) -> list[str]:
    return [secret[at : at + _PIECE] for at in range(len(secret) - _PIECE + 1)]


def without_credentials(address: str) -> str:
    """An address without user, password and query."""
    return re.sub(r"(?<=://)[^/]*@", "", address).partition("?")[0]
