"""Demos from a teacher's own runs: what each predictor read and wrote when the answer was right.

Such demos show a predictor inside a pipeline, whose outputs no data set labels, and reasoning,
which no data set holds (Khattab et al., "DSPy: Compiling Declarative Language Model Calls into
Self-Improving Pipelines", ICLR 2024; Zelikman et al., "STaR: Bootstrapping Reasoning With
Reasoning", NeurIPS 2022).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizers.data import json_value
from optimizers.errors import DataError, ParityError
from optimizers.proposals.demos import Demo, demo_key
from optimizers.renderings.fields import json_value as output_value
from optimizers.splits import example_id

if TYPE_CHECKING:
    import dspy

Step = tuple[Any, Mapping[str, Any], Mapping[str, Any]]
"""One entry of DSPy's trace: the predictor, its inputs, its prediction."""


@dataclass(frozen=True)
class Bootstrap:
    """What a teacher's runs gave.

    Attributes:
        demos: Predictor name -> its demos, in the order of the runs; none for a predictor that
            was never reached in a run that passed.
        attempts: Runs made.
        passed: Runs whose score reached the threshold.
    """

    demos: Mapping[str, tuple[Demo, ...]]
    attempts: int
    passed: int


def bootstrap(
    program: dspy.Module,
    run: Callable[[dspy.Example], Any],
    score: Callable[[dspy.Example, Any], float],
    train: Sequence[dspy.Example],
    *,
    threshold: float,
    most_attempts: int,
    most_demos: int,
    seed: int,
) -> Bootstrap:
    """Run a teacher on train examples and keep what its predictors did where it was right.

    Args:
        program: The module that ``run`` runs, such as ``CompiledProgram.module``.
        run: Runs the program on one example's inputs and returns its prediction. Whoever gives
            it opens the meter, and raises what the meter was stopped with.
        score: The task's metric, checked, in [0, 1]. All it raises passes through.
        train: Examples to run on; their order does not matter. One that a predictor of the
            program is shown as a demo is passed over: it would copy the answer.
        threshold: Least score of a run that passes.
        most_attempts: Runs made at most.
        most_demos: Demos per predictor at most; when every predictor has as many, runs end.
        seed: Of the order of the examples, and of the choice where a predictor is called
            several times in a run: one call gives a demo, so that no example is shown twice.

    Returns:
        Demos with every output of the signature the predictor had in the run, reasoning
        included, and the inputs it was given, as JSON values. None repeated.

    Raises:
        ParityError: What ``run`` raised of this kind. Any other exception of a run makes it a
            run that did not pass.
    """
    import dspy

    names = _names(program)
    found: dict[str, dict[str, Demo]] = {name: {} for name, _ in program.named_predictors()}
    chance = random.Random(seed)
    ordered = sorted(train, key=example_id)
    chance.shuffle(ordered)
    attempts = passed = 0
    for example in ordered:
        if attempts == most_attempts or all(len(demos) >= most_demos for demos in found.values()):
            break
        if _is_shown(example, program):
            continue
        attempts += 1
        try:
            with dspy.context(trace=[]):
                prediction = run(example)
                trace = list(dspy.settings.trace)
        except ParityError:
            raise
        except Exception:
            continue
        if score(example, prediction) < threshold:
            continue
        passed += 1
        for name, demo in _one_each(trace, names, chance).items():
            if len(found[name]) < most_demos:
                found[name].setdefault(demo_key(demo), demo)
    return Bootstrap({name: tuple(demos.values()) for name, demos in found.items()}, attempts, passed)


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


def _one_each(trace: Sequence[Step], names: Mapping[Any, str], chance: random.Random) -> dict[str, Demo]:
    """A demo for each predictor in a trace: one of its calls."""
    calls: dict[str, list[Demo]] = {}
    for predictor, inputs, outputs in trace:
        name = names.get(id(predictor)) or names.get(predictor.stage)
        demo = _demo(predictor.signature, inputs, outputs)
        if name is not None and demo is not None:
            calls.setdefault(name, []).append(demo)
    return {name: chance.choice(demos) for name, demos in sorted(calls.items())}


def _demo(
    signature: type[dspy.Signature], inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Demo | None:
    """A call as a demo; None where an output is missing or a value has no JSON form."""
    if any(name not in outputs for name in signature.output_fields):
        return None
    try:
        read = {name: json_value(inputs[name]) for name in signature.input_fields if name in inputs}
    except DataError:
        return None
    wrote = {
        name: output_value(outputs[name], info.annotation) for name, info in signature.output_fields.items()
    }
    return {**read, **wrote} if read else None


def _is_shown(example: dspy.Example, program: dspy.Module) -> bool:
    """Whether a predictor of the program has a demo with all of the example's inputs."""
    given = {name: _text(value) for name, value in example.inputs().items()}
    return any(
        all(name in demo and _text(demo[name]) == text for name, text in given.items())
        for predictor in program.predictors()
        for demo in predictor.demos
    )


def _text(value: Any) -> str:
    return json.dumps(json_value(value), sort_keys=True)
