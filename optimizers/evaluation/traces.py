"""What each predictor of a program did in a run: read off DSPy's trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizers.errors import DataError
from optimizers.prompting.renderings.fields import json_value as output_value
from optimizers.records.json_values import json_value, whole
from optimizers.records.rows import Step

if TYPE_CHECKING:
    import dspy

Entry = tuple[Any, Mapping[str, Any], Mapping[str, Any]]
"""One entry of DSPy's trace: the predictor, its inputs, its prediction."""


def steps_of(program: dspy.Module, trace: Sequence[Entry]) -> tuple[Step, ...]:
    """The calls in a trace, in order, each under its predictor's name.

    Args:
        program: The module that ran.
        trace: What ``dspy.settings.trace`` held after the run.

    Returns:
        A step per call; one without outputs for a call whose reply could not be read. Left out are
        calls of predictors that the program does not hold, those that lack some outputs, and those
        whose values have no JSON form.
    """
    names = _names(program)
    steps = []
    for predictor, inputs, outputs in trace:
        name = names.get(id(predictor)) or names.get(predictor.stage)
        if name is not None and (step := _step(name, predictor.signature, inputs, outputs)):
            steps.append(step)
    return tuple(steps)


def _names(program: dspy.Module) -> dict[Any, str]:
    """Each predictor's name, by itself and by the mark it shares with its copies.

    Modules such as ``dspy.BestOfN`` run a copy of what they hold. A copy keeps the random
    ``stage`` that DSPy gives each predictor; where two predictors are copies of one another,
    it says nothing.
    """
    predictors = list(program.named_predictors())
    stages = Counter(predictor.stage for _, predictor in predictors)
    by_stage = {predictor.stage: name for name, predictor in predictors if stages[predictor.stage] == 1}
    return by_stage | {id(predictor): name for name, predictor in predictors}


def _step(
    name: str, signature: type[dspy.Signature], inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Step | None:
    if outputs and any(field not in outputs for field in signature.output_fields):
        return None
    try:
        read = {
            field: whole(json_value(inputs[field])) for field in signature.input_fields if field in inputs
        }
    except DataError:
        return None
    wrote = {
        field: whole(output_value(outputs[field], info.annotation))
        for field, info in signature.output_fields.items()
        if field in outputs
    }
    return Step(predictor=name, inputs=read, outputs=wrote) if read else None
