"""What may vary for one predictor: how its task is said, and which demos it is shown."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optimizers.prompting.proposals.demos import (
    SIZES,
    Demo,
    DemoPools,
    demo_pools,
    demo_sizes,
)
from optimizers.prompting.proposals.fit import longest_inputs
from optimizers.prompting.proposals.instructions import Instruction, compose, parts_for
from optimizers.prompting.proposals.pools import Pool
from optimizers.prompting.proposals.strategies import STRATEGIES
from optimizers.prompting.techniques.technique import output_tokens, with_bounded_thoughts
from optimizers.search.space.parts import TOGGLES

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model

WAYS = ("own", "task", "brief", "pseudo-code")
"""Ways to say the task: the user's words, one plain sentence, fewer words, a procedure."""

EITHER: Mapping[str, tuple[str, ...]] = {"labels": ("labels", "criteria"), "rule": ("rule", "rule-first")}
"""Parts that stand for each other: choice -> its forms."""

NEAREST_POOL = 400
"""Examples that demos for an input are looked up in, at most: a candidate carries them all."""


@dataclass(frozen=True)
class PredictorSpace:
    """What may vary for one predictor.

    Attributes:
        signature: The user's signature.
        sizes: Model name -> demos per label that fit its context, 0 first.
        pool: What was found for it.
        pools: What labelled demos are drawn from; empty where the train split has no labels for it.
        labels: Demos that "one per label" stands for.
        ordered: Whether demos have labels, which may alternate.
        nearest_pool: Examples that demos for an input are looked up in.
        longest: Of each input field the longest value in the train split.
    """

    signature: type[dspy.Signature]
    sizes: Mapping[str, tuple[int, ...]]
    pool: Pool
    pools: DemoPools
    labels: int
    ordered: bool
    nearest_pool: tuple[Demo, ...]
    longest: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def parts(self) -> dict[str, tuple[Any, ...]]:
        """Part -> its choices, the first of which leaves it out."""
        known = parts_for(self.signature)
        choices: dict[str, tuple[Any, ...]] = {}
        for toggle in TOGGLES:
            forms = [form for form in EITHER.get(toggle, (toggle,)) if form in known]
            if forms:
                choices[toggle] = ("none", *forms)
        return choices

    @cached_property
    def closed(self) -> bool:
        """Whether every output is a closed value or a number."""
        return len(output_tokens(self.signature)) == 1

    def instruction(self, way: str, parts: Mapping[str, str]) -> Instruction:
        """One instruction.

        Args:
            way: How the task is said, or the name of an instruction of the pool.
            parts: Part -> its form, as in :attr:`parts`.
        """
        if way in self.pool.instructions:
            return Instruction((way,), self.pool.instructions[way])
        forms = {form for form in parts.values() if form != "none"}
        if way == "own" and not forms:
            return Instruction(("own",), self.signature.instructions)
        return compose(self.signature, frozenset(forms | ({way} - {"task"})))

    @property
    def labelled(self) -> bool:
        """Whether the train split labels it."""
        return bool(self.pools)

    def method(self, source: str) -> str:
        """How demos of a source are chosen: the strategy itself, or how a set of the pool was found."""
        origin = self.pool.origins.get(source)
        return source if origin is None else origin.method

    def demos(self, way: str, *, per_label: int, draw: int) -> tuple[Demo, ...]:
        """Demos chosen by a strategy, or the first ones of a set that was found.

        Args:
            way: One of ``STRATEGIES``, or the name of a set in the pool.
            per_label: Demos per label, or half the demos when no output is closed.
            draw: Seed of a strategy.
        """
        if way in STRATEGIES:
            return STRATEGIES[way](self.pools, self.signature, per_label=per_label, seed=draw)
        return self.pool.demos[way][: per_label * self.labels]


def predictor_space(
    signature: type[dspy.Signature], train: Sequence[dspy.Example], models: Sequence[Model], pool: Pool
) -> PredictorSpace:
    """What may vary for one predictor.

    Args:
        signature: The user's signature.
        train: Examples that demos are drawn from.
        models: The task's models, whose contexts bound the demos.
        pool: What was found for the predictor.
    """
    signature = with_bounded_thoughts(signature)
    pools = demo_pools(train, signature)
    every = [demo for label in sorted(pools) for demo in pools[label]]
    sizes = {model.name: demo_sizes(pools, max_tokens=model.context) for model in models}
    if pool.demos and not every:
        most = max(map(len, pool.demos.values()))
        found = (0, *(size for size in SIZES[1:] if size == 1 or 2 * size <= most))
        sizes = dict.fromkeys(sizes, found)
    rows = [{name: example[name] for name in signature.input_fields if name in example} for example in train]
    return PredictorSpace(
        signature=signature,
        sizes=sizes,
        pool=pool,
        pools=pools,
        labels=2 if not every or "" in pools else len(pools),
        ordered=len(pools) > 1,
        nearest_pool=tuple(random.Random(0).sample(every, min(NEAREST_POOL, len(every)))),
        longest=longest_inputs(rows, signature),
    )
