"""The result of a transfer, the matrix "prompt of x run on y", as one record (``transfer.json``)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from optimizers.models.model import Model
from optimizers.records.candidate import Candidate
from optimizers.records.prediction import Amount
from optimizers.records.report import Estimate

Baseline = Literal["plain default", "own best"]
"""What a transferred prompt is held against: a new model's plain default, or the best prompt that
the study found for a model of its own."""


class Prompt(BaseModel):
    """A prompt that is transferred: a whole candidate of the study.

    Attributes:
        number: Its number in tables, from 1.
        candidate: The candidate, on its own model.
        best: Whether it is the best that the study found for its model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1)
    candidate: Candidate
    best: bool


class Difference(BaseModel):
    """A mean difference of two candidates, paired on the same examples.

    Attributes:
        mean: In score units.
        low: Lower end of its interval.
        high: Upper end of it.
        n: Pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    low: float
    high: float
    n: int = Field(ge=0)


class Cell(BaseModel):
    """One prompt on one model.

    Attributes:
        prompt: Candidate id of the prompt, on its own model.
        model: Name of the model it ran on.
        candidate: Candidate id of what ran; None for an empty cell.
        changed: What of the prompt had to change for this model; empty when nothing had to.
        reason: Why the cell is empty; empty when it is not.
        quality: Mean score with its 95% interval.
        to_own: Against the prompt on its own model, 95% interval; None for its own model.
        cost: Mean serving cost of one rollout, US dollars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    model: str
    candidate: str | None = None
    changed: str = ""
    reason: str = ""
    quality: Estimate | None = None
    to_own: Difference | None = None
    cost: float | None = Field(default=None, ge=0)


class TransferResult(BaseModel):
    """The transferred prompt that did best on a model, compared with the model's baseline.

    Attributes:
        model: The model.
        prompt: Candidate id of the prompt, on its own model.
        quality: Of that prompt on this model.
        baseline: What it is compared with.
        baseline_quality: Of that.
        gain: Prompt minus baseline. The prompt is the best of ``compared`` on these very examples,
            so the interval covers all of their differences at once (Bonferroni, 95%).
        cost_ratio: Serving cost of the prompt over the baseline's; None where that costs nothing.
        compared: Prompts of other models that were measured on this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    prompt: str
    quality: Estimate
    baseline: Baseline
    baseline_quality: Estimate
    gain: Difference
    cost_ratio: float | None = Field(default=None, ge=0)
    compared: int = Field(ge=1)


class BestTransfer(BaseModel):
    """The prompt that gains most on the models it was not made for.

    Attributes:
        prompt: Candidate id of the prompt, on its own model.
        models: The models that count: the new ones, or where there are none, the study's others.
        gain: Prompt minus the model's baseline, averaged over these models on each example; the
            interval covers all ``compared`` prompts at once, as in :class:`TransferResult`.
        compared: Prompts that were measured on all of these models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    models: tuple[str, ...]
    gain: Difference
    compared: int = Field(ge=1)


class TransferReport(BaseModel):
    """Everything a transfer found.

    Measured on dev, as the sealed test is opened once, for a decision already taken. The study
    chose each prompt on dev for its own model, so a prompt's score there is flattered, and its
    losses elsewhere look larger than they are.

    Attributes:
        study: The study's name.
        task: The task's name.
        models: The models, the study's first.
        new: Names of those that the study did not search.
        prompts: What was transferred, cheapest first.
        cells: Every prompt on every model.
        defaults: The plain default of each new model, as a cell of its own prompt.
        landings: The best transferred prompt of each model that has one and a baseline.
        best: The prompt that transfers best; None where none was measured everywhere.
        examples: Dev examples that all cells share.
        answer: The result in words.
        notes: What a reader must know.
        spend: What all transfers of this study used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    study: str
    task: str
    models: tuple[Model, ...]
    new: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    cells: tuple[Cell, ...]
    defaults: tuple[Cell, ...]
    landings: tuple[TransferResult, ...]
    best: BestTransfer | None
    examples: int = Field(ge=1)
    answer: str
    notes: tuple[str, ...] = ()
    spend: Amount

    def cell(self, prompt: str, model: str) -> Cell:
        """The cell of a prompt (by candidate id) and a model (by name)."""
        return next(cell for cell in self.cells if (cell.prompt, cell.model) == (prompt, model))

    def prompt(self, candidate: str) -> Prompt:
        """The prompt with this candidate id."""
        return next(prompt for prompt in self.prompts if prompt.candidate.id == candidate)
