"""Ways to choose demos: as many as a balanced draw, from train alone, the same for a seed."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import dspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.prompting.proposals.demos import Demo, demo_pools, labelled_demos
from optimizers.prompting.proposals.strategies import (
    alternate_labels,
    diverse_demos,
    hardest_demos,
    random_demos,
)


class Sentiment(dspy.Signature):
    """Tell how the writer feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


OPEN = dspy.Signature("question -> answer")
NOUNS = ["lamp", "chair", "phone", "kettle", "radio"]
TRAIN = [
    dspy.Example(review=f"the {NOUNS[n % 5]} is {word} {n}", sentiment=label, page=n).with_inputs("review")
    for label, word, count in (("positive", "fine", 45), ("negative", "poor", 15))
    for n in range(count)
]
FAILED = [(example, number / 60) for number, example in enumerate(TRAIN) if number % 3]

STRATEGIES: dict[str, Callable[..., tuple[Demo, ...]]] = {
    "random": random_demos,
    "diverse": diverse_demos,
    "hardest": lambda *args, **options: hardest_demos(*args, failed=FAILED, **options),
}
each = pytest.mark.parametrize("draw", STRATEGIES.values(), ids=STRATEGIES)


@each
@settings(max_examples=15)
@given(per_label=st.integers(0, 9), seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_draws_have_the_size_of_a_balanced_one_and_keep_to_train(
    draw: Any, per_label: int, seed: int, order: random.Random
) -> None:
    demos = draw(demo_pools(TRAIN, Sentiment), Sentiment, per_label=per_label, seed=seed)
    assert len(demos) == len(
        labelled_demos(demo_pools(TRAIN, Sentiment), Sentiment, per_label=per_label, seed=seed)
    )
    assert len({json.dumps(demo) for demo in demos}) == len(demos)
    train = [{"review": example.review, "sentiment": example.sentiment} for example in TRAIN]
    assert all(demo in train for demo in demos)
    shuffled = list(TRAIN)
    order.shuffle(shuffled)
    assert draw(demo_pools(shuffled, Sentiment), Sentiment, per_label=per_label, seed=seed) == demos
    assert (
        draw(demo_pools(TRAIN, Sentiment), Sentiment, per_label=per_label + 3, seed=seed)[: len(demos)]
        == demos
    )


@each
def test_seeds_draw_other_demos(draw: Any) -> None:
    draws = {
        json.dumps(draw(demo_pools(TRAIN, Sentiment), Sentiment, per_label=2, seed=seed)) for seed in range(6)
    }
    assert len(draws) > 2


@each
def test_open_outputs_and_train_without_the_outputs(draw: Any) -> None:
    train = [dspy.Example(question=f"why {n} {n % 7}", answer=f"a{n}") for n in range(30)]
    assert len(draw(demo_pools(train, OPEN), OPEN, per_label=3, seed=0)) == 6
    assert draw(demo_pools(TRAIN, OPEN), OPEN, per_label=3, seed=0) == ()
    assert draw(demo_pools([], Sentiment), Sentiment, per_label=3, seed=0) == ()


def test_random_draws_follow_the_labels_shares() -> None:
    seen = Counter(
        demo["sentiment"]
        for seed in range(100)
        for demo in random_demos(demo_pools(TRAIN, Sentiment), Sentiment, per_label=2, seed=seed)
    )
    assert 0.65 < seen["positive"] / seen.total() < 0.85


def test_diverse_demos_show_more_of_what_there_is() -> None:
    def kinds(draw: Any) -> float:
        draws = [draw(demo_pools(TRAIN, Sentiment), Sentiment, per_label=5, seed=seed) for seed in range(20)]
        seen = [{(demo["review"].split()[1], demo["sentiment"]) for demo in demos} for demos in draws]
        return float(np.mean([len(kinds) for kinds in seen]))

    assert kinds(diverse_demos) > 9
    assert kinds(labelled_demos) < 8


def test_a_diverse_draw_of_a_large_pool_stays_quick() -> None:
    chance = random.Random(0)
    train = [
        dspy.Example(question=" ".join(chance.choices("abcdefghij", k=9)) + f" {n}", answer="x")
        for n in range(4000)
    ]
    start = time.perf_counter()
    assert len(diverse_demos(demo_pools(train, OPEN), OPEN, per_label=8, seed=0)) == 16
    assert time.perf_counter() - start < 10


def test_the_hardest_come_first_and_the_never_failed_last() -> None:
    positive = [example for example in TRAIN if example.sentiment == "positive"]
    failed = [(example, 0.0) for example in positive[:10]]
    failed += [(positive[20], 0.5), (positive[21], 0.9)]
    demos = hardest_demos(demo_pools(positive, Sentiment), Sentiment, per_label=40, seed=3, failed=failed)
    reviews = [demo["review"] for demo in demos]
    assert reviews[:2] == [positive[21].review, positive[20].review]
    easy = {example.review for example in positive[:10]}
    first_easy = next(place for place, review in enumerate(reviews) if review in easy)
    assert set(reviews[first_easy:]) <= easy
    assert sum(review in easy for review in reviews) > 5


def test_labels_take_turns_in_the_order_they_appear() -> None:
    demos = [{"review": str(n), "sentiment": label} for n, label in enumerate("nnppnpnn")]
    names = {"n": "negative", "p": "positive"}
    demos = [{**demo, "sentiment": names[demo["sentiment"]]} for demo in demos]
    turned = alternate_labels(demos, Sentiment)
    assert "".join(demo["sentiment"][0] for demo in turned) == "npnpnpnn"
    assert [demo["review"] for demo in turned] == ["0", "2", "1", "3", "4", "5", "6", "7"]
    open_demos = [{"question": "b", "answer": "1"}, {"question": "a", "answer": "2"}]
    assert alternate_labels(open_demos, OPEN) == tuple(open_demos)
