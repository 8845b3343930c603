"""What may vary for one predictor: parts that say something, sizes that fit, finds beside draws."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any, Literal

import dspy
import pytest
from fakes import LARGE, SMALL, ClassifySentiment, TakeNote, sentiment_dataset

from optimizers.prompting.proposals.pools import Pool
from optimizers.prompting.proposals.strategies import STRATEGIES
from optimizers.search.space.predictor_space import NEAREST_POOL, WAYS, PredictorSpace, predictor_space

TRAIN = sentiment_dataset().train
DEMOS = tuple({"review": f"r{n}", "sentiment": ("positive", "negative")[n % 2]} for n in range(12))
NOTES = tuple({"review": f"r{n}", "note": f"n{n}"} for n in range(5))


def space(signature: Any = ClassifySentiment, *, train: Any = TRAIN, **pool: Any) -> PredictorSpace:
    return predictor_space(signature, train, (SMALL, LARGE), Pool(**pool))


def test_every_way_and_part_gives_an_instruction_that_its_name_tells() -> None:
    known = space()
    assert list(known.parts) == ["role", "audience", "labels", "steps", "principles", "rule"]
    assert known.parts["labels"] == ("none", "labels", "criteria")
    assert known.parts["rule"] == ("none", "rule", "rule-first")
    texts = Counter()
    for way in WAYS:
        for chosen in product(*known.parts.values()):
            made = known.instruction(way, dict(zip(known.parts, chosen, strict=True)))
            told = {part for part in chosen if part != "none"}
            assert set(made.name.split("+")) == (told | ({way} - {"task"}) or {"task"})
            texts[made.text] += 1
    assert max(texts.values()) == 1


def test_the_users_own_words_stay_as_they_are() -> None:
    signature = ClassifySentiment.with_instructions("  Odd   spacing,\n\nkept. ")
    none = dict.fromkeys(space().parts, "none")
    made = space(signature).instruction("own", none)
    assert (made.name, made.text) == ("own", signature.instructions)
    assert space(signature).instruction("own", {**none, "role": "role"}).name == "own+role"


def test_a_part_that_says_nothing_is_not_offered() -> None:
    assert "labels" not in space(TakeNote).parts
    many = Literal[tuple(f"kind {number}" for number in range(40))]  # type: ignore[valid-type]
    signature = dspy.Signature({"text": (str, dspy.InputField()), "kind": (many, dspy.OutputField())})
    assert space(signature).parts["labels"] == ("none", "labels")


def test_an_instruction_that_was_found_is_taken_word_for_word() -> None:
    made = space(instructions={"written 1": "Weigh the words."}).instruction("written 1", {"role": "role"})
    assert (made.name, made.text) == ("written 1", "Weigh the words.")


@pytest.mark.parametrize("way", STRATEGIES)
def test_strategies_draw_from_train_and_draws_differ(way: str) -> None:
    known = space()
    drawn = [known.demos(way, per_label=2, draw=draw) for draw in range(6)]
    assert all(len(demos) == 4 for demos in drawn)
    assert len({str(demos) for demos in drawn}) >= 4
    assert {demo["review"] for demos in drawn for demo in demos} <= {example.review for example in TRAIN}


def test_found_demos_are_dealt_by_label_the_first_ones_first() -> None:
    known = space(demos={"hardest": DEMOS})
    few, more = (known.demos("hardest", per_label=n, draw=0) for n in (2, 4))
    assert few == more[:4]
    assert sorted(demo["review"] for demo in few) == ["r0", "r1", "r2", "r3"]
    assert Counter(demo["sentiment"] for demo in more) == {"positive": 4, "negative": 4}


def test_a_predictor_that_no_data_labels_has_only_what_was_found() -> None:
    bare = space(TakeNote)
    assert (bare.labelled, bare.nearest_pool, bare.sizes[SMALL.name]) == (False, (), (0,))
    found = space(TakeNote, demos={"written": NOTES})
    assert not found.labelled
    assert found.sizes == {SMALL.name: (0, 1, 2), LARGE.name: (0, 1, 2)}
    # Two demos stand for "one per label" where there are no labels.
    assert found.labels == 2
    assert found.demos("written", per_label=2, draw=0) == NOTES[:4]


def test_sizes_grow_with_what_is_found_and_lose_none() -> None:
    sizes = [space(TakeNote, demos={"w": NOTES[:count]}).sizes[SMALL.name] for count in (1, 3, 4, 5)]
    assert sizes == [(0, 1), (0, 1), (0, 1, 2), (0, 1, 2)]
    labelled = space(demos={"w": DEMOS}).sizes
    assert labelled == space().sizes


def test_demos_fit_the_context_of_the_model_they_are_for() -> None:
    tight = LARGE.model_copy(update={"name": "local/tight", "context": 256})
    sizes = predictor_space(ClassifySentiment, TRAIN, (SMALL, tight), Pool()).sizes
    assert max(sizes[tight.name]) < max(sizes[SMALL.name])
    assert sizes[tight.name][0] == 0


def test_the_pool_for_lookups_is_bounded_and_the_same_every_time() -> None:
    rows = sentiment_dataset(1200).train
    pool = space(train=rows).nearest_pool
    assert len(pool) == NEAREST_POOL < len(rows)
    assert pool == space(train=rows[::-1]).nearest_pool
    assert len(space().nearest_pool) <= len(TRAIN)


def test_the_longest_inputs_of_train_are_known() -> None:
    assert space().longest == {"review": max((e.review for e in TRAIN), key=len)}
    assert space(dspy.Signature("note -> sentiment")).longest == {}


def test_closed_outputs_are_told_from_free_text() -> None:
    assert space().closed
    assert not space(TakeNote).closed
