"""Ask several times at a temperature and take the answer most replies agree on.

After Wang X. et al. 2023, "Self-Consistency Improves Chain of Thought Reasoning in Language
Models" (ICLR 2023, arXiv 2203.11171). There each reply reasons first, as in the ``reasoned``
variants here; the others answer at once, which costs far fewer tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean, median_low
from typing import TYPE_CHECKING, Any

from dspy.utils.exceptions import AdapterParseError

from optimizers.prompting.renderings.fields import format_value, without_none
from optimizers.prompting.techniques.chain_of_thought import CHAIN_OF_THOUGHT
from optimizers.prompting.techniques.direct import DIRECT
from optimizers.prompting.techniques.technique import Calls, Technique

if TYPE_CHECKING:
    import dspy

COUNTS = (3, 5, 9)
"""Odd, so that two answers never tie."""


def run(predict: Calls, inputs: Mapping[str, Any], *, count: int) -> dict[str, Any]:
    """Ask ``count`` times; a reply that does not keep the format is no vote.

    Raises:
        AdapterParseError: Not one reply keeps the format.
    """
    replies, problem = [], None
    for number in range(count):
        try:
            # A rendering with a seed of its own goes on counting from that instead.
            replies.append(predict.ask(inputs, seed=number))
        except AdapterParseError as error:
            problem = problem or error
    if problem is not None and not replies:
        raise problem
    return agreed(predict.signature, replies)


def agreed(signature: type[dspy.Signature], replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One value per output from several replies.

    Closed values, texts and lists go by majority, and of equally many to the first seen. Real
    numbers are averaged. Whole numbers take their median, which is the majority where there is
    one. What no two replies share, such as the reasoning, is taken from the first reply that
    agrees best with all of this.

    Args:
        signature: Whose outputs.
        replies: At least one reply, each with a value for every output.
    """
    values: dict[str, Any] = {}
    for name, info in signature.output_fields.items():
        for value in _vote([reply[name] for reply in replies], info.annotation):
            values[name] = value
    best = max(replies, key=lambda reply: sum(_key(reply[name]) == _key(values[name]) for name in values))
    return {**best, **values}


def _vote(values: Sequence[Any], annotation: Any) -> list[Any]:
    """The value agreed on, or an empty list where no two agree."""
    inner, _ = without_none(annotation)
    numbers = [value for value in values if value is not None]
    if inner in (int, float) and 2 * len(numbers) > len(values):
        return [mean(numbers) if inner is float else median_low(numbers)]
    key, count = Counter(map(_key, values)).most_common(1)[0]
    return [next(value for value in values if _key(value) == key)] if count > 1 else []


def _key(value: Any) -> str:
    """What makes two answers the same: their text but for case and spaces."""
    return " ".join(format_value(value).split()).casefold()


def _votes(count: int, *, reasoned: bool) -> Technique:
    each = CHAIN_OF_THOUGHT if reasoned else DIRECT
    return Technique(
        name=f"self_consistency_{count}{'_reasoned' if reasoned else ''}",
        applies=each.applies,
        transform=each.transform,
        reply_tokens=each.reply_tokens,
        run=partial(run, count=count),
        calls=lambda signature: count,
        reasons=each.reasons,
        sampling="needed",
    )


SELF_CONSISTENCY = tuple(_votes(count, reasoned=reasoned) for reasoned in (False, True) for count in COUNTS)
"""Three, five or nine calls, that answer at once or reason first."""
