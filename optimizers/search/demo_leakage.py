"""Which examples a demo shows: those that say the same in all that its predictor reads of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizers.records.json_values import json_value

if TYPE_CHECKING:
    import dspy

    from optimizers.records.candidate import Candidate

TELLING = 0.5
"""Distinct values among examples, as a share of these, from which fields tell one example from another."""


def known_inputs(signature: type[dspy.Signature], examples: Sequence[dspy.Example]) -> tuple[str, ...]:
    """The inputs of a predictor that examples hold; other predictors write the rest."""
    return tuple(name for name in signature.input_fields if any(name in example for example in examples[:1]))


def said(values: Mapping[str, Any], fields: Iterable[str]) -> str:
    """What a demo or an example says in some fields, to be compared."""
    return json.dumps([json_value(values.get(name)) for name in fields])


def shown(
    signatures: Mapping[str, type[dspy.Signature]],
    examples: Sequence[dspy.Example],
    candidates: Sequence[Candidate],
) -> list[bool]:
    """Of each example, whether a candidate has a demo of it.

    A predictor whose known inputs are the same for many examples, such as a policy that all of them
    share, does not tell.

    Args:
        signatures: Predictor name -> its signature.
        examples: The examples.
        candidates: Whose demos are looked at.
    """
    found = [False] * len(examples)
    for name, signature in signatures.items():
        fields = known_inputs(signature, examples)
        texts = [said(example, fields) for example in examples]
        prompts = [one.predictors[name] for one in candidates if name in one.predictors]
        demos = {said(demo, fields) for prompt in prompts for demo in prompt.demos}
        if fields and len(set(texts)) >= TELLING * len(texts):
            found = [was or text in demos for was, text in zip(found, texts, strict=True)]
    return found
