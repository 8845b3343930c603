"""The result of a study as one readable record (``frontier.json``)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from optimizers.models.model import Kind
from optimizers.records.candidate import Candidate
from optimizers.records.prediction import Prediction, Spend
from optimizers.records.record import Record

Verdict = Literal["match", "no match", "indecisive"]
Role = Literal["frontier", "best", "default", "reference", "searched"]
"""Why a point is reported: ``best`` and ``default`` (the plain default) are of the point's own model,
``reference`` is the best of the reference model."""


class Estimate(Record):
    """A mean with its uncertainty.

    Attributes:
        mean: Mean score over ``n`` examples, in [0, 1].
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        n: Examples scored.
        failures: Examples left without a score by infrastructure.
    """

    mean: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    n: int = Field(ge=0)
    failures: int = Field(default=0, ge=0)

    @property
    def coverage(self) -> float:
        """Share of the examples tried that got a score, in [0, 1]; 1 when nothing was tried."""
        tried = self.n + self.failures
        return self.n / tried if tried else 1.0


class Comparison(Record):
    """A tested point against a reference point, paired on the same test examples.

    Attributes:
        against: Candidate id of the reference point: the reference model's best, or its
            plain default.
        difference: Mean of (point - reference), in score units.
        low: Lower end of the 95% interval of the difference.
        high: Upper end of it.
        margin: Quality the user accepts to lose.
        p_value: P-value of the non-inferiority test, Holm-adjusted over the points compared
            with the same reference point.
        verdict: ``match`` when non-inferior at the margin, ``no match`` when shown worse than
            the margin, else ``indecisive``, as where too few rollouts got a score.
        cost_ratio: Serving cost of the point over the reference's; None where only the reference is free.
        n: Pairs compared.
        more: Further test examples that would settle an ``indecisive`` with 80% power, were the
            difference as measured; None when decided, or when examples would not settle it.
    """

    against: str
    difference: float
    low: float
    high: float
    margin: float
    p_value: float
    verdict: Verdict
    cost_ratio: float | None
    n: int
    more: int | None = Field(default=None, ge=1)


class Gain(Record):
    """What the search added to a model's plain default, paired on the test examples that both ran.

    Attributes:
        difference: Mean of (best - plain default), in score units.
        low: Lower end of its 95% interval.
        high: Upper end of it.
        n: Pairs compared.
    """

    difference: float
    low: float
    high: float
    n: int


class NoiseFloor(Record):
    """How far a candidate is from itself, over two rollouts of the same examples.

    Attributes:
        difference: Mean absolute difference of the two scores.
        changed: Share of the examples whose score changed.
        error: Standard error of the mean score of one pass due to sampling alone.
        n: Examples with two scores.
    """

    difference: float = Field(ge=0, le=1)
    changed: float = Field(ge=0, le=1)
    error: float = Field(ge=0, allow_inf_nan=False)
    n: int = Field(ge=2)


class Point(Record):
    """One candidate as measured.

    Attributes:
        candidate: The candidate, in full.
        kind: Kind of its model.
        size: Size of its model in billions of parameters, when known.
        roles: Why it is in the report; a candidate may have several.
        dev: Quality on the dev set, where the search selected it.
        test: Quality on the sealed test set, which the search never saw.
        cost: Mean serving cost of one rollout on the dev set, US dollars.
        latency: Median seconds per rollout on the dev set, with ``concurrency`` rollouts at once.
        latency_p95: The 95th percentile of the same.
        concurrency: Rollouts that ran at once.
        prompt_tokens: Mean prompt tokens per rollout.
        completion_tokens: Mean generated tokens per rollout.
        unread: Replies that did not keep the output format, of the rollouts behind ``test``, or behind
            ``dev`` where there is no test; 0 in records that do not say.
        comparison: Against the reference's best candidate, when tested and not itself it.
        against_default: Against the reference's plain default, when tested and not itself it.
        gain: Of a model's best over the plain default of the same model; None where they are one, or one
            was not tested, and in records that do not say.
        noise: Between two rollouts of the test examples, where it ran any twice.
    """

    candidate: Candidate
    kind: Kind
    size: float | None = None
    roles: tuple[Role, ...]
    dev: Estimate
    test: Estimate | None = None
    cost: float = Field(ge=0)
    latency: float = Field(ge=0)
    latency_p95: float = Field(default=0.0, ge=0)
    concurrency: int = Field(default=1, ge=1)
    prompt_tokens: float = Field(ge=0)
    completion_tokens: float = Field(ge=0)
    unread: int = Field(default=0, ge=0)
    comparison: Comparison | None = None
    against_default: Comparison | None = None
    gain: Gain | None = None
    noise: NoiseFloor | None = None


class Optimism(Record):
    """The selection bias of the best candidate's dev mean.

    Attributes:
        optimism: How much the best dev mean overstates what choosing the best really gives,
            in score units; slightly below 0 by chance where there is none.
        candidates: Candidates that took part.
        examples: Dev examples that took part.
    """

    optimism: float = Field(ge=-1, le=1, allow_inf_nan=False)
    candidates: int = Field(ge=0)
    examples: int = Field(ge=0)


class Suspect(Record):
    """An example whose declared answer may be wrong, or which is hard: a reason to look.

    Attributes:
        example: Its content hash.
        inputs: Its input fields.
        gold: Its declared outputs.
        said: What competent candidates agree on instead.
        share: Share of them that do, each model weighed equally.
        candidates: How many answered it.
        models: Their models; one alone is weak evidence.
    """

    example: str
    inputs: dict[str, Any]
    gold: dict[str, Any]
    said: dict[str, Any]
    share: float
    candidates: int
    models: tuple[str, ...]


class Effect(Record):
    """What one value of a choice does, against the choice's most common value.

    Attributes:
        value: The value.
        effect: Mean difference in score, other choices being equal; 0 for the most common value.
        low: Lower end of its 90% interval.
        high: Upper end of it.
        cost_ratio: Serving cost over that of the most common value, other choices being equal; None when
            free.
        candidates: Measured candidates that have the value.
    """

    value: str
    effect: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    cost_ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    candidates: int = Field(ge=1)


class Importance(Record):
    """How much a choice mattered to quality on dev.

    Attributes:
        model: The model whose candidates are looked at; None for all.
        dimension: What is chosen.
        share: Share of the variance between candidates that the choice alone explains, each of its
            values being equally frequent, in [0, 1].
        low: Lower end of its 90% interval; 0 when the choice is not distinguishable from one
            that does nothing, at 10% for all of the model's choices together.
        high: Upper end of it.
        baseline: The most common value.
        effects: Each value's effect.
        goes_with: Choices that went with this one in nearly every candidate: nothing tells them
            apart, and they share one importance.
    """

    model: str | None
    dimension: str
    share: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    baseline: str
    effects: tuple[Effect, ...]
    goes_with: tuple[str, ...] = ()

    @property
    def distinguishable(self) -> bool:
        """Whether the choice is shown to have an effect."""
        return self.low > 0


class Drop(Record):
    """What a perturbation costs a candidate, paired with the same test examples as they were.

    Attributes:
        rule: What was done; "" for all rules together.
        clean: Mean score on the examples as they were.
        drop: Mean of (as they were - perturbed), in score units.
        low: Lower end of its 95% interval.
        high: Upper end of it.
        n: Perturbed examples scored. One that no longer fits the model's context counts as wrong.
    """

    rule: str
    clean: float = Field(ge=0, le=1)
    drop: float = Field(ge=-1, le=1)
    low: float
    high: float
    n: int = Field(ge=1)


class Attack(Record):
    """How often an injection gets what it wants, of the examples that do not give it anyway.

    Attributes:
        rule: The injection, and the input field it is put in; "" for all together.
        success: Share of the examples that gave what it wants.
        drop: What it costs the score, wanted answer or not.
    """

    rule: str
    success: Estimate
    drop: Drop


class Robustness(Record):
    """Robustness of a candidate, on perturbed test examples.

    Attributes:
        candidate: Its id.
        perturbed: All perturbations that leave what the input says, together; None where none ran.
        rules: Each of them.
        attacked: All injections together; None where none ran.
        injections: Each of them.
    """

    candidate: str
    perturbed: Drop | None = None
    rules: tuple[Drop, ...] = ()
    attacked: Attack | None = None
    injections: tuple[Attack, ...] = ()


class FrontierReport(Record):
    """Everything a study found, from cheapest to dearest.

    Attributes:
        study: The study's name.
        task: The task's name.
        metric: The metric's name.
        reference: Name of the reference model.
        margin: Non-inferiority margin.
        points: Every candidate measured, in order of cost.
        hypervolume: Of the frontier on dev, with quality 0 and the dearest cost as corner,
            cost on a log scale; comparable only within one study.
        trials: Trials run.
        rollouts: Rollouts recorded, test included.
        seconds: Wall-clock seconds, over all the processes that worked on the study.
        answer: The result in one sentence.
        binary: Whether every score is 0 or 1, so that a mean is a share of examples right; None in
            records that do not say.
        budget: The study's limits, in words.
        spend: What the study used.
        prediction: What it was predicted to use.
        notes: Warnings about the data that a reader of the result must know.
        optimism: How much the best dev score overstates itself for having been chosen.
        suspects: Examples whose label to look at again, the strongest suspicion first.
        importance: What each choice did to quality, over all models and for each.
        robustness: Robustness of the tested points, in order of cost; empty where it was not asked.
    """

    schema_version: Literal[1] = 1
    study: str
    task: str
    metric: str
    reference: str
    margin: float
    points: tuple[Point, ...]
    hypervolume: float
    trials: int
    rollouts: int
    seconds: float
    answer: str
    binary: bool | None = None
    budget: str = ""
    spend: Spend | None = None
    prediction: Prediction | None = None
    notes: tuple[str, ...] = ()
    optimism: Optimism | None = None
    suspects: tuple[Suspect, ...] = ()
    importance: tuple[Importance, ...] = ()
    robustness: tuple[Robustness, ...] = ()

    def with_role(self, role: Role) -> tuple[Point, ...]:
        """The points that play a role, in order of cost."""
        return tuple(point for point in self.points if role in point.roles)

    def eligible(self) -> tuple[Point, ...]:
        """The frontier and each model's best, in order of cost: what a verdict may choose.

        Where quality alone is sought the frontier is one point, and cheaper models are not on it.
        """
        return tuple(point for point in self.points if {"frontier", "best"} & set(point.roles))

    def matches(self) -> tuple[Point, ...]:
        """Eligible points of models other than the reference that are shown to match it, cheapest first."""
        return tuple(
            point
            for point in self.eligible()
            if point.comparison is not None
            and point.comparison.verdict == "match"
            and point.candidate.models != (self.reference,)
        )

    def matched(self) -> bool:
        """Whether an eligible point of a model other than the reference is shown to match its best."""
        return bool(self.matches())
