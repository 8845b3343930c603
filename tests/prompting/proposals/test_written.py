"""Written instructions: one grounded request, whatever is usable in the reply, no copy of train."""

from __future__ import annotations

from typing import Literal

import dspy
import pytest
from prompting.proposals.scripted import asked, proposer

from optimizers.prompting.proposals.cleaning import MOST_CHARACTERS
from optimizers.prompting.proposals.written import TIPS, write_instructions, writing_request


class Sentiment(dspy.Signature):
    """Tell how the writer feels."""

    review: str = dspy.InputField(desc="one sentence")
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


KINDS = [("poor", "negative"), ("lovely", "positive"), ("sturdy", "positive")]
TRAIN = [
    dspy.Example(
        review=f"order {n}: the {KINDS[n % 3][0]} lamp " + "stood there " * 60, sentiment=KINDS[n % 3][1]
    ).with_inputs("review")
    for n in range(30)
]
ONE = "Decide whether the writer would recommend the product."
TWO = "Look for praise and blame, and say which is stronger."


def test_the_request_is_grounded_in_task_data_and_program() -> None:
    lm, engine = proposer("")
    write_instructions(lm, Sentiment, TRAIN, count=3, seed=0, source="class Classify: ...")
    request = asked(engine)
    assert "Write 3 instructions" in request
    for said in ("Tell how the writer feels.", "review (one sentence)", "one of: positive, negative"):
        assert said in request
    assert "positive 20, negative 10" in request
    assert "class Classify" in request
    assert sum(tip in request for tip in TIPS) == 1
    assert max(map(len, request.splitlines())) < 600
    assert engine.requests[0].config.max_tokens == 2000


def test_seeds_give_other_tips_and_examples_and_repeat() -> None:
    requests = [writing_request(Sentiment, TRAIN, count=1, seed=seed) for seed in range(30)]
    assert {tip for tip in TIPS for request in requests if tip in request} == set(TIPS)
    assert len(set(requests)) == 30
    assert requests[7] == writing_request(Sentiment, TRAIN, count=1, seed=7)
    assert "The program" not in requests[0]


def test_usable_texts_come_back_clean_and_at_most_as_many_as_asked() -> None:
    copied = f"Note that {TRAIN[4].review} is positive."
    long = "Weigh every single word of it. " * 100
    reply = "Of course!\n" + "\n".join(
        f"<instruction>{text}</instruction>"
        for text in (f'"{ONE}"', copied, ONE, f"Here is one:\n{TWO}", long)
    )
    texts = write_instructions(proposer(reply)[0], Sentiment, TRAIN, count=5, seed=0)
    assert texts[:2] == (ONE, TWO)
    assert len(texts) == 3
    assert len(texts[2]) <= MOST_CHARACTERS
    assert write_instructions(proposer(reply)[0], Sentiment, TRAIN, count=1, seed=0) == (ONE,)
    assert write_instructions(proposer(reply)[0], Sentiment, TRAIN, count=1, seed=0, known=[ONE]) == (TWO,)


@pytest.mark.parametrize("reply", [" ", "I cannot help with that.", "<instruction>", f"1. {ONE}\n2. {TWO}"])
def test_a_reply_without_instructions_gives_none(reply: str) -> None:
    assert write_instructions(proposer(reply)[0], Sentiment, TRAIN, count=2, seed=0) == ()


def test_the_models_own_settings_stand_and_the_seed_goes_with_a_temperature() -> None:
    greedy, engine = proposer("", temperature=0.0, max_tokens=77)
    write_instructions(greedy, Sentiment, TRAIN, count=1, seed=5)
    config = engine.requests[0].config
    assert (config.temperature, config.max_tokens, config.seed) == (0.0, 77, None)
    sampling, engine = proposer("", temperature=0.9)
    write_instructions(sampling, Sentiment, TRAIN, count=1, seed=5)
    assert engine.requests[0].config.seed == 5


def test_a_predictor_inside_a_pipeline_may_not_copy_the_programs_inputs() -> None:
    inner = dspy.Signature("summary -> grade: int")
    request = writing_request(inner, TRAIN, count=1, seed=0)
    assert "lamp" not in request
    assert "30 examples." in request
    reply = f"<instruction>Grade this: {TRAIN[0].review}</instruction>"
    assert write_instructions(proposer(reply)[0], inner, TRAIN, count=1, seed=0) == ()
