"""Candidates as choices: read from their names, each part apart, and nothing where nothing applies."""

from __future__ import annotations

from typing import Any

import pytest

from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt, Serving
from optimizers.results.choices import choices_of


def made(sampling: Sampling | None = None, **prompt: Any) -> Candidate:
    return Candidate(
        model="local/small",
        rendering="completion",
        technique="direct",
        predictors={"p": PredictorPrompt(instruction="Say.", **prompt)},
        sampling=sampling or Sampling(),
    )


def chosen(*candidates: Candidate) -> list[dict[str, str]]:
    return list(choices_of({str(place): one for place, one in enumerate(candidates)}).values())


@pytest.mark.parametrize(
    ("name", "demos", "found"),
    [
        ("none", 0, {"demos": "0"}),
        ("4 per label, draw 2", 8, {"demos": "4 per label", "demos found by": "draw"}),
        ("12 per label, diverse 0", 24, {"demos": "12 per label", "demos found by": "diverse"}),
        ("8 nearest", 0, {"demos": "8", "demos found by": "nearest"}),
        ("6 bootstrapped", 6, {"demos": "6", "demos found by": "bootstrapped"}),
        ("balanced-4-s1", 4, {"demos": "4", "demos found by": "balanced-4-s1"}),
    ],
)
def test_demos_are_their_number_and_the_way_they_were_found(
    name: str, demos: int, found: dict[str, str]
) -> None:
    [choices] = chosen(made(demos_name=name, demos=tuple({"n": place} for place in range(demos))))
    assert {key: value for key, value in choices.items() if "demos" in key} == found


def test_which_draw_it_was_is_no_way_of_finding_demos() -> None:
    first, second = chosen(made(demos_name="2 per label, draw 0"), made(demos_name="2 per label, draw 3"))
    assert first == second


def test_instructions_are_whole_unless_some_are_named_by_parts() -> None:
    assert chosen(made(instruction_name="own-rule"))[0]["instruction"] == "own-rule"
    one, two = chosen(made(instruction_name="own+rule"), made(instruction_name="own"))
    assert (one["instruction part: own"], two["instruction part: own"]) == ("yes", "yes")
    assert (one["instruction part: rule"], two["instruction part: rule"]) == ("yes", "no")
    assert "instruction" not in one


def test_what_a_greedy_candidate_does_not_use_is_no_choice_of_it() -> None:
    greedy, drawn, topped = chosen(
        made(), made(Sampling(temperature=0.7, top_p=0.9)), made(Sampling(temperature=0.7, top_k=40))
    )
    assert {"top_p", "top_k"} & set(greedy) == set()
    assert (drawn["temperature"], drawn["top_p"], drawn["top_k"]) == ("0.7", "0.9", "off")
    assert (topped["top_p"], topped["top_k"]) == ("1", "40")
    assert greedy["max_tokens"] == "256"


def test_predictors_have_choices_of_their_own_and_of_what_serves_them_where_that_differs() -> None:
    prompts = {
        name: PredictorPrompt(instruction="Say.", instruction_name=name) for name in ("note", "decide")
    }
    alike = made().model_copy(update={"predictors": prompts})
    assert alike.servings == (alike.serving("note"),)
    [choices] = chosen(alike)
    assert (choices["note: instruction"], choices["decide: instruction"]) == ("note", "decide")
    assert choices["model"] == "local/small"
    other = Serving(model="local/large", rendering="turns", technique="direct")
    apart = made().model_copy(
        update={"predictors": prompts | {"note": prompts["note"].model_copy(update={"serving": other})}}
    )
    plain, mixed = chosen(alike, apart)
    assert "model" not in plain
    assert (plain["note: model"], mixed["note: model"]) == ("local/small", "local/large")
    assert mixed["decide: rendering"] == "completion"
