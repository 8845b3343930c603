"""Blocks of the dev set: each like the whole, and the same for everyone."""

from __future__ import annotations

from collections import Counter

import dspy

from optimizers.search.blocks import blocks


def test_every_block_holds_its_share_of_every_label() -> None:
    examples = [
        dspy.Example(text=str(index), label="rare" if index % 5 == 0 else "common").with_inputs("text")
        for index in range(100)
    ]
    made = blocks(examples, ["label"], seed=3)
    assert sum(len(block) for block in made) == 100
    for block in made:
        assert Counter(example.label for example in block)["rare"] == 2


def test_the_order_depends_on_the_seed_alone() -> None:
    examples = [dspy.Example(text=str(index)).with_inputs("text") for index in range(50)]
    assert blocks(examples, [], 1) == blocks(examples, [], 1)
    assert blocks(examples, [], 1) != blocks(examples, [], 2)
