"""Demo draws: balanced, nested, repeatable, and never more than a model can hold."""

from __future__ import annotations

import json
import random
from collections import Counter
from enum import Enum
from typing import Any, Literal

import dspy
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from optimizers.prompting.proposals.demos import demo_pools, demo_sizes, labelled_demos


class Person(BaseModel):
    name: str


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Sentiment(dspy.Signature):
    """Tell how the writer feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative", "mixed"] = dspy.OutputField()


class Profile(dspy.Signature):
    """Fill in."""

    person: Person = dspy.InputField()
    mood: Mood = dspy.OutputField()
    old: bool = dspy.OutputField()


OPEN = dspy.Signature("question -> answer")


def reviews(counts: dict[str, int]) -> list[dspy.Example]:
    return [
        dspy.Example(review=f"{label} review {number}", sentiment=label, source="web").with_inputs("review")
        for label, count in counts.items()
        for number in range(count)
    ]


TRAIN = reviews({"positive": 60, "negative": 30, "mixed": 10})


@given(per_label=st.integers(0, 9), seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_draws_are_balanced_nested_and_repeatable(per_label: int, seed: int, order: random.Random) -> None:
    demos = labelled_demos(demo_pools(TRAIN, Sentiment), Sentiment, per_label=per_label, seed=seed)
    assert Counter(demo["sentiment"] for demo in demos) == Counter(
        {label: per_label for label in ("positive", "negative", "mixed") if per_label}
    )
    assert len({json.dumps(demo) for demo in demos}) == len(demos)
    assert (
        labelled_demos(demo_pools(TRAIN, Sentiment), Sentiment, per_label=2 * per_label, seed=seed)[
            : len(demos)
        ]
        == demos
    )
    shuffled = list(TRAIN)
    order.shuffle(shuffled)
    assert labelled_demos(demo_pools(shuffled, Sentiment), Sentiment, per_label=per_label, seed=seed) == demos
    assert all(set(demo) == {"review", "sentiment"} for demo in demos)


def test_seeds_draw_other_demos_in_another_order() -> None:
    draws = [
        labelled_demos(demo_pools(TRAIN, Sentiment), Sentiment, per_label=2, seed=seed) for seed in range(6)
    ]
    assert len({json.dumps(draw) for draw in draws}) == 6
    assert len({tuple(demo["sentiment"] for demo in draw) for draw in draws}) > 1


def test_a_rare_label_gives_what_it_has() -> None:
    demos = labelled_demos(
        demo_pools(reviews({"positive": 50, "mixed": 2}), Sentiment), Sentiment, per_label=8, seed=0
    )
    assert Counter(demo["sentiment"] for demo in demos) == {"positive": 8, "mixed": 2}


def test_open_outputs_draw_twice_as_many() -> None:
    train = [dspy.Example(question=f"q{n}", answer=f"a{n}") for n in range(30)]
    assert len(labelled_demos(demo_pools(train, OPEN), OPEN, per_label=4, seed=0)) == 8
    assert len(labelled_demos(demo_pools(train[:5], OPEN), OPEN, per_label=4, seed=0)) == 5


def test_the_longest_tenth_is_passed_over() -> None:
    train = [dspy.Example(question="q" * length, answer="a") for length in range(1, 41)]
    demos = labelled_demos(demo_pools(train, OPEN), OPEN, per_label=40, seed=0)
    assert sorted(len(demo["question"]) for demo in demos) == list(range(1, 37))


def test_repeated_examples_are_drawn_once() -> None:
    train = [dspy.Example(question="q", answer="a")] * 10
    assert labelled_demos(demo_pools(train, OPEN), OPEN, per_label=5, seed=0) == (
        {"question": "q", "answer": "a"},
    )


def test_demos_are_json_values() -> None:
    train = [
        dspy.Example(person=Person(name=f"p{n}"), mood=mood, old=old)
        for n in range(4)
        for mood, old in ((Mood.GOOD, True), ("bad", "false"))
    ]
    demos = labelled_demos(demo_pools(train, Profile), Profile, per_label=2, seed=0)
    assert Counter((demo["mood"], demo["old"]) for demo in demos) == {("good", True): 2, ("bad", False): 2}
    assert all(json.loads(json.dumps(demo)) == demo for demo in demos)
    assert all(demo["person"]["name"].startswith("p") for demo in demos)


def test_train_without_the_predictors_outputs_gives_no_demos() -> None:
    inner = dspy.Signature("review -> summary")
    assert labelled_demos(demo_pools(TRAIN, inner), inner, per_label=4, seed=0) == ()
    assert demo_sizes(demo_pools(TRAIN, inner), max_tokens=4096) == (0,)
    assert labelled_demos(demo_pools([], Sentiment), Sentiment, per_label=4, seed=0) == ()


def test_sizes_fit_half_the_context() -> None:
    assert demo_sizes(demo_pools(TRAIN, Sentiment), max_tokens=100_000) == (0, 1, 2, 4, 8)
    # 101 characters of fields and marks: about 29 tokens a demo, twice as many demos as the size.
    train = [dspy.Example(question=f"{n:080d}", answer="") for n in range(40)]
    fitting: dict[int, Any] = {
        limit: demo_sizes(demo_pools(train, OPEN), max_tokens=limit) for limit in (100, 120, 1000)
    }
    assert fitting == {100: (0,), 120: (0, 1), 1000: (0, 1, 2, 4, 8)}


def test_sizes_stop_where_the_examples_do() -> None:
    assert demo_sizes(demo_pools(reviews({"positive": 3, "negative": 3}), Sentiment), max_tokens=9999) == (
        0,
        1,
        2,
        4,
    )
    assert demo_sizes(demo_pools(reviews({"positive": 1, "negative": 1}), Sentiment), max_tokens=9999) == (
        0,
        1,
    )
