"""Keys and passwords, kept out of what is shown and written: servers and programs repeat them in errors."""

from __future__ import annotations

import json
import os
import re
from urllib.parse import quote, quote_plus

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
"""Characters of a secret in a row that are hidden wherever they stand."""


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


def shown(address: str) -> str:
    """An address without user, password and query."""
    return re.sub(r"(?<=://)[^/]*@", "", address).partition("?")[0]
