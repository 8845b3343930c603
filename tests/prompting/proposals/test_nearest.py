"""Demos by likeness: the nearest last, never the row itself, the same from a pool written down."""

from __future__ import annotations

import json
import random
import statistics
import time
from typing import Literal

import dspy
from hypothesis import given
from hypothesis import strategies as st

from optimizers.prompting.proposals.demos import Demo, demo_key, demo_pools
from optimizers.prompting.proposals.nearest import NearestIndex, nearest, pool_index


class Sentiment(dspy.Signature):
    """Tell how the writer feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


WORDS = ["lamp", "chair", "phone", "kettle", "radio", "dim", "loud", "cheap", "sturdy", "late"]


def review(number: int) -> str:
    return " ".join(random.Random(number).sample(WORDS, 4)) + f" {number}"


TRAIN = [
    dspy.Example(review=review(n), sentiment=("positive", "negative")[n % 2], page=n).with_inputs("review")
    for n in range(60)
]


def nearest_index(train: list[dspy.Example], signature: type[dspy.Signature]) -> NearestIndex:
    pools = demo_pools(train, signature)
    demos = sorted((demo for pool in pools.values() for demo in pool), key=demo_key)
    return pool_index(tuple(signature.input_fields), demos)


INDEX = nearest_index(TRAIN, Sentiment)


@given(text=st.lists(st.sampled_from([*WORDS, "unknown", "7"]), max_size=6), k=st.integers(0, 70))
def test_lookups_have_their_size_repeat_and_survive_json_of_the_pool(text: list[str], k: int) -> None:
    inputs = {"review": " ".join(text)}
    demos = nearest(INDEX, inputs, k)
    assert len(demos) == min(k, len(INDEX.demos))
    assert len({demo["review"] for demo in demos}) == len(demos)
    again = pool_index(INDEX.inputs, json.loads(json.dumps(INDEX.demos)))
    assert nearest(again, inputs, k) == demos
    assert demos[len(demos) - k // 2 :] == nearest(INDEX, inputs, min(k, len(INDEX.demos)) and k // 2)


def test_the_order_of_train_does_not_matter() -> None:
    shuffled = random.Random(1).sample(TRAIN, len(TRAIN))
    assert nearest(nearest_index(shuffled, Sentiment), {"review": "a dim lamp"}, 8) == nearest(
        INDEX, {"review": "a dim lamp"}, 8
    )


def test_the_most_like_comes_last() -> None:
    train = [
        dspy.Example(review=text, sentiment="positive")
        for text in ("the lamp is dim", "the lamp", "a kettle", "this radio")
    ]
    demos = nearest(nearest_index(train, Sentiment), {"review": "DIM lamp!"}, 3)
    assert [demo["review"] for demo in demos][1:] == ["the lamp", "the lamp is dim"]


def test_a_row_never_sees_its_own_answer() -> None:
    shown = {demo["review"] for demo in INDEX.demos}
    for example in TRAIN:
        demos = nearest(INDEX, {"review": f"  {example.review.upper()}"}, 60)
        assert {demo["review"] for demo in demos} == shown - {example.review}


def test_demos_hold_the_signatures_fields_of_train_rows() -> None:
    train = {(example.review, example.sentiment) for example in TRAIN}
    for demo in nearest(INDEX, {"review": "cheap"}, 60):
        assert set(demo) == {"review", "sentiment"}
        assert (demo["review"], demo["sentiment"]) in train


def test_a_lookup_among_a_thousand_rows_takes_under_two_milliseconds() -> None:
    train = [dspy.Example(review=review(n) * 5, sentiment="positive") for n in range(1200)]
    index = nearest_index(train, Sentiment)
    seconds = []
    for number in range(50):
        start = time.perf_counter()
        nearest(index, {"review": review(number)}, 8)
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.002


def test_train_without_the_outputs_gives_no_demos() -> None:
    index = nearest_index(TRAIN, dspy.Signature("review -> summary"))
    assert nearest(index, {"review": "lamp"}, 4) == ()


def test_a_pool_of_any_order_finds_the_same_and_its_order_decides_between_equals() -> None:
    pool: list[Demo] = [{"review": text, "sentiment": "positive"} for text in ("a lamp", "a radio", "no")]
    found = nearest(pool_index(("review",), pool), {"review": "lamp or radio"}, 2)
    assert [demo["review"] for demo in found] == ["a radio", "a lamp"]
    found = nearest(pool_index(("review",), pool[::-1]), {"review": "lamp or radio"}, 2)
    assert [demo["review"] for demo in found] == ["a lamp", "a radio"]


def test_only_the_inputs_are_compared_and_missing_ones_are_left_out() -> None:
    pool: list[Demo] = [
        {"review": "dim lamp", "shop": "north", "sentiment": "x"},
        {"review": "radio", "shop": "south", "sentiment": "lamp lamp dim"},
    ]
    index = pool_index(("review", "shop"), pool)
    assert nearest(index, {"review": "lamp", "shop": None, "sentiment": "radio"}, 1) == (pool[0],)
    assert nearest(index, {"shop": "south"}, 1) == (pool[1],)
    assert len(nearest(index, {}, 5)) == 2
    assert nearest(pool_index(("review",), []), {"review": "lamp"}, 3) == ()
