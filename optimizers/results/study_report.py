"""A finished study's report: its content as one record, and how it is built from the study's records.

No model is loaded, no network is used.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from pydantic import Field

from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import choices_from_json
from optimizers.records.prediction import Prediction, Spend
from optimizers.records.record import Record
from optimizers.records.report import Comparison, NoiseFloor, Optimism, Point, Robustness
from optimizers.records.rows import ExampleRow, Phase, Split, StudyManifest, TrialRow, round_key
from optimizers.results import details
from optimizers.results.advice import Advice, advice_of
from optimizers.results.failures import (
    Answer,
    Best,
    ModelFailures,
    SampleError,
    Shared,
    failures_of,
    shared_errors,
)
from optimizers.results.finished_study import Gap, Measured, Study, open_study
from optimizers.results.headline import is_binary
from optimizers.results.statistics.intervals import unpaired_difference
from optimizers.results.statistics.paired import paired_difference
from optimizers.results.view import ResultView, Section, result_view


class ModelResult(Record):
    """A model's plain default, the best prompt the study began with, and its best.

    Attributes:
        model: The model's short name.
        default: Its plain default; None where it was not measured.
        start: Of the prompts the study began with, the one whose dev interval begins highest.
        starts: How many prompts of the model the study began with; None where that is not on record.
        best: The model's best.
        over_default: The best minus the plain default.
        over_start: The best minus the best starting prompt; None where they are the same.
    """

    model: str
    default: Measured | None
    start: Measured | None
    starts: int | None
    best: Measured | None
    over_default: Gap | None
    over_start: Gap | None


class Tried(Record):
    """What was tried of a model, or of several together.

    Attributes:
        models: Short names.
        candidates: Candidates measured.
        instructions: How many different instructions.
        renderings: The renderings among them.
        techniques: The techniques.
        demos: How their demos were found; ``none`` is for those without.
    """

    models: str
    candidates: int
    instructions: int
    renderings: tuple[str, ...]
    techniques: tuple[str, ...]
    demos: tuple[str, ...]


class FrontierRow(Record):
    """A point of the frontier, and how it compares with the reference's best."""

    point: Measured
    comparison: Comparison | None


class Shrinkage(Record):
    """How much less a tested point scored on test than on dev, where it was chosen.

    Attributes:
        point: The point.
        gap: Dev minus test, on different examples.
        noise: What running it twice changed, where it ran twice.
    """

    point: Measured
    gap: Gap
    noise: NoiseFloor | None


class PhaseSpend(Record):
    """What a phase of the study used."""

    phase: str
    calls: int = Field(ge=0)
    tokens: int = Field(ge=0)
    dollars: float = Field(ge=0)


class SuspectLabel(Record):
    """A dev example whose declared answer may be wrong.

    Attributes:
        example: The example: inputs, declared answer, and what candidates agree on.
        share: Share of the competent candidates that say so.
        models: Short names of their models.
    """

    example: SampleError
    share: float
    models: tuple[str, ...]


class StudyReport(Record):
    """A study's report.

    Attributes:
        manifest: What was asked.
        budget: The budget in words.
        trials: Trials run.
        rounds: Trials of each round, in order.
        tried: What was tried of each model.
        answer: The result in one sentence.
        view: The result as the end of the run shows it.
        prompts: The prompt of each point that may be chosen.
        choices: What each choice contributed.
        speed: Seconds and tokens of those points.
        stress: Robustness: all changes together, then each by itself; empty where none was measured.
        results: Each model's plain default, best starting prompt and best.
        frontier: The frontier, cheapest first.
        shrinkage: How sure the dev scores were, per tested point.
        optimism: What being chosen is expected to have added to the best dev score.
        suspects: Dev examples with a suspected label.
        spend: What the study used.
        phases: The same by phase.
        predicted: What it was predicted to use.
        failures: What each model's best got wrong on dev.
        shared: Errors on dev that models share, and those of one alone.
        robustness: Robustness of the tested points, where it was asked.
        advice: What to do next; None where nothing was measured on test.
        binary: Whether every score is 0 or 1.
    """

    manifest: StudyManifest
    budget: str
    trials: int
    rounds: tuple[int, ...]
    tried: tuple[Tried, ...]
    answer: str
    view: ResultView
    prompts: Section
    choices: Section
    speed: Section
    stress: tuple[Section, ...]
    results: tuple[ModelResult, ...]
    frontier: tuple[FrontierRow, ...]
    shrinkage: tuple[Shrinkage, ...]
    optimism: Optimism | None
    suspects: tuple[SuspectLabel, ...]
    spend: Spend | None
    phases: tuple[PhaseSpend, ...]
    predicted: Prediction | None
    failures: tuple[ModelFailures, ...]
    shared: Shared
    robustness: tuple[Robustness, ...]
    advice: Advice | None
    binary: bool


def study_report(folder: StudyFolder) -> StudyReport:
    """The report of a finished study.

    Raises:
        StudyError: The study has not finished, or its records cannot be read.
    """
    with open_study(folder) as study:
        tested = any(point.test and point.test.n for point in study.points)
        return _report(study, advice_of(study.manifest, study.report, study.ledger) if tested else None)


def _report(study: Study, advice: Advice | None) -> StudyReport:
    report, trials = study.report, study.ledger.trials()
    dev = {row.id: row for row in study.examples.values() if row.split == "dev"}
    bests = [
        Best(study.names[model.name], study.rows(point, "dev"))
        for model in study.manifest.models
        if (point := study.with_role(model.name, "best")) is not None
    ]
    rounds = Counter(trial.round for trial in trials)
    names = dict(study.names)
    view = result_view(report, study.manifest)
    return StudyReport(
        manifest=study.manifest,
        budget=str(study.manifest.budget),
        trials=report.trials,
        rounds=tuple(rounds[number] for number in sorted(rounds)),
        tried=tuple(_tried(study)),
        answer=view.headline.sentence,
        view=view,
        prompts=details.prompts(report, names),
        choices=details.contributions(report, names),
        speed=details.speed(report, names),
        stress=details.robustness(report, names),
        results=tuple(_results(study, trials)),
        frontier=tuple(
            FrontierRow(point=Measured.of(point), comparison=point.comparison)
            for point in report.with_role("frontier")
        ),
        shrinkage=tuple(_shrinkage(study)),
        optimism=report.optimism,
        suspects=tuple(_suspects(study, dev)),
        spend=report.spend,
        phases=tuple(_phases(study.ledger)),
        predicted=report.prediction,
        failures=tuple(failures_of(best, dev) for best in bests),
        shared=shared_errors(bests, study.names.get(study.manifest.reference, ""), dev),
        robustness=report.robustness,
        advice=advice,
        binary=is_binary(report),
    )


def _tried(study: Study) -> Iterable[Tried]:
    """What was tried, by the models that served it."""
    by_models: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for point in study.points:
        by_models[point.candidate.models].append(point.candidate)
    for models, candidates in sorted(by_models.items()):
        servings = [serving for candidate in candidates for serving in candidate.servings]
        prompts = [prompt for candidate in candidates for prompt in candidate.predictors.values()]
        yield Tried(
            models=" + ".join(study.names.get(name, name) for name in models),
            candidates=len(candidates),
            instructions=len({prompt.instruction for prompt in prompts}),
            renderings=tuple(sorted({serving.rendering for serving in servings})),
            techniques=tuple(sorted({serving.technique for serving in servings})),
            demos=tuple(sorted({_demos_method(prompt) for prompt in prompts})),
        )


def _demos_method(prompt: PredictorPrompt) -> str:
    """How demos were chosen; the label as it is in a record of version 0.1."""
    return prompt.demos_name if prompt.origin is None else prompt.origin.demos_method or "none"


def starting_candidates(ledger: Ledger, trials: Sequence[TrialRow]) -> set[str] | None:
    """Ids of the candidates that a study began with, before anything measured could guide it.

    Returns:
        Those among its trials; None where the ledger does not say what it began with.
    """
    record = ledger.get(round_key(1))
    if record is None or not trials:
        return None
    begun = [choices_from_json(start) for start in json.loads(record).get("starts", [])]
    return {trial.candidate for trial in trials if trial.round == 1 and trial.choices in begun}


def _results(study: Study, trials: Sequence[TrialRow]) -> Iterable[ModelResult]:
    begun = starting_candidates(study.ledger, trials)
    for model in study.manifest.models:
        known = [
            point
            for point in study.points
            if point.candidate.models == (model.name,) and point.candidate.id in (begun or ())
        ]
        default, best = study.with_role(model.name, "default"), study.with_role(model.name, "best")
        # The end of the interval, not the mean: a start that was dropped early may owe its mean to luck.
        start = max((point for point in known if point.dev.n), key=lambda point: point.dev.low, default=None)
        yield ModelResult(
            model=study.names[model.name],
            default=_measured(default),
            start=_measured(start),
            starts=None if begun is None else len(known),
            best=_measured(best),
            over_default=_gap(study, best, default),
            over_start=_gap(study, best, start),
        )


def _measured(point: Point | None) -> Measured | None:
    return None if point is None else Measured.of(point)


def _gap(study: Study, one: Point | None, other: Point | None) -> Gap | None:
    """One minus the other: on test where both were tested, else on dev."""
    if one is None or other is None or one.candidate.id == other.candidate.id:
        return None
    splits: tuple[Split, ...] = ("test", "dev")
    for split in splits:
        first, second = study.scores(one, split), study.scores(other, split)
        shared = [example for example in first if example in second]
        if shared:
            groups = [study.groups.get(example, example) for example in shared]
            a, b = [first[example] for example in shared], [second[example] for example in shared]
            difference, low, high = paired_difference(a, b, groups=groups)
            return Gap(difference=difference, low=low, high=high, n=len(shared), split=split)
    return None


def _shrinkage(study: Study) -> Iterable[Shrinkage]:
    for point in study.points:
        if point.test is None or not point.test.n or not point.dev.n:
            continue
        difference, low, high = unpaired_difference(point.dev, point.test)
        n = min(point.dev.n, point.test.n)
        gap = Gap(difference=difference, low=low, high=high, n=n, split="test", paired=False)
        yield Shrinkage(point=Measured.of(point), gap=gap, noise=point.noise)


def _suspects(study: Study, dev: Mapping[str, ExampleRow]) -> Iterable[SuspectLabel]:
    """Those on dev: what the test says stays unread."""
    for suspect in study.report.suspects:
        if suspect.example in dev:
            who = f"{suspect.share:.0%} of the candidates that are good at such examples"
            example = dev[suspect.example]
            yield SuspectLabel(
                example=SampleError(
                    inputs=example.inputs, right=example.gold, said=(Answer(by=who, output=suspect.said),)
                ),
                share=suspect.share,
                models=tuple(study.names.get(model, model) for model in suspect.models),
            )


def _phases(ledger: Ledger) -> Iterable[PhaseSpend]:
    calls: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    dollars: dict[str, float] = defaultdict(float)
    for call in ledger.calls():
        calls[call.phase] += 1
        tokens[call.phase] += call.prompt_tokens + call.completion_tokens
        dollars[call.phase] += call.cost
    return [
        PhaseSpend(phase=phase, calls=calls[phase], tokens=tokens[phase], dollars=dollars[phase])
        for phase in get_args(Phase)
        if phase in calls
    ]
