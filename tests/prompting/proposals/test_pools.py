"""Pools that grow: what is there keeps its name and content, and nothing comes in twice."""

from __future__ import annotations

from optimizers.prompting.proposals.pools import Pool, joined

DEMOS = ({"review": "good", "sentiment": "positive"},)
OTHERS = ({"review": "poor", "sentiment": "negative"},)


def test_finds_of_every_predictor_are_joined() -> None:
    old = {"note": Pool(instructions={"written 1": "Take a note."})}
    new = {
        "note": Pool(demos={"written by abc": DEMOS}),
        "decide": Pool(instructions={"written 1": "Decide it."}),
    }
    found = joined(old, new)
    assert found["note"] == Pool(instructions={"written 1": "Take a note."}, demos={"written by abc": DEMOS})
    assert found["decide"] == new["decide"]
    assert joined({}, new) == new
    assert joined(old, {}) == old


def test_a_name_that_is_taken_keeps_its_content() -> None:
    old = {"p": Pool(instructions={"a": "The first."}, demos={"d": DEMOS})}
    new = {"p": Pool(instructions={"a": "Another.", "b": "A third."}, demos={"d": OTHERS, "e": OTHERS})}
    found = joined(old, new)["p"]
    assert found.instructions == {"a": "The first.", "b": "A third."}
    assert found.demos == {"d": DEMOS, "e": OTHERS}
    # What was offered stays where it was: the choices of a later round begin with the earlier ones.
    assert list(found.instructions) == ["a", "b"]


def test_a_known_text_gets_no_second_name() -> None:
    old = {"p": Pool(instructions={"a": "The same."})}
    assert joined(old, {"p": Pool(instructions={"b": "The same."})}) == old
    twice = Pool(instructions={"x": "Both say this.", "y": "Both say this."})
    assert list(joined(old, {"p": twice})["p"].instructions) == ["a", "x"]
