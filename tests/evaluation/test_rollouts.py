"""Rollouts: what is scored, what is a failure, what a call costs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import AuthError, Message, RateLimitError, Request
from dspy.utils.exceptions import LMAuthError, LMNotConfiguredError, LMTimeoutError
from fakes import LARGE, SMALL, FakeEngine

from optimizers.errors import BudgetSpent, EngineError, MetricError
from optimizers.evaluation.rollouts import run_rollouts
from optimizers.models.lm import Meter, language_model, metered
from optimizers.models.model import Model
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.ledger import Ledger
from optimizers.records.rows import Rollout
from optimizers.task.task import LoadedTask

answer = FakeEngine.complete


def task_candidate(rendering: str, model: str = LARGE.name) -> Candidate:
    return Candidate(
        model=model,
        rendering=rendering,
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Classify.")},
        sampling=Sampling(max_tokens=12),
    )


def run(
    task: LoadedTask, rendering: str, *, metric: Any = None, count: int = 12, model: str = "local/large"
) -> list[Rollout]:
    compiled = compile_candidate(task.program, task_candidate(rendering, model), task.models)
    served = LARGE if model == LARGE.name else SMALL
    examples = task.dataset.dev[:count]
    return list(run_rollouts(compiled, examples, model=served, metric=metric or task.metric, split="dev"))


@pytest.mark.parametrize("rendering", ["completion", "compact", "turns", "json_object", "dspy_chat"])
def test_every_rendering_scores_and_meters_one_call(
    task: LoadedTask, engines: dict[str, FakeEngine], rendering: str
) -> None:
    rollouts = run(task, rendering)
    assert [rollout.calls for rollout in rollouts] == [1] * 12
    assert sum(rollout.score or 0.0 for rollout in rollouts) > 6
    first = rollouts[0]
    assert first.cost == pytest.approx(LARGE.price.cost(first.prompt_tokens, first.completion_tokens))
    assert first.prompt_tokens > 0
    assert first.output["sentiment"] in ("positive", "negative")


def test_a_reply_out_of_format_is_a_wrong_answer_and_one_call(
    task: LoadedTask, engines: dict[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FakeEngine,
        "complete",
        lambda self, request: replace(answer(self, request), message=Message.assistant("dunno")),
    )
    rollouts = run(task, "dspy_chat")
    assert all(r.score == 0.0 and not r.parsed and r.failure is None and r.calls == 1 for r in rollouts)
    assert "dunno" in (rollouts[0].error or "")


def test_a_provider_error_is_a_failure_not_a_wrong_answer(
    task: LoadedTask, engines: dict[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizers.models.lm._wait", lambda error: 0.0)

    def refuse(request: Request) -> None:
        raise RateLimitError("slow down")

    engines["local/large"].fail = refuse
    rollouts = run(task, "compact", count=3)
    assert {(r.failure, r.score) for r in rollouts} == {("rate_limit", None)}
    assert len(engines["local/large"].requests) == 6  # each sent again once


@pytest.mark.parametrize(("key", "said"), [(None, "OPENAI_API_KEY is not set"), ("k", "no such gate")])
def test_a_refusal_names_the_key_that_lacks_else_what_the_provider_says(
    task: LoadedTask,
    engines: dict[str, FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    key: str | None,
    said: str,
) -> None:
    def refuse(request: Request) -> None:
        raise AuthError("no such gate")

    engines["local/large"].fail = refuse
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr("optimizers.evaluation.rollouts.key_variables", lambda model: ("OPENAI_API_KEY",))
    monkeypatch.setattr("optimizers.evaluation.rollouts.needs_key", lambda model: True)
    with pytest.raises(EngineError, match=said) as caught:
        run(task, "compact", count=1)
    assert "run the same command again" in str(caught.value)


def test_a_metric_that_raises_stops_with_the_example_named(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    def broken(example: Any, prediction: Any, trace: Any = None) -> float:
        raise KeyError("gold")

    with pytest.raises(MetricError, match=r"(?s)KeyError.*example [0-9a-f]{16}.*test_rollouts\.py, line \d+"):
        run(task, "compact", metric=broken)


@pytest.mark.parametrize("value", [float("nan"), 7, "yes", None])
def test_a_metric_must_return_a_score(task: LoadedTask, engines: dict[str, FakeEngine], value: Any) -> None:
    with pytest.raises(MetricError, match="return a number from 0 to 1"):
        run(task, "compact", metric=lambda example, prediction, trace=None: value)


def test_a_program_that_raises_is_recorded_as_its_own_failure(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    class Fragile(type(task.program)):  # type: ignore[misc]
        def forward(self, review: str) -> Any:
            super().forward(review=review)
            raise IndexError("no second line")

    from dataclasses import replace

    rollouts = run(replace(task, program=Fragile()), "compact", count=2)
    assert {r.failure for r in rollouts} == {"program"}
    assert rollouts[0].calls == 1


def test_repeats_at_a_temperature_carry_their_own_seeds(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    candidate = Candidate(
        model="local/large",
        rendering="compact",
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Classify.")},
        sampling=Sampling(temperature=0.7, max_tokens=12),
    )
    compiled = compile_candidate(task.program, candidate, task.models)
    for number in (0, 0, 1):
        list(
            run_rollouts(
                compiled, task.dataset.dev[:1], model=LARGE, metric=task.metric, split="dev", number=number
            )
        )
    seeds = [request.config.seed for request in engines["local/large"].requests]
    assert seeds[0] == seeds[1] != seeds[2]


class Tally:
    """A gate that lets so many calls through and notes whose they are."""

    def __init__(self, most: int) -> None:
        self.most, self.models = most, []  # type: ignore[var-annotated]

    def open(self, model: Model, candidate: str | None, prompt: int | None, completion: int | None) -> int:
        if len(self.models) == self.most:
            raise BudgetSpent("calls", f"{self.most} calls")
        self.models.append(model.name)
        return len(self.models)

    def close(self, number: int, call: object) -> None:
        pass

    def fail(self, number: int, *, refused: bool) -> None:
        pass


def test_every_completion_of_a_call_is_reserved(engines: dict[str, FakeEngine]) -> None:
    lm, reserved, used = language_model(SMALL, Sampling(max_tokens=5)), [], []
    gate = Tally(most=1)
    gate.open = lambda model, candidate, *bound: reserved.append(bound) or 1  # type: ignore[func-returns-value, method-assign]
    gate.close = lambda number, call: used.append(call)  # type: ignore[method-assign]
    with metered(gate):
        assert len(lm("Is it a good review?", n=4)) == 4
    assert len(engines["local/small"].requests) == 4
    (prompt, completion), (call,) = reserved[0], used
    assert call.completion == 8 <= completion == 20
    assert call.prompt <= prompt <= 4 * SMALL.context


@pytest.mark.parametrize(
    ("error", "refused"),
    [(LMAuthError("401"), True), (LMNotConfiguredError("no key"), True), (LMTimeoutError("late"), False)],
)
def test_what_was_never_served_is_not_billed(error: Exception, refused: bool) -> None:
    told = []
    gate = Tally(most=1)
    gate.fail = lambda number, *, refused: told.append(refused)  # type: ignore[method-assign]
    Meter(gate).fail(1, error)
    assert told == [refused]


def test_a_judges_calls_pass_the_gate_and_cost_the_rollout_nothing(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    judge = language_model(LARGE)

    def judged(example: dspy.Example, prediction: object) -> float:
        judge(f"Is this a good answer? {prediction}")
        return 1.0

    candidate = Candidate(
        model="local/small",
        rendering="completion",
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Classify.")},
        sampling=Sampling(max_tokens=12),
    )
    compiled = compile_candidate(task.program, candidate, task.models)
    run_all = partial(run_rollouts, compiled, task.dataset.dev[:2], model=SMALL, metric=judged, split="dev")
    gate = Tally(most=4)
    rollouts = run_all(gate=gate)
    assert sorted(gate.models) == ["local/large", "local/large", "local/small", "local/small"]
    assert [rollout.calls for rollout in rollouts] == [1, 1]
    with pytest.raises(BudgetSpent):
        run_all(gate=Tally(most=3))


def test_what_a_program_or_a_metric_does_to_an_example_is_not_seen_by_the_next(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    def spoiling(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> float:
        right = float(example.sentiment == prediction.sentiment)
        example["sentiment"], example["review"] = "spoiled", "spoiled"
        return right

    before = [dict(example.items()) for example in task.dataset.dev[:12]]
    spoiled, again = run(task, "compact", metric=spoiling), run(task, "compact")
    assert [dict(example.items()) for example in task.dataset.dev[:12]] == before
    assert [(r.example, r.score) for r in spoiled] == [(r.example, r.score) for r in again]


def test_a_program_that_ends_the_process_fails_its_rollout_alone(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    def exiting(request: Request) -> None:
        raise SystemExit(0)

    engines["local/large"].fail = exiting
    rollouts = run(task, "compact", count=2)
    assert [(rollout.failure, rollout.error) for rollout in rollouts] == [("program", "SystemExit: 0")] * 2


def test_a_metric_that_ends_the_process_is_an_error_of_the_metric(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    def exiting(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> float:
        raise SystemExit(0)

    with pytest.raises(MetricError, match="SystemExit"):
        run(task, "compact", metric=exiting)


@pytest.mark.parametrize("rendering", ["compact", "json_object"])
def test_half_a_character_in_a_reply_is_kept_as_a_sign_that_files_can_hold(
    task: LoadedTask,
    engines: dict[str, FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    rendering: str,
) -> None:
    reply = '{"sentiment": "half \\ud83d"}' if rendering == "json_object" else "half \ud83d"
    monkeypatch.setattr(
        FakeEngine,
        "complete",
        lambda self, request: replace(answer(self, request), message=Message.assistant(reply)),
    )
    rollouts = run(task, rendering, count=2)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.add(rollouts)
        assert ledger.rollouts() == rollouts
    assert "half" in (rollouts[0].error or "")
    assert "\ud83d" not in str(rollouts)


def test_half_a_character_in_an_output_and_in_feedback(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    class Halved(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict("review -> sentiment")

        def forward(self, review: str) -> dspy.Prediction:
            self.predict(review=review)
            return dspy.Prediction(sentiment="half \ud83d", more={"\ud83d": ["\ud83d"]})

    def criticized(example: Any, prediction: Any, trace: Any = None) -> dspy.Prediction:
        return dspy.Prediction(score=0.0, feedback="half \ud83d")

    compiled = compile_candidate(Halved(), task_candidate("compact"), task.models)
    rollouts = run_rollouts(compiled, task.dataset.train[:2], model=LARGE, metric=criticized, split="train")
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.add(rollouts)
        assert ledger.rollouts() == rollouts
    assert rollouts[0].output["sentiment"] == "half \ufffd"
