"""A study that begins with what another one found: its prompts, on these models and this data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from optimizers.prompting.proposals.pools import Origin, Pool
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.records.parameters import Choices
from optimizers.search.demo_leakage import known_inputs, said
from optimizers.search.space.initial_design import completed
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import ELABORATE, NEAREST, SEVERAL_CALLS

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate, PredictorPrompt
    from optimizers.records.report import FrontierReport
    from optimizers.search.space.search_space import SearchSpace
    from optimizers.task.task import LoadedTask

MOST_POINTS = 4
"""Points of the other study that are taken over, those of highest quality on its dev set."""


def prompts_of(report: FrontierReport) -> list[Candidate]:
    """The candidates of a finished study that another one begins with, the best first."""
    points = sorted(report.with_role("frontier"), key=lambda point: -point.dev.mean)
    return [point.candidate for point in points[:MOST_POINTS]]


def pools_of(candidates: Sequence[Candidate], task: LoadedTask) -> dict[str, Pool]:
    """The instructions and demos of candidates, for the predictors of this task with the same names.

    A demo that says what an example of this task's dev or test set does, in all that its predictor reads
    of the example, is left out: it would show the answer. So is one for which this is unknown, as
    its predictor reads what others write alone, and one that lacks a field.

    Args:
        candidates: Of another study.
        task: The task they are to serve.
    """
    sealed = (*task.dataset.dev, *task.dataset.test)
    pools = {}
    for name, predictor in task.program.named_predictors():
        read = known_inputs(predictor.signature, sealed)
        held_out = {said(example, read) for example in sealed}
        pool, fields = Pool(), set(predictor.signature.fields)
        for candidate in candidates:
            prompt = candidate.predictors.get(name)
            if prompt is None:
                continue
            whole = [demo for demo in prompt.demos if demo.keys() >= fields]
            shown = tuple(demo for demo in whole if read and said(demo, read) not in held_out)
            if shown:
                pool.demos[_named(candidate)] = shown
                pool.origins[_named(candidate)] = Origin(method="transferred", candidate=candidate.id)
            if prompt.instruction.strip() and prompt.instruction != predictor.signature.instructions:
                pool.instructions[_named(candidate)] = prompt.instruction
        pools[name] = pool
    return pools


def starts_from(space: SearchSpace, candidates: Sequence[Candidate]) -> Iterator[Choices]:
    """Every candidate's choices on every model, as far as they are legal there.

    Args:
        space: The study's space, with :func:`pools_of` the candidates in its pools.
        candidates: Of another study.
    """
    for candidate in candidates:
        for model in space.models:
            values: Choices = {MODEL: model.name}
            for name in space.predictors:
                if name in candidate.predictors:
                    values |= _choices(space, candidate, name, model)
            yield completed(space, values)


def _choices(space: SearchSpace, candidate: Candidate, name: str, model: Model) -> Choices:
    prompt, serving = candidate.predictors[name], candidate.serving(name)
    known, parameter = space.predictors[name], partial(space.parameter, model, name)
    renderings = space.renderings(model)
    rendering = serving.rendering if serving.rendering in renderings else renderings[0]
    values: Choices = {space.parameter(model, None, "rendering"): rendering}
    if serving.technique in space.legal(model, rendering, name) and serving.technique != "direct":
        several = TECHNIQUES[serving.technique].calls(known.signature) > 1
        values[parameter("technique")] = ELABORATE
        values[parameter("elaborate")] = SEVERAL_CALLS if several else serving.technique
        values[parameter("calls", rendering)] = serving.technique
    if _named(candidate) in known.pool.instructions:
        values[parameter("instruction")] = _named(candidate)
    count, way = _shown(prompt, known.pool.demos.get(_named(candidate), ()))
    if count:
        sizes = known.sizes[model.name]
        values[parameter("demos")] = next((n for n in sizes if n * known.labels >= count), sizes[-1])
        values[parameter("demos.from")] = way or _named(candidate)
    return values


def _shown(prompt: PredictorPrompt, demos: Sequence[Mapping[str, Any]]) -> tuple[int, str | None]:
    """How many demos a prompt shows, and the way they are chosen where they are not a set."""
    return (prompt.nearest.count, NEAREST) if prompt.nearest is not None else (len(demos), None)


def _named(candidate: Candidate) -> str:
    return f"from {candidate.id}"
