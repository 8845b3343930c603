"""Models behind an OpenAI-compatible server on this machine, through each of DSPy's backends."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import Classify, sentiment_dataset, sentiment_matches

from optimizers.evaluation.rollouts import run_rollouts
from optimizers.models.llama import llama_engine
from optimizers.models.lm import language_model, metered
from optimizers.models.resolve import model
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def address() -> str:
    """llama.cpp's own server, on loopback, serving SmolLM2."""
    engine = llama_engine(model("local/smollm2-135m-instruct"))
    engine.warm_up()
    server: Any = engine._server
    return f"{server.listening_address}/v1"


INSTRUCTION = "Say whether a review is positive or negative."


def run(rendering: str, instruction: str = INSTRUCTION, **declared: Any) -> list[Any]:
    served = model("openai/smollm2", price=(0.1, 0.2), size=0.135, concurrency=2, **declared)
    candidate = Candidate(
        model=served.name,
        rendering=rendering,
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction=instruction)},
        sampling=Sampling(max_tokens=60),
    )
    compiled = compile_candidate(Classify(), candidate, [served])
    examples = sentiment_dataset().dev[:4]
    return list(run_rollouts(compiled, examples, model=served, metric=sentiment_matches, split="dev"))


@pytest.mark.parametrize("engine", ["lm15", "litellm", "auto"])
def test_chat_models_answer_are_metered_and_priced(address: str, engine: str) -> None:
    rollouts = run("turns", api_base=address, engine=engine, kind="instruct")
    assert [rollout.failure for rollout in rollouts] == [None] * 4, rollouts[0].error
    assert all(rollout.calls == 1 and rollout.prompt_tokens > 20 for rollout in rollouts)
    first = rollouts[0]
    assert first.cost == pytest.approx((first.prompt_tokens * 0.1 + first.completion_tokens * 0.2) / 1e6)


def test_a_base_model_is_sent_plain_text(address: str) -> None:
    rollouts = run("completion", api_base=address, kind="base")
    assert [rollout.failure for rollout in rollouts] == [None] * 4, rollouts[0].error
    # The words of the instruction and one review: a chat template would add a dozen tokens more.
    assert all(rollout.prompt_tokens < 45 for rollout in rollouts)


@pytest.mark.parametrize(
    ("engine", "kind", "rendering"),
    [("lm15", "instruct", "turns"), ("litellm", "instruct", "turns"), ("auto", "base", "completion")],
)
def test_a_prompt_that_does_not_fit_is_no_wrong_answer(
    address: str, engine: str, kind: str, rendering: str
) -> None:
    long = "Say whether a review is positive or negative. " * 2000
    rollouts = run(rendering, long, api_base=address, engine=engine, kind=kind)
    assert {rollout.failure for rollout in rollouts} == {"context_overflow"}, rollouts[0].error


def test_a_server_that_is_not_there_is_a_failure_of_every_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dspy.clients.execution._delay", lambda exc, attempt: 0.0)
    rollouts = run("turns", api_base="http://127.0.0.1:9/v1", engine="lm15", kind="instruct")
    assert {rollout.failure for rollout in rollouts} == {"server"}


def test_calls_past_parity_are_still_priced_by_dspy(address: str) -> None:
    run("turns", api_base=address, engine="lm15", kind="instruct")
    served = model("openai/gpt-4o-mini", api_base=address, engine="lm15")
    lm = language_model(served, Sampling(max_tokens=4), measured=False)
    lm("Say yes.")
    assert lm.history[-1]["cost"] > 0
    with metered() as meter:
        language_model(served, Sampling(max_tokens=4))("Say yes.")
    assert len(meter.calls) == 1
