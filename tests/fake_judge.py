"""A judge that says what a function makes of what it is asked."""

from __future__ import annotations

from collections.abc import Callable

import dspy
from dspy.lm15 import Message, Request, Response, Usage
from fakes import FakeEngine


class FakeJudge(FakeEngine):
    """Replies what a function makes of the request's text."""

    def __init__(self, reply: Callable[[str], str]) -> None:
        super().__init__()
        self.reply = reply

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        text = self.reply(request.messages[-1].text or "")
        usage = Usage(input_tokens=10, output_tokens=2, cache_read_tokens=0)
        message = Message.assistant(text)
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)


def judge(reply: Callable[[str], str]) -> tuple[dspy.LM, FakeJudge]:
    engine = FakeJudge(reply)
    return dspy.LM("openai/judge", engine=engine, cache=False), engine
