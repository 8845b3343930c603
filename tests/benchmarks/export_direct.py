"""Direct runs of compiled programs: the outputs that exports are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import dspy
from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from optimizers.export.mlflow_model import answers_of
from optimizers.models import llama
from optimizers.prompting.compile import compile_candidate
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    from optimizers.export.point import Exported
    from optimizers.records.candidate import Candidate
    from optimizers.records.report import FrontierReport, Point


@dataclass(frozen=True)
class PredictorRun:
    """One predictor's call in a direct run.

    Attributes:
        predictor: Its name.
        inputs: Its inputs.
        values: Outputs parsed from its reply; None where the reply did not keep the format.
        body: The request; None where a technique sent several.
        reply: The reply's text; None as with the body.
    """

    predictor: str
    inputs: Mapping[str, Any]
    values: Mapping[str, Any] | None
    body: Mapping[str, Any] | None
    reply: str | None


@dataclass(frozen=True)
class DirectRun:
    """One dev example run directly.

    Attributes:
        id: The example's.
        inputs: Its inputs.
        answer: The program's outputs; None where a reply did not keep the format.
        score: The metric's.
        steps: The predictors' calls.
    """

    id: str
    inputs: Mapping[str, Any]
    answer: Mapping[str, Any] | None
    score: float
    steps: tuple[PredictorRun, ...]


def rows_of(exported: Exported, count: int) -> list[dspy.Example]:
    """The dev examples with the lowest content hashes, which promptfoo's tests are made of."""
    return sorted(exported.task.dataset.dev, key=example_id)[:count]


def greedy(candidate: Candidate) -> bool:
    """Whether every call is greedy: sampled replies do not repeat."""
    return all(candidate.serving(name).sampling.temperature == 0 for name in candidate.predictors)


def endpoint(candidate: Candidate) -> str:
    """``completion`` where every prompt is text to continue, else ``chat``."""
    raw = all(candidate.serving(name).rendering == "completion" for name in candidate.predictors)
    return "completion" if raw else "chat"


def in_order(report: FrontierReport) -> list[Point]:
    """The greedy points: those of the frontier first, by quality on test, then the others by dev."""
    found = [point for point in report.points if greedy(point.candidate)]

    def order(point: Point) -> tuple[bool, float]:
        return "frontier" not in point.roles, -(point.test or point.dev).mean

    return sorted(found, key=order)


@contextmanager
def bodies_sent() -> Iterator[list[tuple[dict[str, Any], str]]]:
    """Requests to embedded engines inside the block, each with its reply's text."""
    seen: list[tuple[dict[str, Any], str]] = []
    send = llama._send

    def recorded(server: Any, body: dict[str, Any]) -> dict[str, Any]:
        reply = send(server, body)
        seen.append((body, text_of(reply)))
        return reply

    with patch.object(llama, "_send", recorded):
        yield seen


def text_of(reply: Mapping[str, Any]) -> str:
    """The text of a reply in OpenAI's form."""
    choice = reply["choices"][0]
    return choice["text"] if "text" in choice else choice["message"].get("content") or ""


def run_directly(exported: Exported, examples: Sequence[dspy.Example]) -> list[DirectRun]:
    """Run a compiled program as a study does: embedded engine, no DSPy cache, one row at a time."""
    compiled = compile_candidate(exported.task.program, exported.point.candidate, exported.manifest.models)
    names = {id(predictor): name for name, predictor in compiled.module.named_predictors()}
    outputs = list(answers_of(exported))
    rows = []
    for example in examples:
        inputs = example.inputs().toDict()
        trace: list[Any] = []
        with bodies_sent() as sent, dspy.context(trace=trace):
            try:
                prediction = compiled(inputs)
            except AdapterParseError:
                prediction = None
        answer = None if prediction is None else _values(prediction, outputs)
        score = 0.0 if prediction is None else float(exported.task.metric(example, prediction))
        requests = sent if len(sent) == len(trace) else [(None, None)] * len(trace)
        steps = tuple(
            PredictorRun(
                predictor=names[id(predictor)],
                inputs={name: given[name] for name in predictor.signature.input_fields if name in given},
                values=_values(made, predictor.signature.output_fields) if made else None,
                body=body,
                reply=reply,
            )
            for (predictor, given, made), (body, reply) in zip(trace, requests, strict=True)
        )
        rows.append(DirectRun(example_id(example), inputs, answer, score, steps))
    return rows


def _values(prediction: Any, names: Any) -> dict[str, Any]:
    return {name: serialize_for_json(prediction.get(name)) for name in names}
