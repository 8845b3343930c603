"""What the page shows as sent is what is sent."""

from __future__ import annotations

from dataclasses import replace

import dspy
import pytest
from fakes import LARGE, SMALL, FakeEngine

from optimizers.evaluation.rendered_prompts import sent
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.task.task import LoadedTask

DEMOS = ({"review": "Lovely {x}.", "sentiment": "positive"}, {"review": "Bad.", "sentiment": "negative"})


@pytest.mark.parametrize(
    ("model", "rendering"), [(LARGE.name, "turns"), (LARGE.name, "dspy_chat"), (SMALL.name, "completion")]
)
def test_messages_are_those_of_the_compiled_program(
    task: LoadedTask, engines: dict[str, FakeEngine], model: str, rendering: str
) -> None:
    candidate = Candidate(
        model=model,
        rendering=rendering,
        technique="direct",
        predictors={
            "predict": PredictorPrompt(instruction="Say which it is.", demos=DEMOS, demos_name="two")
        },
        sampling=Sampling(max_tokens=60),
    )
    (found,) = sent(task, candidate)
    assert found.predictor == "predict"
    example = task.dataset.dev[0]
    compile_candidate(task.program, candidate, task.models)({"review": example["review"]})
    (request,) = engines[model].requests
    received = [message.text for message in request.messages]
    if request.system:
        received.insert(0, request.system)
    assert [message.content for message in found.messages] == received
    assert (found.messages[0].role == "text") == (rendering == "completion")
    parts = {
        part: "".join(piece.text for one in found.messages for piece in one.pieces if piece.part == part)
        for part in ("instruction", "demos", "input", "format")
    }
    assert parts["instruction"] == "Say which it is."
    assert parts["input"] == example["review"]
    assert all(value in parts["demos"] for demo in DEMOS for value in demo.values())
    assert example["review"] not in parts["demos"] + parts["format"]


def test_a_prompt_without_demos_whose_data_holds_private_characters_is_still_sent_whole(
    task: LoadedTask,
) -> None:
    odd = dspy.Example(review="odd \ue010 one \ue0000\ue001", sentiment="positive").with_inputs("review")
    task = replace(task, dataset=replace(task.dataset, dev=(odd, *task.dataset.dev)))
    candidate = Candidate(
        model=LARGE.name,
        rendering="dspy_chat",
        technique="direct",
        predictors={"predict": PredictorPrompt(instruction="Say which it is.")},
    )
    (found,) = sent(task, candidate)
    assert odd["review"] in found.messages[-1].content
    assert {piece.part for one in found.messages for piece in one.pieces} == {"format"}
