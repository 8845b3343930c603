"""A fake engine behind DSPy's own LM, a small task that runs on it, and made-up measurements."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import dspy
from dspy.lm15 import Message, Request, Response, Usage

from optimizers.export.point import Exported
from optimizers.models.model import Model, Price
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.report import Estimate, Point
from optimizers.records.rows import Block, Rollout, Split, SplitSizes, StudyManifest
from optimizers.search.blocks import BLOCK
from optimizers.search.model.inducing_subset import CandidateStats
from optimizers.search.model.observations import ObservationStore
from optimizers.task.data.load import load_rows
from optimizers.task.data.split import Dataset, make_dataset
from optimizers.task.task import LoadedTask


class FakeEngine:
    """Answers ``positive`` or ``negative`` by the word ``good`` in the text, right as often as its skill.

    Demos raise its skill, so that a search has something to find. Deterministic.
    """

    abilities: ClassVar[frozenset[str]] = frozenset({"raw", "grammar", "schema"})

    def __init__(self, skill: float = 0.6, per_demo: float = 0.04) -> None:
        self.skill, self.per_demo = skill, per_demo
        self.requests: list[Request] = []
        self.fail: Callable[[Request], None] = lambda request: None

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        self.fail(request)
        text = "\n".join(message.text or "" for message in request.messages)
        last = text.rsplit("view", 1)[-1]
        truth = "positive" if "good" in last else "negative"
        demos = len(re.findall(r"positive|negative", text)) // 2
        luck = int(hashlib.sha256(last.encode()).hexdigest()[:6], 16) / 16**6
        wrong = {"positive": "negative", "negative": "positive"}[truth]
        answer = truth if luck < self.odds(request, demos) else wrong
        if request.config.response_format:
            answer = f'{{"sentiment": "{answer}"}}'
        elif "[[ ##" in text:
            answer = f"[[ ## sentiment ## ]]\n{answer}\n\n[[ ## completed ## ]]"
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(answer),
            finish_reason="stop",
            usage=Usage(input_tokens=len(text) // 4, output_tokens=2, cache_read_tokens=0),
        )

    def odds(self, request: Request, demos: int) -> float:
        """Share of texts that a request is answered right on."""
        return self.skill + self.per_demo * min(demos, 8)

    def warm_up(self) -> None:
        pass

    def dump_state(self) -> dict[str, Any]:
        return {"skill": self.skill, "per_demo": self.per_demo}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> FakeEngine:
        return cls(**state)

    def close(self) -> None:
        pass


class NoteEngine(FakeEngine):
    """Serves :class:`Notes`: takes a note as often as its skill, and judges every note right."""

    def judges(self, request: Request) -> bool:
        """Whether it is asked to judge a note rather than to take one."""
        return "sentiment" in str(request).lower() or "positive" in str(request.config)

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        self.fail(request)
        text = "\n".join([str(request.system or ""), *(message.text or "" for message in request.messages)])
        if self.judges(request):
            field, last = "sentiment", re.split("note", text, flags=re.IGNORECASE)[-1]
            answer = "positive" if "good" in last else "negative"
        else:
            field, found = "note", re.findall(r"order (\d+): (the \w+ number \d+ is \w+)", text)
            number, thing = found[-1]
            luck = int(hashlib.sha256(number.encode()).hexdigest()[:6], 16) / 16**6
            answer = thing if luck < self.odds(request, len(found) - 1) else "nothing"
        if request.config.response_format:
            answer = f'{{"{field}": "{answer}"}}'
        elif "[[ ##" in text:
            answer = f"[[ ## {field} ## ]]\n{answer}\n\n[[ ## completed ## ]]"
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(answer),
            finish_reason="stop",
            usage=Usage(input_tokens=len(text) // 4, output_tokens=2, cache_read_tokens=0),
        )


class FakeProposer(FakeEngine):
    """Answers what ``reply`` says to a request's text."""

    abilities: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, reply: Callable[[str], str]) -> None:
        super().__init__()
        self.reply = reply

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        self.fail(request)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(self.reply(request.messages[0].text or "")),
            finish_reason="stop",
            usage=Usage(input_tokens=100, output_tokens=20, cache_read_tokens=0),
        )


def interrupt(engines: Mapping[str, FakeEngine], at: int) -> None:
    """Have the engines interrupt the study once: at the call of this number, counted over all of them."""
    served = 0

    def cut(request: Request) -> None:
        nonlocal served
        served += 1
        if served == at:
            raise KeyboardInterrupt

    for engine in engines.values():
        engine.fail = cut


class Untracked:
    """In place of MLflow, which has tests of its own."""

    recorded = 0

    def __enter__(self) -> Untracked:
        return self

    def __exit__(self, *error: object) -> None: ...

    def trial(self, *args: Any, **known: Any) -> None: ...

    def finish(self, *args: Any) -> None: ...


class ClassifySentiment(dspy.Signature):
    """Say whether a review is positive or negative."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Classify(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.Predict(ClassifySentiment)

    def forward(self, review: str) -> dspy.Prediction:
        return self.predict(review=review)


class TakeNote(dspy.Signature):
    """Write down what the review says of the thing."""

    review: str = dspy.InputField()
    note: str = dspy.OutputField()


class JudgeNote(dspy.Signature):
    """Say whether a note is positive or negative."""

    note: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Notes(dspy.Module):
    """Two steps, the first of which no data labels."""

    def __init__(self) -> None:
        super().__init__()
        self.take = dspy.Predict(TakeNote)
        self.judge = dspy.Predict(JudgeNote)

    def forward(self, review: str) -> dspy.Prediction:
        return self.judge(note=self.take(review=review).note)


def sentiment_matches(example: dspy.Example, prediction: Any, trace: Any = None) -> float:
    return float(example.sentiment == prediction.sentiment)


def reviews(count: int) -> list[dict[str, str]]:
    """Made-up reviews, half of them good."""
    nouns = ["lamp", "chair", "phone", "kettle", "radio", "book", "bag", "clock", "pen", "cup", "rug"]
    rows = []
    for index in range(count):
        word, label = ("good", "positive") if index % 2 else ("poor", "negative")
        noun = nouns[index % len(nouns)]
        rows.append(
            {"review": f"order {index * 7919}: the {noun} number {index} is {word}", "sentiment": label}
        )
    return rows


def sentiment_dataset(count: int = 240) -> Dataset:
    rows = load_rows(reviews(count), base=Path())
    return make_dataset(
        rows, inputs=("review",), outputs=("sentiment",), labels={"sentiment": ("positive", "negative")}
    )


SMALL = Model(
    name="local/small",
    kind="base",
    size=0.1,
    price=Price(input=0.01, output=0.02, source="test"),
    engine="llama",
)
LARGE = Model(
    name="local/large",
    kind="instruct",
    size=1.0,
    price=Price(input=0.1, output=0.2, source="test"),
    engine="llama",
)


PROPOSER = Model(
    name="local/proposer",
    kind="instruct",
    size=8.0,
    price=Price(input=1.0, output=2.0, source="test"),
    engine="llama",
)


def candidate(model: str, name: str) -> Candidate:
    return Candidate(
        model=model,
        rendering="completion",
        technique="direct",
        predictors={"p": PredictorPrompt(instruction=name)},
    )


def rollouts(
    of: Candidate, scores: Iterable[float | None], *, cost: float, split: Split = "dev"
) -> list[Rollout]:
    """A rollout per score; None is a failed one."""
    return [
        Rollout(
            candidate=of.id,
            example=f"{split}{index}",
            split=split,
            score=score,
            failure="timeout" if score is None else None,
            calls=1,
            prompt_tokens=10,
            completion_tokens=1,
            cost=cost,
            latency=0.1,
            created=datetime.now(UTC),
        )
        for index, score in enumerate(scores)
    ]


def fill(
    observations: ObservationStore, of: Candidate, scores: Iterable[float | None], cost: float
) -> CandidateStats:
    """Register a candidate and give it a rollout per score, in blocks."""
    observations.register(of)
    stats = observations.stats[of.id]
    found = list(rollouts(of, scores, cost=cost))
    for start in range(0, len(found), BLOCK):
        observations.add_block(stats, Block.of(found[start : start + BLOCK]))
    return stats


def manifest(**changes: Any) -> StudyManifest:
    """The manifest of a made-up study."""
    content: dict[str, Any] = {
        "name": "study",
        "task": "reviews",
        "program": "reviews.py",
        "fingerprint": "f" * 16,
        "program_hash": "0" * 16,
        "data_hash": "1" * 16,
        "metric": "exact",
        "models": (SMALL, LARGE),
        "reference": LARGE.name,
        "margin": 0.02,
        "seed": 0,
        "sizes": SplitSizes(train=10, dev=20, test=30),
        "created": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return StudyManifest(**content | changes)


def exported_of(
    task: LoadedTask,
    model: Model,
    rendering: str,
    *,
    technique: str = "direct",
    study: Mapping[str, Any] | None = None,
    **prompt: Any,
) -> Exported:
    """A frontier point of a task, of whose predictors all have the same prompt.

    Args:
        task: The task.
        model: Serves it; need not be one of the task's.
        rendering: How it is rendered.
        technique: Its technique.
        study: What the study's manifest says otherwise than a made-up one.
        prompt: Fields of the prompt.
    """
    names = [name for name, _ in task.program.named_predictors()]
    made = Candidate(
        model=model.name,
        rendering=rendering,
        technique=technique,
        predictors=dict.fromkeys(names, PredictorPrompt(**prompt)),
        sampling=Sampling(temperature=0.3, top_p=0.9, max_tokens=60),
    )
    seen = Estimate(mean=0.8, low=0.7, high=0.9, n=50)
    point = Point(
        candidate=made, kind=model.kind, roles=("frontier",), dev=seen, cost=1e-6, latency=0.1,
        prompt_tokens=50, completion_tokens=2,
    )  # fmt: skip
    models = tuple({each.name: each for each in (*task.models, model)}.values())
    compiled = compile_candidate(task.program, made, models, measured=False)
    return Exported(manifest(models=models, **study or {}), point, model, task, compiled)


EXPORTED_AS = [
    (SMALL, "completion"),
    (LARGE, "compact"),
    (LARGE, "turns"),
    (LARGE, "json_object"),
    (LARGE, "dspy_chat"),
]
"""A model with each rendering that an export may meet."""

TEMPLATE_DEMOS = (
    {"review": "{% if x %} it is {{good}} {# so #}", "sentiment": "positive"},
    {"review": "Bad {", "sentiment": "negative"},
)
"""Demos that a template engine would take for its own."""

Make = Callable[..., Exported]


def with_dev(task: LoadedTask, records: Iterable[Mapping[str, Any]], **changes: Any) -> LoadedTask:
    """A task of reviews with these dev examples."""
    dev = tuple(dspy.Example(record).with_inputs("review") for record in records)
    return replace(task, dataset=replace(task.dataset, dev=dev), **changes)


def maker(task: LoadedTask, instruction: str) -> Make:
    """What makes points of a task with these prompts, unless told otherwise: see :func:`exported_of`."""
    told = {"instruction": instruction, "demos": TEMPLATE_DEMOS, "demos_name": "two"}

    def made(model: Model, rendering: str, *, of: LoadedTask = task, **prompt: Any) -> Exported:
        return exported_of(of, model, rendering, **(told | prompt))

    return made


def measured(made: Exported, inputs: Mapping[str, str]) -> list[dict[str, str]]:
    """What the first predictor of an exported point sends."""
    predictor = made.compiled.module.predictors()[0]
    demos = [dict(demo) for demo in predictor.demos]
    messages: list[dict[str, str]] = made.compiled.adapter().format(predictor.signature, demos, dict(inputs))
    return messages


def bound_by_permissions() -> None:
    """Take root's right to write anywhere from a new process: it meets permissions as others do."""
    if os.geteuid() == 0:
        drop, dac_override = 24, 1
        ctypes.CDLL(None).prctl(drop, dac_override, 0, 0, 0)
