"""A predictor that answers from a script, for techniques alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TokenLogprob, TopLogprob, Usage
from dspy.utils.exceptions import AdapterParseError

from optimizers.prompting.renderings import rendering
from optimizers.prompting.renderings.fields import closed_values, parse_value, without_none

Ask = tuple[dict[str, Any], type[dspy.Signature], list[dict[str, Any]], dict[str, Any]]


@dataclass
class ScriptedLM:
    """Gives the log-probabilities it is told for the first token, by the text of the prompt."""

    logprobs: Callable[[str], Mapping[str, float]]
    reply: str = "positive"
    model: str = "local/scripted"
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        top = self.logprobs(request.messages[-1].text or "")
        listed = tuple(
            TopLogprob(token=token, logprob=value, bytes=tuple(token.encode()))
            for token, value in top.items()
        )
        steps = (TokenLogprob(token="x", logprob=-1.0, top=listed),) if listed else None
        return Response(
            id=None,
            model=self.model,
            message=Message.assistant(self.reply),
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
            logprobs=steps,
        )


@dataclass
class Scripted:
    """Stands for the predictor; ``answers`` gives the values of each call, or None for a broken reply."""

    signature: type[dspy.Signature]
    answers: Iterator[Mapping[str, Any] | None]
    demos: Sequence[Mapping[str, Any]] = ()
    lm: Any = None
    adapter: Any = field(default_factory=lambda: rendering("completion"))
    asked: list[Ask] = field(default_factory=list)

    def ask(
        self,
        inputs: Mapping[str, Any],
        *,
        signature: type[dspy.Signature] | None = None,
        demos: Sequence[Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        shown = self.demos if demos is None else demos
        asked = signature or self.signature
        self.asked.append((dict(inputs), asked, [dict(demo) for demo in shown], settings))
        answer = next(self.answers)
        if answer is None:
            raise AdapterParseError("scripted", asked, "gibberish")
        return {name: answer[name] for name in asked.output_fields}


class AnyAnswer(Mapping[str, Any]):
    """A value for every output of a signature, drawn at random among those its type allows."""

    def __init__(self, signature: type[dspy.Signature], random: Random) -> None:
        self.signature, self.random = signature, random

    def __getitem__(self, name: str) -> Any:
        fields = self.signature.output_fields
        if name not in fields:
            return self.random.choice({"verdict": ["correct", "wrong"], "answer": ["yes", "no"]}[name])
        inner, nullable = without_none(fields[name].annotation)
        if nullable and self.random.random() < 0.3:
            return None
        closed = closed_values(inner)
        if closed:
            return parse_value(self.random.choice(closed), inner)
        return {int: self.random.randrange(9), float: self.random.random()}.get(
            inner, f"text {self.random.randrange(3)}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.signature.output_fields)

    def __len__(self) -> int:
        return len(self.signature.output_fields)
