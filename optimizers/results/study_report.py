"""A study's report from its records: no model is loaded, no network is used."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

from optimizers.errors import StudyError
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import choices_from_json
from optimizers.records.read_only import reading
from optimizers.records.report import Comparison, FrontierReport, Point, Role
from optimizers.records.rows import ExampleRow, Phase, Rollout, Split, StudyManifest, TrialRow, round_key
from optimizers.results.advice import Advice
from optimizers.results.failures import Best, failures_of, sample_of, shared_errors
from optimizers.results.findings import (
    FrontierRow,
    Gap,
    Measured,
    ModelResult,
    PhaseSpend,
    Shrinkage,
    StudyReport,
    SuspectLabel,
    Tried,
)
from optimizers.results.statistics.intervals import unpaired_difference
from optimizers.results.statistics.paired import paired_difference
from optimizers.results.study_advice import advice_of


@dataclass(frozen=True)
class Study:
    """A finished study's records, open.

    Attributes:
        manifest: What it is about.
        report: Its result.
        ledger: Its ledger.
        examples: Example id -> example, of dev and test.
        names: Model name -> short name, the whole one where two share that.
    """

    manifest: StudyManifest
    report: FrontierReport
    ledger: Ledger
    examples: Mapping[str, ExampleRow]
    names: Mapping[str, str]

    @property
    def points(self) -> list[Point]:
        """What was measured, from cheapest to dearest."""
        return [point for point in self.report.points if point.dev.n or (point.test and point.test.n)]

    @property
    def groups(self) -> dict[str, str]:
        """Example id -> group, for examples that come in groups."""
        return {row.id: row.group for row in self.examples.values() if row.group is not None}

    def with_role(self, model: str, role: Role) -> Point | None:
        """The point that plays a role for a model."""
        own = (point for point in self.points if point.candidate.models == (model,))
        return next((point for point in own if role in point.roles), None)

    def rows(self, point: Point, split: Split) -> dict[str, Rollout]:
        """Example id -> a point's first rollout of it, failures included."""
        rows = self.ledger.rollouts(candidate=point.candidate.id, split=split)
        return {row.example: row for row in rows if row.number == 0}

    def scores(self, point: Point, split: Split) -> dict[str, float]:
        """Example id -> a point's score."""
        return {example: r.score for example, r in self.rows(point, split).items() if r.score is not None}


@contextmanager
def open_study(folder: StudyFolder) -> Iterator[Study]:
    """A finished study's records, to be read while the block runs.

    Raises:
        StudyError: The study has not finished, or its ledger is gone.
    """
    manifest, report = folder.read_manifest(), folder.read_report()
    if not folder.ledger.is_file():
        raise StudyError(
            "The study's ledger is missing, so nothing is known of its rollouts.",
            where=str(folder.ledger),
            fix="restore the file; optimize frontier shows the result without it",
        )
    labels = Counter(model.label for model in manifest.models)
    with reading(folder.ledger) as ledger:
        yield Study(
            manifest=manifest,
            report=report,
            ledger=ledger,
            examples=ledger.examples(),
            names={m.name: m.label if labels[m.label] == 1 else m.name for m in manifest.models},
        )


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
    suspects = _suspects(study, dev)
    return StudyReport(
        manifest=study.manifest,
        budget=str(study.manifest.budget),
        trials=report.trials,
        rounds=tuple(rounds[number] for number in sorted(rounds)),
        tried=tuple(_tried(study)),
        results=tuple(_results(study, trials)),
        frontier=tuple(
            FrontierRow(point=Measured.of(point), comparison=point.comparison)
            for point in report.with_role("frontier")
        ),
        answer=report.answer,
        verdicts=tuple(_verdicts(report)),
        shrinkage=tuple(_shrinkage(study)),
        optimism=report.optimism,
        suspects=tuple(suspects),
        spend=report.spend,
        phases=tuple(_phases(study.ledger)),
        predicted=report.prediction,
        failures=tuple(failures_of(best, dev) for best in bests),
        shared=shared_errors(bests, study.names.get(study.manifest.reference, ""), dev),
        robustness=report.robustness,
        labels={
            point.candidate.id: point.candidate.label
            for point in study.points
            if point.roles != ("searched",)
        },
        advice=advice,
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


def _verdicts(report: FrontierReport) -> Iterable[str]:
    frontier = report.with_role("frontier")
    for number, point in enumerate(frontier, start=1):
        if point.comparison is not None:
            yield f"Point {number}: {point.candidate.label} {verdict_in_words(point.comparison)}"
    for point in report.eligible():
        if point not in frontier and point.comparison is not None:
            name = f"{point.candidate.label}, its best ({point.candidate.id}), not on the frontier,"
            yield f"{name} {verdict_in_words(point.comparison)}"


def verdict_in_words(found: Comparison) -> str:
    """A comparison's verdict as the end of a sentence that begins with the point's name."""
    interval = f"95% interval {found.low:+.3f} to {found.high:+.3f}"
    numbers = f"(difference {found.difference:+.3f}, {interval}, n = {found.n})"
    if found.verdict == "match":
        return f"is shown to lose less than {found.margin:g} {numbers}."
    if found.verdict == "no match":
        return f"is shown to lose more than {found.margin:g} {numbers}."
    more = f" About {found.more:,} more examples would settle it." if found.more else ""
    return f"may lose more or less than {found.margin:g}: indecisive {numbers}.{more}"


def _shrinkage(study: Study) -> Iterable[Shrinkage]:
    for point in study.points:
        if point.test is None or not point.test.n or not point.dev.n:
            continue
        difference, low, high = unpaired_difference(point.dev, point.test)
        n = min(point.dev.n, point.test.n)
        gap = Gap(difference=difference, low=low, high=high, n=n, split="test", paired=False)
        yield Shrinkage(point=Measured.of(point), gap=gap, noise=point.noise)


def _suspects(study: Study, dev: Mapping[str, ExampleRow]) -> list[SuspectLabel]:
    """Those on dev: what the test says stays unread."""
    return [
        SuspectLabel(
            example=sample_of(
                dev[suspect.example],
                [
                    (
                        f"{suspect.share:.0%} of the candidates that are good at such ones",
                        _values(suspect.said),
                    )
                ],
            ),
            share=suspect.share,
            models=tuple(study.names.get(model, model) for model in suspect.models),
        )
        for suspect in study.report.suspects
        if suspect.example in dev
    ]


def _values(outputs: Mapping[str, object]) -> str:
    return ", ".join(str(value) for value in outputs.values())


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
