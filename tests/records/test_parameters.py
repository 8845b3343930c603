"""Parameters are keys: they go through records whole, and no name is ever taken apart."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from optimizers.records.parameters import Choices, Parameter, choices_from_json, choices_to_json, is_legacy

names = st.none() | st.text(alphabet="ab.", max_size=4)
keys = st.builds(Parameter, names, names, st.text(max_size=5), st.lists(st.text(max_size=3)).map(tuple))
values = (
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
)


class Kept(BaseModel):
    choices: Choices


@given(st.dictionaries(keys, values))
def test_choices_come_back_as_they_were(choices: dict[Parameter, object]) -> None:
    assert choices_from_json(json.loads(json.dumps(choices_to_json(choices)))) == choices
    again = Kept.model_validate_json(Kept(choices=choices).model_dump_json())
    assert again.choices == choices


def test_models_and_predictors_with_dots_in_their_names_stay_apart() -> None:
    one, other = Parameter("gpt-5", "1.steps", "demos"), Parameter("gpt-5.1", "steps", "demos")
    assert str(one) == str(other)
    choices: dict[Parameter, object] = {one: 1, other: 2}
    assert choices_from_json(choices_to_json(choices)) == choices


def test_records_with_names_for_keys_are_read_and_known_for_what_they_are() -> None:
    old = {"model": "local/small", "small.answer.demos": 4}
    found = choices_from_json(old)
    assert found == choices_from_json(old)
    assert found[Parameter(None, None, "small.answer.demos")] == 4
    assert is_legacy(found)
    assert not is_legacy({Parameter(None, None, "model"): "m", Parameter("m", None, "rendering"): "turns"})
    assert not is_legacy({Parameter(None, "step", "model"): "m"})
