"""The result of a study as one readable record (``frontier.json``)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizers.candidate import Candidate
from optimizers.models.model import Kind

Verdict = Literal["match", "no match", "indecisive"]
Role = Literal["frontier", "best", "default", "reference", "searched"]
"""Why a point is reported: ``best`` and ``default`` (the plain default) are of the point's own model,
``reference`` is the best of the reference model."""


class Estimate(BaseModel):
    """A mean with its uncertainty.

    Attributes:
        mean: Mean score over ``n`` examples, in [0, 1].
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        n: Examples scored.
        failures: Examples left without a score by infrastructure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    n: int = Field(ge=0)
    failures: int = Field(default=0, ge=0)


class Comparison(BaseModel):
    """A frontier point against the reference, paired on the same test examples.

    Attributes:
        against: Candidate id of the reference point.
        difference: Mean of (point - reference), in score units.
        low: Lower end of the 95% interval of the difference.
        high: Upper end of it.
        margin: Quality the user accepts to lose.
        p_value: Holm-adjusted p-value of the non-inferiority test.
        verdict: ``match`` when non-inferior at the margin, ``no match`` when shown worse than
            the margin, else ``indecisive``.
        cost_ratio: Serving cost of the point over the reference's.
        n: Pairs compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    against: str
    difference: float
    low: float
    high: float
    margin: float
    p_value: float
    verdict: Verdict
    cost_ratio: float
    n: int


class Point(BaseModel):
    """One candidate as measured.

    Attributes:
        candidate: The candidate, in full.
        kind: Kind of its model.
        size: Size of its model in billions of parameters, when known.
        roles: Why it is in the report; a candidate may have several.
        dev: Quality on the dev set, where the search selected it.
        test: Quality on the sealed test set, which the search never saw.
        cost: Mean serving cost of one rollout on the dev set, US dollars.
        latency: Mean seconds per rollout on the dev set.
        prompt_tokens: Mean prompt tokens per rollout.
        completion_tokens: Mean generated tokens per rollout.
        comparison: Against the reference's best candidate, when tested and not itself it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Candidate
    kind: Kind
    size: float | None = None
    roles: tuple[Role, ...]
    dev: Estimate
    test: Estimate | None = None
    cost: float = Field(ge=0)
    latency: float = Field(ge=0)
    prompt_tokens: float = Field(ge=0)
    completion_tokens: float = Field(ge=0)
    comparison: Comparison | None = None


class FrontierReport(BaseModel):
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
        seconds: Wall-clock seconds of the process that finished the study.
        answer: The result in one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    def with_role(self, role: Role) -> tuple[Point, ...]:
        """The points that play a role, in order of cost."""
        return tuple(point for point in self.points if role in point.roles)
