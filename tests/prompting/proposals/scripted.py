"""A proposer that says what it is told to, and a small task to propose for."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, Usage


class Scripted:
    """An engine with one reply for every request, which it keeps."""

    abilities: frozenset[str] = frozenset()

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(self.reply),
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
        )


def proposer(reply: str, **settings: Any) -> tuple[dspy.LM, Scripted]:
    """A proposer and its engine."""
    engine = Scripted(reply)
    return dspy.LM("fake/proposer", engine=engine, cache=False, **settings), engine


def asked(engine: Scripted) -> str:
    """The text of the one request that was sent."""
    (request,) = engine.requests
    return request.messages[0].text or ""
