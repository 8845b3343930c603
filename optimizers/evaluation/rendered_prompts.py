"""What a candidate's predictors are sent, word for word, and which part of the prompt each word is of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizers.prompting.compile import adapter_of, compile_candidate, demos_of
from optimizers.prompting.renderings.fields import format_value, one_line
from optimizers.records.prompts import Part, Piece, SentMessage, SentPrompt

if TYPE_CHECKING:
    import dspy

    from optimizers.records.candidate import Candidate
    from optimizers.task.task import LoadedTask

BREAK = "\ue010"
"""Stands between messages where a request is looked at as one text. It is for private use, like the marks."""

_MARK = re.compile("\ue000([0-9]+)\ue001")


def sent(task: LoadedTask, candidate: Candidate) -> tuple[SentPrompt, ...]:
    """What is sent for the first dev example, by each predictor's first call.

    Later predictors of a pipeline read what earlier ones wrote: those are left out.

    Args:
        task: The task.
        candidate: One of its candidates.
    """
    compiled = compile_candidate(task.program, candidate, task.models)
    example, found = task.dataset.dev[0], []
    for name, predictor in compiled.module.named_predictors():
        fields = predictor.signature.input_fields
        if any(field not in example for field in fields):
            continue
        inputs = {field: example[field] for field in fields}
        instruction = candidate.predictors[name].instruction
        messages = _messages(predictor, compiled.adapter(), inputs, instruction)
        found.append(SentPrompt(predictor=name, messages=messages))
    return tuple(found)


def _messages(
    predictor: dspy.Predict, adapter: dspy.Adapter, inputs: Mapping[str, Any], instruction: str
) -> tuple[SentMessage, ...]:
    own = adapter_of(predictor, adapter)
    demos = demos_of(predictor, inputs, own)

    def rendered(demos: Sequence[Any], inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = own.format(predictor.signature, list(demos), dict(inputs))
        return made

    messages = rendered(demos, inputs)
    text = _as_text(messages)
    if text.count(BREAK) >= len(messages) or _MARK.search(text):  # the data has these characters itself
        return tuple(_plain(message, own) for message in messages)
    plain = {field: value for field, value in inputs.items() if isinstance(value, (str, int, float))}
    marks = {field: f"\ue000{number}\ue001" for number, field in enumerate(plain)}
    whole, bare = (_as_text(rendered(shown, {**inputs, **marks})) for shown in (demos, []))
    values = [format_value(value) for value in plain.values()]
    for written in (values, list(map(one_line, values))):
        pieces = list(_pieces(whole, bare, instruction, written))
        if "".join(piece for _, piece in pieces) == text:
            break
    else:  # no mark can stand for an input in this rendering
        pieces = list(_pieces(text, _as_text(rendered([], inputs)), instruction, ()))
    return tuple(
        SentMessage(role=_role(message, own), pieces=parts)
        for message, parts in zip(messages, _by_message(pieces), strict=True)
    )


def _plain(message: Mapping[str, Any], adapter: dspy.Adapter) -> SentMessage:
    piece = Piece(part="format", text=str(message["content"]))
    return SentMessage(role=_role(message, adapter), pieces=(piece,))


def _role(message: Mapping[str, Any], adapter: dspy.Adapter) -> str:
    return "text" if adapter.needs_raw else str(message["role"])


def _as_text(messages: Sequence[Mapping[str, Any]]) -> str:
    return BREAK.join(str(message["content"]) for message in messages)


def _pieces(whole: str, bare: str, instruction: str, values: Sequence[str]) -> Iterator[tuple[Part, str]]:
    """A request as one text, part by part.

    Args:
        whole: The request, with marks in place of the inputs.
        bare: The same without demos.
        instruction: What the predictor is told; a rendering may indent its lines.
        values: What the marks stand for: mark 0 for the first, and so on.
    """
    begin, end = _inserted(whole, bare)
    parts: list[Part] = ["format"] * len(whole)
    parts[begin:end] = ["demos"] * (end - begin)
    at = 0
    for line in filter(None, map(str.strip, instruction.splitlines())):
        found = whole.find(line, at, begin if end > begin else len(whole))
        if found >= 0:
            first = at if whole[at:found].isspace() and at else found
            at = found + len(line)
            parts[first:at] = ["instruction"] * (at - first)
    at = 0
    for mark in _MARK.finditer(whole):
        yield from _runs(whole, parts, at, mark.start())
        yield "input", values[int(mark[1])]
        at = mark.end()
    yield from _runs(whole, parts, at, len(whole))


def _inserted(whole: str, bare: str) -> tuple[int, int]:
    """Where the text begins and ends that one has and the other lacks, from the beginning of a line on."""
    begin = _shared(whole, bare)
    after = _shared(whole[begin:][::-1], bare[begin:][::-1])
    end = len(whole) - after
    while 0 < begin < end and whole[begin - 1] not in f"\n{BREAK}" and whole[begin - 1] == whole[end - 1]:
        begin, end = begin - 1, end - 1
    return begin, end


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _runs(whole: str, parts: Sequence[Part], begin: int, end: int) -> Iterator[tuple[Part, str]]:
    """A stretch of the text, cut where another part begins."""
    for at in range(begin + 1, end + 1):
        if at == end or parts[at] != parts[begin]:
            yield parts[begin], whole[begin:at]
            begin = at


def _by_message(pieces: Sequence[tuple[Part, str]]) -> Iterator[tuple[Piece, ...]]:
    message: list[Piece] = []
    for part, text in pieces:
        first, *others = text.split(BREAK)
        message += [Piece(part=part, text=first)] if first else []
        for rest in others:
            yield tuple(message)
            message = [Piece(part=part, text=rest)] if rest else []
    yield tuple(message)
