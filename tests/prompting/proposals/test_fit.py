"""Demos that fit: the bound is that of a real request, and as many demos stay as there is room for."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from dspy.lm15 import Request
from fakes import ClassifySentiment, FakeEngine
from hypothesis import given
from hypothesis import strategies as st

from optimizers.models.lm import bounds
from optimizers.prompting.proposals.fit import fit_demos, longest_inputs, prompt_bytes
from optimizers.prompting.renderings import RENDERINGS, rendering

DEMOS = st.lists(
    st.builds(
        lambda review, sentiment: {"review": review, "sentiment": sentiment},
        st.text(max_size=30),
        st.sampled_from(["positive", "negative"]),
    ),
    max_size=6,
).map(tuple)


@given(
    name=st.sampled_from(list(RENDERINGS)),
    demos=DEMOS,
    review=st.text(max_size=20),
    max_bytes=st.integers(0, 2500),
    keep=st.sampled_from(["first", "last"]),
)
def test_the_longest_run_that_fits_is_kept(
    name: str, demos: tuple[dict[str, Any], ...], review: str, max_bytes: int, keep: Any
) -> None:
    how, inputs = rendering(name), {"review": review}
    kept = fit_demos(demos, how, ClassifySentiment, inputs, max_bytes=max_bytes, keep=keep)
    count = len(kept)
    assert kept == (demos[:count] if keep == "first" else demos[len(demos) - count :])
    assert not kept or prompt_bytes(how, ClassifySentiment, kept, inputs) <= max_bytes
    if count < len(demos):
        more = demos[: count + 1] if keep == "first" else demos[len(demos) - count - 1 :]
        assert prompt_bytes(how, ClassifySentiment, more, inputs) > max_bytes


@pytest.mark.parametrize("name", [name for name in RENDERINGS if name != "json_object"])
def test_the_bound_is_that_of_the_request_that_is_sent(name: str) -> None:
    demos = [{"review": "sch\u00f6n und gut", "sentiment": "positive"}]
    inputs = {"review": "not good"}
    engine = FakeEngine()
    lm = dspy.LM("fake/model", engine=engine, cache=False)
    rendering(name)(lm, {}, ClassifySentiment, list(demos), inputs)
    (request,) = engine.requests
    assert isinstance(request, Request)
    assert prompt_bytes(rendering(name), ClassifySentiment, demos, inputs) == bounds(lm, request, None, {})[0]


def test_the_longest_inputs_bound_every_row() -> None:
    rows: list[dict[str, Any]] = [
        {"title": "\u00e9" * 6, "body": "b"},
        {"title": "t" * 11, "body": "b" * 30},
        {"title": "t", "body": ["c"] * 20},
    ]
    signature = dspy.Signature("title, body, extra -> answer")
    longest = longest_inputs(rows, signature)
    assert longest == {"title": "\u00e9" * 6, "body": ["c"] * 20}
    how = rendering("completion")
    most = prompt_bytes(how, signature, (), longest)
    assert all(prompt_bytes(how, signature, (), row) <= most for row in rows)
