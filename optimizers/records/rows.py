"""The rows of Parity's durable record: one rollout each, and the study they belong to.

Everything past this point (frontier, reports, exports) reads these and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from optimizers.errors import UsageError
from optimizers.models.model import Model
from optimizers.records.budget import Budget
from optimizers.records.parameters import Choices

Split = Literal["train", "dev", "test", "perturbed"]
"""``train`` rollouts are where proposals come from: no score of them counts for a candidate. ``perturbed``
ones are of changed examples, to measure robustness."""

Failure = Literal["timeout", "rate_limit", "server", "context_overflow", "provider", "program"]
"""Why a rollout has no score: the infrastructure failed it, not the model's answer.

``program`` is the user's own code raising on a reply that parsed.
"""


class Step(BaseModel):
    """One call of a predictor within a rollout: what it read and what it wrote.

    Attributes:
        predictor: Its name in the program.
        inputs: Its input fields, as JSON values.
        outputs: Its output fields, a technique's reasoning included; empty where its reply could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictor: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Trace(BaseModel):
    """What a rollout shows in addition to its outcome; kept only for rollouts on train.

    Attributes:
        steps: The predictors' calls, in order.
        feedback: What the metric says about the outcome, or "".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[Step, ...] = ()
    feedback: str = ""


class Rollout(BaseModel):
    """One run of one candidate on one example.

    Attributes:
        candidate: Content hash of the candidate.
        example: Content hash of the example.
        number: 0 for the first rollout of the pair, 1, 2, ... for repeats.
        split: Which part of the data the example belongs to.
        score: The metric's value in [0, 1]; None exactly when ``failure`` is set.
        failure: What kept the rollout from being scored.
        parsed: False when the reply did not keep the output format (score 0, not a failure).
        error: The message behind a failure or an unparsed reply.
        output: The program's output fields, as JSON values.
        calls: Model calls made.
        prompt_tokens: Tokens read, cached ones included.
        cached_tokens: Of those, tokens served from the engine's prefix cache.
        completion_tokens: Tokens generated.
        cost: Serving cost in US dollars: tokens x price, whatever was cached.
        latency: Seconds from start to end of the rollout.
        created: When it ended, UTC.
        trace: What its predictors did; None but on train.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    example: str
    number: int = Field(default=0, ge=0)
    split: Split
    score: float | None = Field(ge=0, le=1, allow_inf_nan=False)
    failure: Failure | None = None
    parsed: bool = True
    error: str | None = None
    output: dict[str, Any] = Field(default_factory=dict)
    calls: int = Field(ge=0)
    prompt_tokens: int = Field(ge=0)
    cached_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(ge=0)
    cost: float = Field(ge=0, allow_inf_nan=False)
    latency: float = Field(ge=0, allow_inf_nan=False)
    created: datetime
    trace: Trace | None = None

    @model_validator(mode="after")
    def _scored_or_failed(self) -> Self:
        if (self.score is None) != (self.failure is not None):
            raise ValueError("a rollout has either a score or a failure")
        return self


Phase = Literal["prepare", "propose", "search", "refine", "test", "robustness", "done"]
"""What a study is doing: ``propose`` lets the pools grow, ``search`` runs trials, ``refine`` measures
the leaders further, ``test`` opens the sealed set, ``robustness`` runs perturbed examples of it."""

CallState = Literal["started", "finished", "failed", "lost"]
"""``lost`` is a call whose process died before it ended: it may or may not have been served."""


class Block(BaseModel):
    """What one block of dev examples says of a candidate.

    Attributes:
        scores: Of the examples that got one.
        tried: Examples run, failures included.
        cost: Serving cost of those with a score, US dollars.
        latency: Median seconds of those with a score.
        calls: Model calls of all, perturbed ones included.
        tokens: Tokens of all rollouts, those on perturbed examples included.
        perturbed: Scores of the same examples perturbed, where robustness is traded off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scores: tuple[float, ...]
    tried: int
    cost: float
    latency: float
    calls: int
    tokens: int
    perturbed: tuple[float, ...] = ()

    @classmethod
    def of(cls, rollouts: Sequence[Rollout], perturbed: Sequence[Rollout] = ()) -> Block:
        """What a candidate's rollouts on a block say, and those on its examples perturbed."""
        every = [*rollouts, *perturbed]
        scored = [rollout for rollout in rollouts if rollout.score is not None]
        return cls(
            scores=tuple(rollout.score for rollout in scored if rollout.score is not None),
            tried=len(rollouts),
            cost=sum(rollout.cost for rollout in scored),
            latency=median(rollout.latency for rollout in scored) if scored else 0.0,
            calls=sum(rollout.calls for rollout in every),
            tokens=sum(rollout.prompt_tokens + rollout.completion_tokens for rollout in every),
            perturbed=tuple(rollout.score for rollout in perturbed if rollout.score is not None),
        )


class TrialRow(BaseModel):
    """A finished trial: a candidate that was tried, and all blocks that ran on its account.

    Attributes:
        number: Its place among the study's trials, from 0.
        round: Its round, from 1.
        candidate: Content hash of the candidate.
        choices: The choices of the search space that make it.
        values: Its objectives when it ended, empty when nothing was scored.
        ran: The blocks that ran, in order, and whose they are.
        began: When it began, local time as Optuna keeps it.
        ended: When it ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    round: int
    candidate: str
    choices: Choices
    values: tuple[float, ...]
    ran: tuple[tuple[str, Block], ...]
    began: datetime
    ended: datetime

    @property
    def rollouts(self) -> int:
        """Rollouts of its blocks."""
        return sum(block.tried for _, block in self.ran)


def round_key(number: int) -> str:
    """Under which key the ledger keeps what was found before a round, from 1."""
    return f"round {number}"


class Call(BaseModel):
    """One request to a model, retries each on their own.

    Attributes:
        id: Number in the order of sending; None before it is written.
        phase: What the study was doing.
        candidate: The candidate it was for; None when for none.
        model: The model's name.
        state: Whether it is in flight, answered, failed or lost.
        prompt_tokens: Tokens read and billed; the most there may be until the call is finished,
            and where it failed or was lost without an answer.
        cached_tokens: Of those, tokens from a prefix cache.
        completion_tokens: Tokens generated and billed; the most until it is finished.
        cost: US dollars billed; the most until it is finished.
        started: When it was sent, seconds since the epoch.
        ended: When it ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int | None = None
    phase: Phase
    candidate: str | None = None
    model: str
    state: CallState = "started"
    prompt_tokens: int = Field(ge=0)
    cached_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(ge=0)
    cost: float = Field(ge=0, allow_inf_nan=False)
    started: float
    ended: float | None = None

    @field_validator("phase", mode="before")
    @classmethod
    def _renamed(cls, phase: object) -> object:
        """The name that ledgers written before 0.2 have for the phase ``refine``."""
        return "refine" if phase == "settle" else phase


class ExampleRow(BaseModel):
    """An example that a study measures on.

    Attributes:
        id: Content hash.
        split: Which part of the data it belongs to.
        group: What it shares with other examples, as text; None without a declared group column.
        inputs: Its input fields, as JSON values.
        gold: Its declared outputs, as JSON values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    split: Split
    group: str | None = None
    inputs: dict[str, Any]
    gold: dict[str, Any]


MADE_UP = "XQ"
"""How a word begins that an injection wants where no label is at hand: no answer holds it otherwise."""


class PerturbedRow(BaseModel):
    """An example made of another one.

    Attributes:
        id: Content hash of what was made.
        source: That of what it was made of.
        rule: What was done: a rule's name, or an injection's.
        field: The input field that holds the injection; None for other rules.
        output: The output field that an injection is after.
        target: The answer it wants; None where it wants the prompt itself.
        inputs: The input fields that were changed, as they are now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    source: str
    rule: str
    field: str | None = None
    output: str | None = None
    target: str | None = None
    inputs: dict[str, str]

    @property
    def name(self) -> str:
        """The rule, and the field of an injection."""
        return self.rule if self.field is None else f"{self.rule} in {self.field}"


class SplitSizes(BaseModel):
    """How many examples each part of the data holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(ge=0)
    dev: int = Field(ge=1)
    test: int = Field(ge=1)


Objective = Literal["quality", "cost", "latency", "robustness"]

OBJECTIVES: tuple[tuple[Objective, ...], ...] = (
    ("quality",),
    ("quality", "cost"),
    ("quality", "cost", "latency"),
    ("quality", "cost", "robustness"),
)
"""What a study may search for, and trade off."""


class StudyManifest(BaseModel):
    """What a study is about, written once when it starts (``study.json``).

    Attributes:
        name: The study's name, also its folder under ``runs/``.
        task: The task's name.
        program: Path of the program file from the project's folder.
        fingerprint: Hash of program source, metric and data: a study is resumed only by its equal.
        program_hash: Hash of the program file's text.
        data_hash: Hash of the examples and their split.
        metric: The metric's name.
        metric_hash: Hash of the metric's source.
        budget: What the study may use.
        objectives: What the search trades off.
        min_coverage: Share of rollouts that must get a score for a measurement to count.
        models: The models searched, with the prices used.
        reference: Name of the model the others are measured against.
        margin: How much quality the user accepts to lose, in score units.
        seed: Seed of every random choice.
        sizes: Examples per split.
        duplicates: Rows dropped because another row says the same.
        near_duplicates: Rows kept in one part with a row that says nearly the same.
        leaks_removed: Rows dropped because a row of a later part says nearly the same.
        notes: Warnings about the data that a reader of the result must know.
        started_from: Name of the study whose prompts it began with; None to begin afresh.
        proposer: The model that writes instructions, if there is one.
        workers: Processes that the study is planned for.
        robustness: Whether the frontier is run on perturbed examples too.
        versions: Versions of the packages that decide results.
        created: When the study began, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: str
    task: str
    program: str
    fingerprint: str
    program_hash: str
    data_hash: str
    metric: str
    metric_hash: str = ""
    budget: Budget = Budget()
    objectives: tuple[Objective, ...] = ("quality", "cost")
    min_coverage: float = Field(default=0.95, ge=0, le=1)
    models: tuple[Model, ...]
    reference: str
    margin: float = Field(ge=0, le=1)
    seed: int
    sizes: SplitSizes
    duplicates: int = Field(default=0, ge=0)
    near_duplicates: int = Field(default=0, ge=0)
    leaks_removed: int = Field(default=0, ge=0)
    notes: tuple[str, ...] = ()
    started_from: str | None = None
    proposer: Model | None = None
    workers: int = Field(default=1, ge=1)
    robustness: bool = False
    versions: dict[str, str] = Field(default_factory=dict)
    created: datetime

    @property
    def has_program_file(self) -> bool:
        """Whether the program is a file that a command can load again; not so where code handed it over."""
        return "::" not in self.program


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """What a study trades off, as written on the command line.

    Raises:
        UsageError: It is none of :data:`OBJECTIVES`.
    """
    known = {",".join(objectives): objectives for objectives in OBJECTIVES}
    objectives = known.get(text.replace(" ", ""))
    if objectives is None:
        raise UsageError(
            f"{text!r} is no set of objectives.", where="--objectives", fix=f"one of {' or '.join(known)}"
        )
    return objectives
