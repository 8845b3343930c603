"""What a study says, as one record: the content of its report, before it is put in words."""

from __future__ import annotations

from pydantic import Field

from optimizers.records.report import (
    Comparison,
    Estimate,
    NoiseFloor,
    Optimism,
    Point,
    Prediction,
    Robustness,
    Role,
    Spend,
)
from optimizers.records.rows import Split, StudyManifest
from optimizers.results.advice import Advice
from optimizers.results.failures import ModelFailures, SampleError, Shared
from optimizers.results.record import Record


class Measured(Record):
    """A candidate in a few words, and what it scored.

    Attributes:
        candidate: Its id.
        label: Its models' short names.
        summary: Its choices in a few words.
        roles: Why it is in the study's report.
        dev: Quality on dev.
        test: Quality on the sealed test, where it was tested.
        cost: Mean serving cost of a rollout, US dollars.
        latency: Median seconds of a rollout.
    """

    candidate: str
    label: str
    summary: str
    roles: tuple[Role, ...]
    dev: Estimate
    test: Estimate | None
    cost: float
    latency: float

    @classmethod
    def of(cls, point: Point) -> Measured:
        """A point of the study's report."""
        return cls(
            candidate=point.candidate.id,
            label=point.candidate.label,
            summary=point.candidate.summary,
            roles=point.roles,
            dev=point.dev,
            test=point.test if point.test and point.test.n else None,
            cost=point.cost,
            latency=point.latency,
        )


class Gap(Record):
    """The difference of two candidates in mean score.

    Attributes:
        difference: First minus second.
        low: Lower end of its 95% interval.
        high: Upper end of it.
        n: Pairs compared; the smaller number of examples where they are not paired.
        split: The examples it is measured on.
        paired: Whether both were measured on the same examples.
    """

    difference: float
    low: float
    high: float
    n: int
    split: Split
    paired: bool = True


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
    """A point of the frontier beside the reference's best."""

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
        results: Each model's plain default, best starting prompt and best.
        frontier: The frontier, cheapest first.
        answer: The result in one sentence.
        verdicts: The verdict on each frontier point, then on each model's best beside it, in words.
        shrinkage: How sure the dev scores were, per tested point.
        optimism: What being chosen is expected to have added to the best dev score.
        suspects: Dev examples with a suspected label.
        spend: What the study used.
        phases: The same by phase.
        predicted: What it was predicted to use.
        failures: What each model's best got wrong on dev.
        shared: Errors on dev that models share, and those of one alone.
        robustness: What the tested points stand, where that was asked.
        labels: Candidate id -> short names of its models, of the points that robustness is known of.
        advice: What to do next; None where nothing was measured on test.
    """

    manifest: StudyManifest
    budget: str
    trials: int
    rounds: tuple[int, ...]
    tried: tuple[Tried, ...]
    results: tuple[ModelResult, ...]
    frontier: tuple[FrontierRow, ...]
    answer: str
    verdicts: tuple[str, ...]
    shrinkage: tuple[Shrinkage, ...]
    optimism: Optimism | None
    suspects: tuple[SuspectLabel, ...]
    spend: Spend | None
    phases: tuple[PhaseSpend, ...]
    predicted: Prediction | None
    failures: tuple[ModelFailures, ...]
    shared: Shared
    robustness: tuple[Robustness, ...]
    labels: dict[str, str]
    advice: Advice | None
