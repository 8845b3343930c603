"""Checks of models over HTTP: the key, the server, the context.

Requests go only to the addresses that models declare. What a server writes is never shown: it may
repeat the key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from optimizers.cli.doctor.findings import DISTRIBUTION, Finding
from optimizers.errors import without_credentials
from optimizers.models.keys import PLACES, held_variable, key_variables, needs_key

if TYPE_CHECKING:
    from optimizers.models.model import Model

SECONDS = 3.0
"""Time limit for a server's whole answer, from connecting on."""


def key_of(model: Model) -> tuple[str, Finding]:
    """The variable that holds the key of a model over HTTP, and whether it is set; never its value."""
    names, check = key_variables(model.name), f"key of {model.name}"
    variable = held_variable(names)
    if variable and re.fullmatch(r"[!-~]+", os.environ[variable]):
        return variable, Finding(check, "ok", f"{variable} is set")
    if variable:
        said = f"{variable} holds white space or another character that keys never have"
        return variable, Finding(check, "problem", said, "set it again, without a line break")
    needed = needs_key(model)
    said, fix = f"{' or '.join(names)} is not set", f"set {names[0]} in the environment" if needed else ""
    return "", Finding(
        check, "problem" if needed else "ok", said if needed else f"{said}: may not be needed", fix
    )


def place_of(model: Model) -> Iterator[Finding]:
    """Whether a provider without a fixed address (Azure, Bedrock ...) is told where its models are served."""
    provider = model.name.partition("/")[0]
    if provider not in PLACES or model.api_base is not None:
        return
    names, check = PLACES[provider], f"place of {model.name}"
    held = held_variable(names)
    if held is not None:
        yield Finding(check, "ok", f"{held} is set")
    elif provider == "azure":
        fix = f"set {names[0]} to the address of your resource, or declare api_base="
        yield Finding(check, "problem", f"{' or '.join(names)} is not set", fix)
    else:
        said = f"{' or '.join(names)} is not set: the AWS configuration's region is asked, else us-west-2"
        yield Finding(check, "warning", said, f"set {names[0]}")


Answer = Mapping[str, int | None] | int | str
"""A server's answer to the request for its models: context by name; else its status; else, in our words,
why there is no answer."""


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: the key is for the declared address alone."""

    def redirect_request(self, *asked: Any) -> None:
        """Give no request to follow with."""


def ask(address: str, variable: str) -> Answer:
    """A server's answer within the time limit; a thread that takes longer is left behind."""
    answers: list[Answer] = []
    thread = Thread(target=lambda: answers.append(_listed(address, variable)), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return answers[0] if answers else f"no answer within {SECONDS:g} s"


def _listed(address: str, variable: str) -> Answer:
    headers = {"User-Agent": DISTRIBUTION}
    if variable:
        headers["Authorization"] = f"Bearer {os.environ[variable]}"
    try:
        if urlsplit(address).scheme not in ("http", "https"):
            return "not an http address"
        request = Request(f"{address.rstrip('/')}/models", headers=headers)
        with build_opener(_Stay).open(request, timeout=SECONDS) as response:
            body = response.read(4_000_000)
    except HTTPError as error:
        error.close()
        return error.code
    except Exception as error:
        # A message may quote the server; the system's name of a failure does not.
        reason = getattr(error, "reason", error)
        return getattr(reason, "strerror", None) or type(reason).__name__
    try:
        return {str(one["id"]): one.get("max_model_len") for one in json.loads(body)["data"]}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return 200


def server_of(model: Model, address: str, answer: Answer, sent: str) -> Finding:
    """Whether the server at an address will serve the model, by its answer."""
    check, where = f"server of {model.name}", without_credentials(address)
    if isinstance(answer, str):
        return Finding(check, "problem", f"{where}: {answer}", "start the server, or correct api_base")
    if isinstance(answer, int) and answer in (401, 403):
        said = f"{where} refuses the key in {sent}" if sent else f"{where} asks for a key"
        return Finding(
            check, "problem", said, f"set {sent or key_variables(model.name)[0]} to a key of this server"
        )
    if isinstance(answer, int):
        fix = "check api_base: it often ends with /v1"
        said = f"{where} answers with status {answer} and no list of models"
        return Finding(check, "warning", said, "try again later" if answer == 429 or answer >= 500 else fix)
    if model.name.partition("/")[2] in answer:
        return Finding(check, "ok", f"{where} answers and lists the model")
    return Finding(check, "warning", f"{where} does not list the model", f"name one of {where}/models")


def context_of(model: Model, answer: Answer) -> Finding:
    """Whether the declared context fits the one that the server or the cost map names."""
    from optimizers.models.pricing import listed_entries
    from optimizers.models.resolve import REASONING_CONTEXT, REMOTE_CONTEXT

    known = answer.get(model.name.partition("/")[2]) if isinstance(answer, Mapping) else None
    if model.api_base is None:
        known = next((entry.get("max_input_tokens") for _, entry in listed_entries(model.name)), None)
    check, said = f"context of {model.name}", f"{model.context:,} tokens"
    if isinstance(known, int):
        small = known < model.context
        fix = f"declare context={known}" if small else ""
        return Finding(check, "warning" if small else "ok", f"{said}; the model takes {known:,}", fix)
    guessed = model.context in (REMOTE_CONTEXT, REASONING_CONTEXT)
    fix = "declare context= if it takes fewer or more" if guessed else ""
    source = "assumed: neither the server nor the cost map says" if guessed else "as declared"
    return Finding(check, "warning" if guessed else "ok", f"{said}, {source}", fix)
