"""What holds for every technique, on signatures of every sort."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any, Literal

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from prompting.techniques.scripted import AnyAnswer, Scripted, ScriptedLM
from pydantic import TypeAdapter

from optimizers.prompting.renderings import RENDERINGS
from optimizers.prompting.renderings.constraints import most_characters
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.technique import Technique, output_tokens, with_instruction


def signature(*outputs: Any) -> type[dspy.Signature]:
    made = dspy.Signature("review -> dummy", "Say what it is.").delete("dummy")
    for index, annotation in enumerate(outputs):
        made = made.append(f"kind_{index}", dspy.OutputField(), annotation)
    return made


SIGNATURES = {
    "labels": signature(Literal["positive", "negative"]),
    "many labels": signature(Literal["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
    "labels or none": signature(Literal["red", "green", "blue"] | None),
    "bool": signature(bool),
    "text": signature(str),
    "number": signature(float),
    "whole number or none": signature(int | None),
    "several": signature(Literal["x", "y"], str, int),
}
EVERY = [
    pytest.param(technique, made, id=f"{technique.name}, {name}")
    for technique in TECHNIQUES.values()
    for name, made in SIGNATURES.items()
    if technique.applies(made)
]


@pytest.mark.parametrize(("technique", "made"), EVERY)
def test_the_users_fields_stay(technique: Technique, made: type[dspy.Signature]) -> None:
    seen = technique.transform(made)
    assert seen.input_fields.keys() == made.input_fields.keys()
    assert [name for name in seen.output_fields if name in made.output_fields] == list(made.output_fields)


@pytest.mark.parametrize(("technique", "made"), EVERY)
def test_an_empty_instruction_is_not_replaced_by_dspys_words(
    technique: Technique, made: type[dspy.Signature]
) -> None:
    asked = technique.longest_signature(with_instruction(technique.transform(made), "", technique.words))
    assert "Given the fields" not in asked.instructions


@pytest.mark.parametrize(("technique", "made"), EVERY)
def test_replies_have_room(technique: Technique, made: type[dspy.Signature]) -> None:
    limits = technique.reply_tokens(made)
    assert list(limits) == sorted(set(limits))
    asked = technique.longest_signature(technique.transform(made))
    thought = next(iter(asked.output_fields.values()))
    written = most_characters(thought) if technique.reasons else 0
    assert written is not None
    assert limits[0] >= output_tokens(made if technique.reasons else asked)[0] + written


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("technique", "made"), EVERY)
def test_a_run_answers_every_output_within_its_calls(
    technique: Technique, made: type[dspy.Signature], seed: int
) -> None:
    seen = technique.transform(made)
    if technique.run is None:
        assert technique.calls(made) == 1
        return
    random = Random(seed)
    lm = ScriptedLM(lambda text: {" positive": -0.5, " negative": -1.5, " a": -1.0, " true": -1.0})
    predict = Scripted(seen, (AnyAnswer(seen, random) for _ in itertools.count()), lm=lm)
    values = technique.run(predict, {"review": "It is fine."})
    assert values.keys() == seen.output_fields.keys()
    assert 1 <= len(predict.asked) + len(lm.requests) <= technique.calls(made)
    for name, info in seen.output_fields.items():
        TypeAdapter(info.annotation).validate_python(values[name], strict=True)


@pytest.mark.parametrize(("technique", "made"), EVERY)
def test_replies_that_never_keep_the_format_are_a_wrong_answer(
    technique: Technique, made: type[dspy.Signature]
) -> None:
    if technique.run is None or "logprobs" in technique.abilities:
        return
    predict = Scripted(technique.transform(made), itertools.repeat(None))
    with pytest.raises(AdapterParseError):
        technique.run(predict, {"review": "It is fine."})


def test_names_are_keys_and_direct_comes_first() -> None:
    assert next(iter(TECHNIQUES)) == "direct"
    assert all(technique.name == name for name, technique in TECHNIQUES.items())
    for technique in TECHNIQUES.values():
        assert technique.renderings is None or technique.renderings <= RENDERINGS.keys()


def test_every_signature_may_be_answered_in_several_calls_anywhere() -> None:
    # The search space counts on it.
    for made in SIGNATURES.values():
        for name in RENDERINGS:
            assert any(t.run and t.applies(made) and t.fits(name, frozenset()) for t in TECHNIQUES.values())
