"""What a study will use, predicted before anything is spent, and what it keeps for the sealed test.

Tokens come from prompts that are really rendered, for the candidates every study starts
with and some drawn at random; how long a candidate is measured is taken from studies
that were run (tests/benchmarks/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from optimizers.prompting.compile import PromptedPredict, compile_candidate, messages_of
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.records.budget import USED, WHOLE, Budget, Unit, Use
from optimizers.records.prediction import Amount, Prediction, Shortage
from optimizers.search.blocks import BLOCK
from optimizers.search.robustness_phase import rows_of
from optimizers.search.rounds import GROW_AT, MOST_STARTS
from optimizers.search.sealed_test import DEFAULT_ROWS
from optimizers.search.space.initial_design import default_candidate, drawn, starts
from optimizers.search.space.search_space import FORMAT_TOKENS
from optimizers.task.data.power import detectable_difference

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate, Serving
    from optimizers.records.rows import Objective
    from optimizers.search.space.search_space import SearchSpace
    from optimizers.task.task import LoadedTask

PER_TRIAL = 12
"""Rollouts that a trial costs on average, its share of the leaders' further blocks included."""

TRIED_SHARE = 0.8
"""Share of those that go to the trial's own candidate; the rest measures leaders further."""

LED = 4
"""Leaders that are measured further and tested in addition to one of each model, if cost counts."""

REFINED_ROWS = 200
"""Rollouts of each leader that are still to be run when the trials end."""

GROWN = 100
"""Rollouts on train that let the pools grow."""

BYTES_PER_TOKEN = 4.0
"""Of English prompts; a model's own tokenizer decides."""

WRITTEN_SHARE = 0.25
"""Share of ``max_tokens`` that a reply takes where the model reasons; else it is as long as the gold."""

READ_SECONDS, WRITE_SECONDS = 0.014, 0.025
"""Seconds a local model needs per token and billion parameters on 2 cores, four rollouts at once."""

FRESH_TOKENS = 40
"""Prompt tokens of a local rollout that no prefix cache holds: the example itself."""

REMOTE_SECONDS = 1.0
"""Seconds assumed for a call over HTTP."""

SAMPLED, ROWS = 12, 3
"""Drawn candidates per model, and dev examples each is rendered on."""

KEPT_SHARE, KEPT_ROOM = 0.5, 1.25
"""Most of a budget that is kept for the test, and the margin over the predicted need of the test."""

PERTURBED_LENGTH = 1.4
"""Tokens of perturbed examples over those of others: one in twelve is very long, most a little longer."""

ENOUGH_TO_SEARCH = 2.0
"""Least that is left for searching, in what its rounds begin with: as much again for what it chooses."""


def predict(
    task: LoadedTask,
    space: SearchSpace,
    budget: Budget,
    *,
    objectives: Sequence[Objective] = ("quality", "cost"),
    robustness: bool = False,
) -> Prediction:
    """What a study of this task will use within a budget, without calling a model.

    Args:
        task: The task.
        space: Its search space.
        budget: Its limits; a budget without trials is taken to buy as many as fit.
        objectives: What the search seeks.
        robustness: Whether the frontier is run on perturbed examples too.
    """
    random = Random(0)
    sample = [drawn(space, model, random) for model in task.models for _ in range(SAMPLED)]
    default = [_rollout(task, default_candidate(space, model)) for model in task.models]
    uses = sorted((_rollout(task, candidate) for candidate in sample), key=lambda use: use.dollars)
    # What is cheap for its quality leads: it is like the cheaper half, unless quality is all that counts.
    is_traded = len(objectives) > 1
    leader = _mean(uses[: len(uses) // 2] if is_traded else uses)
    leaders, rows = len(task.models) + LED * is_traded, len(task.dataset.test)
    test = leader * (leaders * rows) + _mean(default) * (min(DEFAULT_ROWS, rows) * len(task.models))
    perturbed = leader * (leaders * rows_of(task) * PERTURBED_LENGTH if robustness else 0)
    refine = leader * (leaders * min(REFINED_ROWS, len(task.dataset.dev)))
    trial = _mean(uses) * (PER_TRIAL * TRIED_SHARE) + leader * (PER_TRIAL * (1 - TRIED_SHARE))
    confirmed = test + perturbed
    fixed = leader * GROWN + refine + confirmed
    trials = _affordable(budget, trial, fixed)
    total = trial * trials + fixed
    share = min(1.0, 1 / max(total.share_of(budget), 1e-9))
    fits = _test_share(confirmed, total, budget)
    tested = max(1, int(rows * fits))
    prediction = Prediction(
        trials=trials,
        total=amount(total * share),
        test=amount(test * fits),
        robustness=amount(perturbed * fits) if robustness else None,
        test_rows=rows,
        tested=tested,
        detectable=detectable_difference(tested),
    )
    begun = _mean(uses) * (BLOCK * (len(starts(space, 0)) + MOST_STARTS * len(GROW_AT))) + leader * GROWN
    return prediction.model_copy(update={"shortage": _shortage(prediction, budget, begun, trial, confirmed)})


def held_back(prediction: Prediction, budget: Budget) -> Use:
    """What the search must leave for the sealed test, and for perturbed examples of it where they are run.

    That is what they are predicted to use and some room, and at most half of the budget.
    """

    def kept(unit: str) -> float:
        limit, needed = getattr(budget, unit), getattr(prediction.test, unit)
        if prediction.robustness is not None:
            needed += getattr(prediction.robustness, unit)
        return 0.0 if limit is None else min(KEPT_ROOM * needed, KEPT_SHARE * limit)

    return Use(
        calls=kept("calls"),
        tokens=kept("tokens"),
        dollars=kept("dollars"),
        seconds=kept("seconds"),
    )


def held_back_for_robustness(prediction: Prediction, budget: Budget) -> Use:
    """What the sealed test must leave of that for perturbed examples: their share."""
    later = prediction.robustness
    if later is None:
        return Use()
    both = later.calls + prediction.test.calls
    return held_back(prediction, budget) * (later.calls / both if both else 0.0)


def _shortage(prediction: Prediction, budget: Budget, begun: Use, trial: Use, test: Use) -> Shortage | None:
    """The limit that leaves least of what a search needs, if one leaves less than that.

    Args:
        prediction: What the study is predicted to use.
        budget: Its limits.
        begun: What the candidates take that rounds begin with, and what lets the pools grow.
        trial: What a trial takes.
        test: What the whole sealed test takes, perturbed examples included.
    """
    kept, found = held_back(prediction, budget), []
    for unit in USED:
        limit, needed = getattr(budget, unit), ENOUGH_TO_SEARCH * getattr(begun, unit)
        if budget.trials is not None:
            needed = min(needed, budget.trials * getattr(trial, unit))
        if limit is None or limit - getattr(kept, unit) >= needed:
            continue
        enough = min(needed / (1 - KEPT_SHARE), needed + KEPT_ROOM * getattr(test, unit))
        found.append((Shortage(unit=unit, left=limit - getattr(kept, unit), enough=enough), limit / enough))
    return min(found, key=lambda pair: pair[1])[0] if found else None


def shortage_note(prediction: Prediction) -> str | None:
    """What a budget that is too small leaves for searching, and what would be enough; None for any other."""
    short = prediction.shortage
    if short is None:
        return None
    left, enough = _rounded(short.unit, short.left, floor), _rounded(short.unit, short.enough, ceil)
    return (
        f"besides the sealed test, the budget leaves about {left} for searching. Most of that goes to the "
        "prompts that every study tries first, and little to what they suggest. "
        f"About {enough} in all would be enough."
    )


def _rounded(unit: Unit, number: float, way: Callable[[float], int]) -> Budget:
    """A limit of two significant digits, rounded up or down."""
    place = 10.0 ** (floor(log10(number)) - 1)
    # A hair's breadth to the near side of a step, as 0.3 / 0.1 is not quite 3.
    found = float(f"{way(number / place + (1e-9 if way is floor else -1e-9)) * place:.2g}")
    return Budget.model_validate({unit: max(1, way(found)) if unit in WHOLE else found})


def amount(use: Use) -> Amount:
    """A use as the report holds it."""
    return Amount(calls=use.calls, tokens=use.tokens, dollars=use.dollars, seconds=use.seconds)


def _test_share(test: Use, total: Use, budget: Budget) -> float:
    """How much of the sealed test fits in what the search leaves of a budget: half of it at the least."""
    shares = [1.0]
    for unit in USED:
        limit, needed = getattr(budget, unit), getattr(test, unit)
        if limit is not None and needed > 0:
            left = max(limit * KEPT_SHARE, limit - (getattr(total, unit) - needed))
            shares.append(left / needed)
    return min(shares)


def _affordable(budget: Budget, trial: Use, fixed: Use) -> int:
    most = budget.trials or 10_000
    for unit in USED:
        limit, each = getattr(budget, unit), getattr(trial, unit)
        if limit is not None and each > 0:
            left = max(limit * KEPT_SHARE, limit - getattr(fixed, unit))
            most = min(most, int(left / each))
    return most


def _rollout(task: LoadedTask, candidate: Candidate) -> Use:
    """What one rollout of a candidate uses, from its prompts on a few dev examples and the most calls."""
    models = {model.name: model for model in task.models}
    compiled = compile_candidate(task.program, candidate, task.models)
    adapter, total = compiled.adapter(), Use()
    for name, predictor in compiled.module.named_predictors():
        serving = candidate.serving(name)
        model, sizes = models[serving.model], []
        for example in task.dataset.dev[:ROWS]:
            inputs = {field: example.get(field, "") for field in predictor.signature.input_fields}
            messages = messages_of(predictor, inputs, adapter)
            sizes.append(sum(len(str(message["content"]).encode()) for message in messages))
        technique = predictor.technique if isinstance(predictor, PromptedPredict) else None
        times = technique.calls(predictor.signature) if technique else 1
        rendered = technique.longest_signature(predictor.signature) if technique else predictor.signature
        prompt = times * fmean(sizes) / BYTES_PER_TOKEN
        completion = times * _reply(task, serving, rendered=rendered)
        dollars = model.price.cost(round(prompt), round(completion))
        total += Use(times, prompt + completion, dollars, _seconds(model, times, completion))
    return total


def _reply(task: LoadedTask, serving: Serving, rendered: type[dspy.Signature]) -> float:
    """Tokens of a reply: the gold and its format, or part of what is allowed where the model reasons."""
    most = serving.sampling.max_tokens
    if TECHNIQUES[serving.technique].reasons:
        return WRITTEN_SHARE * most
    gold = [
        sum(len(str(example.get(name, "")).encode()) / BYTES_PER_TOKEN for name in rendered.output_fields)
        for example in task.dataset.dev[:ROWS]
    ]
    extra = FORMAT_TOKENS.get(serving.rendering, 1) * len(rendered.output_fields)
    return min(most, fmean(gold) + extra)


def _seconds(model: Model, calls: float, completion: float) -> float:
    if not model.is_local:
        return calls * REMOTE_SECONDS / model.concurrency
    return (model.size or 1.0) * (calls * FRESH_TOKENS * READ_SECONDS + completion * WRITE_SECONDS)


def _mean(uses: Sequence[Use]) -> Use:
    return sum(uses, Use()) * (1 / len(uses))
