"""Candidates as choices: each part separately, and nothing where nothing applies."""

from __future__ import annotations

from typing import Any

import pytest

from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt, PromptOrigin, Serving
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
    ("origin", "demos", "found"),
    [
        ({}, 0, {"demos": "0"}),
        (
            {"demos_method": "diverse", "demos_per_label": 4},
            8,
            {"demos": "4 per label", "demos found by": "diverse"},
        ),
        ({"demos_method": "hardest"}, 6, {"demos": "6", "demos found by": "hardest"}),
    ],
)
def test_demos_are_their_number_and_the_way_they_were_found(
    origin: dict[str, Any], demos: int, found: dict[str, str]
) -> None:
    known = PromptOrigin(instruction_parts=("own",), **origin)
    [choices] = chosen(made(origin=known, demos=tuple({"n": place} for place in range(demos))))
    assert {key: value for key, value in choices.items() if key in ("demos", "demos found by")} == found


def test_demos_of_an_input_are_counted_by_what_is_asked_for() -> None:
    origin = PromptOrigin(instruction_parts=("own",), demos_method="nearest")
    [choices] = chosen(made(origin=origin, nearest=Nearest(count=8, pool=({"n": 1},))))
    assert (choices["demos"], choices["demos found by"]) == ("8", "nearest")


def test_a_record_without_origins_is_shown_by_its_labels() -> None:
    [choices] = chosen(made(demos_name="balanced-4-s1", demos=({"n": 1},), instruction_name="own+rule"))
    assert (choices["demos"], choices["demos found by"]) == ("1", "balanced-4-s1")
    assert choices["instruction"] == "own+rule"


def test_where_labels_alternate_is_a_choice_of_its_own() -> None:
    origins = [
        PromptOrigin(
            instruction_parts=("own",), demos_method="diverse", demos_per_label=2, alternate=alternate
        )
        for alternate in (False, True)
    ]
    first, second = chosen(*(made(origin=origin, demos=({"n": 1},)) for origin in origins))
    assert {key for key in first if first[key] != second[key]} == {"demos order"}


def test_instructions_are_whole_unless_some_are_composed_of_parts() -> None:
    def of(*parts: str) -> Candidate:
        return made(instruction_name="+".join(parts), origin=PromptOrigin(instruction_parts=parts))

    assert chosen(of("own-rule"))[0]["instruction"] == "own-rule"
    one, two = chosen(of("own", "rule"), of("own"))
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
