"""Running the prompts of a finished study on other models.

On dev, never on the sealed test: that is opened once, for a decision already taken. The study
chose each prompt on dev for its own model, so a prompt's score on its own model is flattered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizers.errors import BudgetError, BudgetSpent, StudyError, UsageError
from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.measure import Measurer
from optimizers.evaluation.spend import LocalSpend
from optimizers.models.model import ACCEPTABLE, Model
from optimizers.models.resolve import parse_model
from optimizers.models.sampling import Sampling
from optimizers.prompting.renderings import renderings_for
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.records.budget import Budget
from optimizers.records.candidate import Candidate, Serving
from optimizers.records.fingerprint import changes, study_fingerprint
from optimizers.records.folder import write_record
from optimizers.records.ledger import Ledger
from optimizers.records.prediction import Amount
from optimizers.records.transfer_report import Prompt, TransferReport
from optimizers.results.transfer_matrix import (
    AdaptedPrompt,
    Measured,
    answer,
    best_per_model,
    best_transfer,
    fill_cell,
)
from optimizers.search.interleaved import run_interleaved
from optimizers.search.space.initial_design import default_candidate
from optimizers.search.space.search_space import search_space
from optimizers.task.data.split import example_id
from optimizers.task.hashing import task_fingerprint
from optimizers.task.program_file import find_program
from optimizers.task.task import load_task

if TYPE_CHECKING:
    import dspy

    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import FrontierReport
    from optimizers.records.rows import StudyManifest
    from optimizers.search.space.search_space import SearchSpace
    from optimizers.task.task import LoadedTask

ROWS = 200
"""Dev examples, when it is not said."""

BLOCK, SHORT_BLOCK = 50, 10
"""Examples each candidate runs at a time; few where a budget may end the transfer, so that
it ends for all alike."""

LEDGER, MODELS, RESULT = "transfer.db", "transfer_models.json", "transfer.json"
"""Files in the study's folder: the rollouts, the models they were run on, and the result."""

FLATTERED = (
    "Measured on dev, where the study chose each prompt for its own model: a prompt's score on its own "
    "model is flattered, and what it loses elsewhere is overstated."
)

Watch = Callable[[int, int], None]
"""Told how many rollouts of how many are done."""


class KnownModels(BaseModel):
    """The new models of a study's transfers, as they were first declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[Model, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """What is to be run.

    Attributes:
        manifest: The study.
        task: The study's task, on its models and the new ones.
        prompts: What is transferred.
        adapted: Every prompt on every model.
        defaults: New model -> its plain default.
        examples: Dev examples that everything is run on.
    """

    manifest: StudyManifest
    task: LoadedTask
    prompts: tuple[Prompt, ...]
    adapted: tuple[AdaptedPrompt, ...]
    defaults: dict[str, Candidate]
    examples: tuple[dspy.Example, ...]

    @property
    def candidates(self) -> dict[str, Candidate]:
        """Candidate id -> candidate, model by model: switching weights is what costs time."""
        cells = [adapted.candidate for adapted in self.adapted if adapted.candidate is not None]
        found = [*cells, *self.defaults.values()]
        order = [model.name for model in self.task.models]
        return {
            candidate.id: candidate for candidate in sorted(found, key=lambda one: order.index(one.model))
        }


def plan_transfer(folder: StudyFolder, texts: Sequence[str], rows: int = ROWS) -> Transfer:
    """Decide what a transfer runs; loads no model.

    Args:
        folder: A finished study.
        texts: Models to run its prompts on, ``NAME[,key=value...]``; the study's own are run anyway.
        rows: Most dev examples.

    Raises:
        StudyError: The study has no result, or its program, data or metric changed since.
        TaskError: The program was handed over in code, or its file is gone.
        ModelError: A model is unknown.
        PriceError: A model has no known price.
        UsageError: A model is declared otherwise than before, or there is none to transfer to.
    """
    manifest, report = folder.read_manifest(), folder.read_report()
    known = _read_models(folder.path / MODELS)
    new = _new_models(manifest, known, texts)
    task = load_task(
        find_program(manifest.program, folder.path),
        models=manifest.models,
        reference=manifest.reference,
        margin=manifest.margin,
    )
    _check_unchanged(manifest, task)
    task = replace(task, models=(*manifest.models, *new))
    if len(task.models) < 2:
        raise UsageError(
            "The study has one model: there is none to run its prompts on.",
            where="--model",
            fix="name another, for example --model local/gemma-3-270m",
        )
    space = search_space(task)
    prompts = chosen_prompts(report)
    return Transfer(
        manifest=manifest,
        task=task,
        prompts=prompts,
        adapted=tuple(
            adapt_prompt(prompt.candidate, model, space) for prompt in prompts for model in task.models
        ),
        defaults={model.name: default_candidate(space, model) for model in new},
        examples=tuple(task.dataset.dev[:rows]),
    )


def run_transfer(folder: StudyFolder, transfer: Transfer, budget: Budget, *, watch: Watch) -> TransferReport:
    """Run a transfer, or what is left of it, and write its result.

    Rollouts that the study itself recorded for its prompts on dev are taken over.

    Args:
        folder: The study's folder.
        transfer: From :func:`plan_transfer`.
        budget: What all transfers of the study may use together; an empty one is no limit.
        watch: Told about every rollout.

    Raises:
        StudyError: Another process works on the study.
        BudgetError: The budget names trials, or ends before every cell has an example.
    """
    if budget.trials is not None:
        raise BudgetError(
            "A transfer has no trials.", where="--budget", fix="give calls, tokens, usd or time instead"
        )
    with folder.lock(), Ledger.open(folder.path / LEDGER) as ledger:
        if transfer.defaults:
            _remember(folder.path / MODELS, transfer)
        _take_over(folder, transfer, ledger)
        gate = BudgetGate(LocalSpend(ledger), budget)
        # The phase of a study that measures its leaders further on dev.
        gate.phase = "refine"
        cut = False
        try:
            _measure(transfer, ledger, gate, watch)
        except BudgetSpent:
            cut = True
        gate.touch()
        report = _report(transfer, ledger, budget if cut else None)
    write_record(folder.path / RESULT, report)
    return report


def chosen_prompts(report: FrontierReport) -> tuple[Prompt, ...]:
    """The prompts a study offers: its frontier and each model's best, cheapest first."""
    points = [point for point in report.points if {"frontier", "best"} & set(point.roles)]
    return tuple(
        Prompt(number=number, candidate=point.candidate, best="best" in point.roles)
        for number, point in enumerate(points, start=1)
    )


def adapt_prompt(prompt: Candidate, model: Model, space: SearchSpace) -> AdaptedPrompt:
    """A prompt as it is run on a model: all of its predictors there, unchanged where that is legal.

    A rendering that the model does not take gives way to the plainest it takes; sampling settings
    that it does not take are left out. A technique has no stand-in.

    Args:
        prompt: The prompt, on its own model.
        model: Where it is to run.
        space: The search space, this model in it.
    """
    if model.name == prompt.model:
        return AdaptedPrompt(prompt.id, model.name, prompt)
    changed: list[str] = []
    for serving in prompt.servings:
        moved = _moved(serving, model)
        technique = TECHNIQUES[moved.technique]
        if not technique.fits(moved.rendering, space.abilities[model.name]):
            reason = f"{technique.name} does not work in {moved.rendering} on this model"
            return AdaptedPrompt(prompt.id, model.name, None, reason=reason)
        changed += _changes(serving, moved)
    main = Serving(
        model=prompt.model, rendering=prompt.rendering, technique=prompt.technique, sampling=prompt.sampling
    )
    predictors = {
        name: predictor.model_copy(update={"serving": predictor.serving and _moved(predictor.serving, model)})
        for name, predictor in prompt.predictors.items()
    }
    # Made anew: a copy would keep the id that was computed for the original.
    candidate = Candidate(predictors=predictors, **dict(_moved(main, model)))
    return AdaptedPrompt(prompt.id, model.name, candidate, changed=", ".join(dict.fromkeys(changed)))


def _moved(serving: Serving, model: Model) -> Serving:
    """The nearest to a serving that a model takes."""
    legal = renderings_for(model.kind, raw=model.engine == "llama" or model.kind == "base")
    sampling = serving.sampling
    refused = {name for name in ACCEPTABLE if name not in model.accepts}
    if sampling.reasoning_effort not in model.reasoning_efforts:
        refused.add("reasoning_effort")
    if not model.takes_top_p:
        refused.add("top_p")
    return Serving(
        model=model.name,
        rendering=serving.rendering if serving.rendering in legal else legal[0],
        technique=serving.technique,
        sampling=Sampling(**sampling.model_dump(exclude=refused)),
    )


def _changes(serving: Serving, moved: Serving) -> list[str]:
    """What differs between a serving and what it became on another model, in words."""
    changes = []
    if moved.rendering != serving.rendering:
        changes.append(f"{moved.rendering} for {serving.rendering}")
    before, after = serving.sampling.model_dump(), moved.sampling.model_dump()
    lost = [name for name, value in before.items() if after.get(name) != value]
    return changes + [f"no {name}" for name in sorted(lost)]


def _new_models(manifest: StudyManifest, known: Sequence[Model], texts: Sequence[str]) -> tuple[Model, ...]:
    """The models asked for that the study did not search, each as it was declared first."""
    declared = {model.name: model for model in (*known, *manifest.models)}
    asked: dict[str, Model] = {}
    for text in texts:
        model = declared.get(text) or parse_model(text)
        before = declared.get(model.name, model)
        if _measured_as(model) != _measured_as(before):
            raise UsageError(
                f"{model.name} was measured with other settings.",
                where=f"--model {text}",
                fix=f"give the name alone to take those, or delete {LEDGER} and {MODELS} of the study's "
                "folder to measure a model of its transfers anew",
            )
        asked[model.name] = model
    own = {model.name for model in manifest.models}
    return tuple(model for name, model in asked.items() if name not in own)


def _measured_as(model: Model) -> dict[str, object]:
    """What of a model decides its rollouts and their cost."""
    return model.model_dump(exclude={"concurrency", "timeout"})


def _check_unchanged(manifest: StudyManifest, task: LoadedTask) -> None:
    """Refuse a task whose scores are not comparable with the study's; models and margin do not matter."""
    now = task_fingerprint(task, manifest.seed, manifest.objectives)
    found = changes(study_fingerprint(manifest), now, ("program", "data", "metric_source"))
    changed = [one.what for one in found]
    if changed:
        raise StudyError(
            f"The prompts of {manifest.name} cannot be compared as measured, because this changed since: "
            f"{', '.join(changed)}.",
            where=manifest.program,
            fix="restore what changed, or run a new study",
        )


def _take_over(folder: StudyFolder, transfer: Transfer, ledger: Ledger) -> None:
    """Copy the study's own scored dev rollouts of its prompts: they need not run again."""
    with Ledger.open(folder.ledger) as own:
        for prompt in transfer.prompts:
            found = own.rollouts(candidate=prompt.candidate.id, split="dev")
            ledger.add([rollout for rollout in found if rollout.number == 0 and rollout.failure is None])


def _measure(transfer: Transfer, ledger: Ledger, gate: BudgetGate, watch: Watch) -> None:
    """Run every candidate on every example, interleaved on the same examples."""
    wanted = {example_id(example) for example in transfer.examples}
    total = len(wanted) * len(transfer.candidates)
    known = sum(
        rollout.example in wanted and rollout.number == 0
        for candidate in transfer.candidates
        for rollout in ledger.rollouts(candidate=candidate, split="dev")
    )
    measurer = Measurer(
        transfer.task, ledger, gate, on_rollout=lambda rollout: watch(known + measurer.fresh, total)
    )
    watch(known, total)
    block = BLOCK if gate.budget == Budget() else SHORT_BLOCK
    starts = range(0, len(transfer.examples), block)
    parts = [transfer.examples[start : start + block] for start in starts]
    run_interleaved(
        [[(one, part) for one in transfer.candidates.values()] for part in parts], measurer, "dev"
    )


def _report(transfer: Transfer, ledger: Ledger, cut_by: Budget | None) -> TransferReport:
    """The result, from the examples that everything ran."""
    rollouts = {
        candidate: {r.example: r for r in ledger.rollouts(candidate=candidate, split="dev") if r.number == 0}
        for candidate in transfer.candidates
    }
    wanted = [example_id(example) for example in transfer.examples]
    shared = [example for example in wanted if all(example in rows for rows in rollouts.values())]
    if not shared:
        raise BudgetError(
            f"The budget of {cut_by} ends before every prompt has run an example on every model.",
            where="--budget",
            fix="give more, or fewer models; what was measured is kept",
        )
    manifest, prompts = transfer.manifest, transfer.prompts
    measured = Measured(rollouts, shared, transfer.task.dataset.groups, manifest.min_coverage)
    cells = [fill_cell(adapted, measured) for adapted in transfer.adapted]
    plain = [AdaptedPrompt(default.id, model, default) for model, default in transfer.defaults.items()]
    defaults = {adapted.model: adapted.prompt for adapted in plain}
    found = best_per_model(prompts, cells, defaults, measured)
    best = best_transfer(prompts, cells, defaults, measured)
    notes = [FLATTERED]
    if cut_by is not None:
        notes.append(f"The budget of {cut_by} ended after {len(shared)} of {len(wanted)} examples.")
    used = ledger.used()
    return TransferReport(
        study=manifest.name,
        task=manifest.task,
        models=transfer.task.models,
        new=tuple(defaults),
        prompts=prompts,
        cells=tuple(cells),
        defaults=tuple(fill_cell(adapted, measured) for adapted in plain),
        landings=found,
        best=best,
        examples=len(shared),
        answer=answer(prompts, found, best, tuple(defaults)),
        notes=tuple(notes),
        spend=Amount(calls=used.calls, tokens=used.tokens, dollars=used.dollars, seconds=used.seconds),
    )


def _remember(path: Path, transfer: Transfer) -> None:
    """Keep how the new models were declared: their rollouts hold for that declaration alone."""
    known = {model.name: model for model in _read_models(path)}
    new = {model.name: model for model in transfer.task.models if model.name in transfer.defaults}
    write_record(path, KnownModels(models=tuple({**new, **known}.values())))


def _read_models(path: Path) -> tuple[Model, ...]:
    if not path.is_file():
        return ()
    try:
        return KnownModels.model_validate_json(path.read_text(encoding="utf-8")).models
    except (ValidationError, UnicodeDecodeError) as error:
        raise StudyError(
            "The file cannot be read.", where=str(path), fix=f"delete it and {LEDGER} next to it"
        ) from error
