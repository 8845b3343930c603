"""The technique that CONTRIBUTING.md shows is complete: the contract holds, and the search takes it up."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import dspy
import pytest
from fakes import LARGE, SMALL, FakeEngine
from prompting.techniques import test_contract

from optimizers.prompting.compile import compile_candidate
from optimizers.prompting.renderings import RENDERINGS, renderings_for
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.technique import Technique
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.parameters import Parameter
from optimizers.search.space.search_space import search_space
from optimizers.task.task import LoadedTask

TEXT = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
(CODE,) = [
    code
    for code in re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    if "Technique(" in code
]
CONTRACT = [holds for name, holds in vars(test_contract).items() if name.startswith("test_")]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Technique:
    """The technique as shown, registered beside those of the package."""
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(CODE, "CONTRIBUTING.md", "exec", dont_inherit=True), module)
    (technique,) = [value for value in module.values() if isinstance(value, Technique)]
    assert technique.name not in TECHNIQUES
    monkeypatch.setitem(TECHNIQUES, technique.name, technique)
    return technique


@dataclass(frozen=True)
class Eager:
    """A chooser that takes what it wants where it can, and anything elsewhere."""

    wanted: str
    random: Random

    def choose(self, parameter: Parameter, choices: Sequence[Any]) -> Any:
        return self.wanted if self.wanted in choices else self.random.choice(choices)


def test_it_fits_a_screen() -> None:
    assert len(CODE.splitlines()) < 40


@pytest.mark.parametrize("made", test_contract.SIGNATURES.values(), ids=test_contract.SIGNATURES)
@pytest.mark.parametrize("holds", CONTRACT)
def test_it_keeps_the_contract_of_every_technique(
    example: Technique, made: type[dspy.Signature], holds: Callable[..., None]
) -> None:
    assert example.applies(made)
    given = {"technique": example, "made": made, "seed": 0}
    holds(**{name: given[name] for name in inspect.signature(holds).parameters})


def test_it_is_not_applied_twice(example: Technique) -> None:
    for made in test_contract.SIGNATURES.values():
        assert not example.applies(example.longest_signature(example.transform(made)))


def test_the_search_takes_it_up(example: Technique, task: LoadedTask, engines: dict[str, FakeEngine]) -> None:
    space = search_space(task)
    for model in (SMALL, LARGE):
        for rendering in renderings_for(model.kind):
            assert example.name in space.techniques(model, rendering)
    chooser = Eager(example.name, Random(0))
    assert example.name in {space.choose(chooser).technique for _ in range(100)}


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_a_model_reads_everything_twice(
    example: Technique, task: LoadedTask, engines: dict[str, FakeEngine], rendering: str
) -> None:
    demo = {"review": "a fine lamp", "sentiment": "positive"}
    candidate = Candidate(
        model=LARGE.name,
        rendering=rendering,
        technique=example.name,
        predictors={"predict": PredictorPrompt(instruction="Say which it is.", demos=(demo,))},
    )
    said = compile_candidate(task.program, candidate, task.models)({"review": "the chair is good"})
    assert said.sentiment == "positive"
    (request,) = engines[LARGE.name].requests
    sent = "\n".join(message.text or "" for message in request.messages)
    assert sent.count("a fine lamp") == sent.count("the chair is good") == 2
    assert sent.count("read_the_review_again" if rendering == "dspy_chat" else "Read the review again") >= 2
