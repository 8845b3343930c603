"""Other ways to choose labelled demos than a balanced draw, and other orders to show them in.

Each takes as many demos as :func:`~optimizers.prompting.proposals.demos.labelled_demos` does for the same
``per_label``, so that ways are compared at the same cost, and a smaller set is how a larger one
with the same seed begins. All draw from the same pools: distinct, without the longest tenth.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from optimizers.prompting.proposals.demos import (
    Demo,
    DemoPools,
    as_demo,
    deal,
    demo_key,
    demo_label,
    is_labelled,
    labelled_demos,
)
from optimizers.prompting.proposals.tfidf import vectors
from optimizers.prompting.renderings.fields import format_value

if TYPE_CHECKING:
    import dspy

TRIED_SHARE = 0.3
"""Share of a pool looked at for each pick of a diverse draw; what makes two seeds differ."""

MOST_COMPARED = 1000
"""Members of a pool that a diverse draw compares; of a larger one it takes a random part."""


def random_demos(
    pools: DemoPools, signature: type[dspy.Signature], *, per_label: int, seed: int
) -> tuple[Demo, ...]:
    """Draw demos as the labels come, so that frequent ones are shown more often.

    Where labels are of unequal share, that tells the model which answer is common, which a
    balanced draw hides (Zhao et al., "Calibrate Before Use", ICML 2021: majority label bias).

    Args:
        pools: Where to draw from.
        signature: Whose fields the demos fill.
        per_label: As for a balanced draw, whose size this has.
        seed: The same seed is the same draw.
    """
    count = len(deal(pools, per_label=per_label, seed=0))
    every = [demo for label in sorted(pools) for demo in pools[label]]
    return tuple(random.Random(seed).sample(every, len(every))[:count])


def diverse_demos(
    pools: DemoPools, signature: type[dspy.Signature], *, per_label: int, seed: int
) -> tuple[Demo, ...]:
    """Draw demos that together are like as much of the data as possible, balanced over the labels.

    Each pick adds most to the sum, over a label's examples, of the likeness to the most like
    demo (facility location), where likeness is the cosine of TF-IDF vectors of the inputs. So
    picks differ from each other and none is an outlier. The greedy order is within 1 - 1/e of
    the best set (Nemhauser, Wolsey and Fisher 1978), and nearly so when each pick looks at a
    random part (Mirzasoleiman et al., "Lazier Than Lazy Greedy", AAAI 2015). That demos should
    cover the data: Zhang et al., "Automatic Chain of Thought Prompting", ICLR 2023.

    Args:
        pools: Where to draw from.
        signature: Whose fields the demos fill.
        per_label: Demos per label, or half the demos when no output is closed.
        seed: The same seed is the same draw.
    """
    drawn = {}
    for label, pool in pools.items():
        chance = random.Random(f"{seed} {label}")
        some = pool if len(pool) <= MOST_COMPARED else chance.sample(pool, MOST_COMPARED)
        found = vectors([input_text(demo, signature) for demo in some])
        likeness = (found @ found.T).toarray()
        order = _covering(likeness, 2 * per_label, chance)
        drawn[label] = [some[index] for index in order]
    return deal(drawn, per_label=per_label, seed=seed)


def hardest_demos(
    pools: DemoPools,
    signature: type[dspy.Signature],
    *,
    per_label: int,
    seed: int,
    failed: Sequence[tuple[dspy.Example, float]],
) -> tuple[Demo, ...]:
    """Take the examples that candidates failed most often, balanced over the labels.

    What is failed comes first, most often failed before others; then what nobody tried, at
    random; then what nobody failed. A label that is wrong in the data is failed by everyone, so
    leave rows under suspicion out. Boosted prompting takes new demos from what
    is failed (Pitis et al., "Boosted Prompt Ensembles for Large Language Models", 2023).

    Args:
        pools: Where to draw from.
        signature: Whose fields the demos fill.
        per_label: Demos per label, or half the demos when no output is closed.
        seed: Decides between examples failed equally often.
        failed: Examples, and how often candidates failed each, as a count or a share.
    """
    known: dict[str, float] = {}
    for example, often in failed:
        if not is_labelled(example, signature):
            continue
        key = demo_key(as_demo(example, signature))
        known[key] = max(often, known.get(key, 0.0))

    def place(demo: Demo) -> tuple[int, float]:
        often = known.get(demo_key(demo))
        if often is None:
            return 1, 0.0
        return (0, -often) if often > 0 else (2, 0.0)

    ordered = {
        label: sorted(random.Random(f"{seed} {label}").sample(pool, len(pool)), key=place)
        for label, pool in pools.items()
    }
    return deal(ordered, per_label=per_label, seed=seed)


def alternate_labels(demos: Sequence[Demo], signature: type[dspy.Signature]) -> tuple[Demo, ...]:
    """The same demos with their labels taking turns, as long as several are left.

    The labels keep the order in which they first appear, and so do the demos of each. Models
    lean to the label they read last and to one they read several times in a row (Zhao et al.
    2021; Lu et al., "Fantastically Ordered Prompts", ACL 2022).

    Args:
        demos: With the signature's closed output.
        signature: Whose first closed output is the label; without one the order stays.
    """
    queues: dict[str, deque[Demo]] = defaultdict(deque)
    for demo in demos:
        queues[demo_label(demo, signature)].append(demo)
    turns = []
    while any(queues.values()):
        turns += [queue.popleft() for queue in queues.values() if queue]
    return tuple(turns)


def input_text(values: Mapping[str, Any], signature: type[dspy.Signature]) -> str:
    """The inputs among some values as one text, for comparing."""
    return "\n".join(format_value(values[name]) for name in signature.input_fields if name in values)


def _covering(likeness: Any, count: int, chance: random.Random) -> list[int]:
    """The rows that a greedy choice takes, in order, each from a random part of what is left."""
    left = list(range(len(likeness)))
    covered = np.zeros(len(likeness))
    picked: list[int] = []
    while left and len(picked) < count:
        tried = chance.sample(left, math.ceil(TRIED_SHARE * len(left)))
        gains = np.maximum(likeness[tried], covered).sum(axis=1)
        best = tried[int(np.argmax(gains))]
        covered = np.maximum(covered, likeness[best])
        picked.append(best)
        left.remove(best)
    return picked


class Strategy(Protocol):
    """A way to draw labelled demos; the size is that of a balanced draw."""

    def __call__(
        self,
        pools: DemoPools,
        signature: type[dspy.Signature],
        *,
        per_label: int,
        seed: int,
    ) -> tuple[Demo, ...]:
        """Draw demos from pools, the same for the same seed."""
        ...


STRATEGIES: dict[str, Strategy] = {
    "balanced": labelled_demos,
    "diverse": diverse_demos,
    "random": random_demos,
}
"""Name -> strategy that needs nothing but the train split."""
