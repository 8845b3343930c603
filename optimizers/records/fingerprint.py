"""What a result depends on, as named parts: one answer to "has the task changed?"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from optimizers.models.model import Model, Price

if TYPE_CHECKING:
    from optimizers.records.rows import StudyManifest

Part = Literal[
    "task",
    "program",
    "data",
    "metric",
    "metric_source",
    "reference",
    "margin",
    "min_coverage",
    "proposer",
    "seed",
    "objectives",
    "models",
]

LABELS: dict[Part, str] = {
    "task": "the task",
    "program": "the program file",
    "data": "the data",
    "metric": "the metric's name",
    "metric_source": "the metric's source",
    "reference": "the reference",
    "margin": "the margin",
    "min_coverage": "the least coverage",
    "proposer": "the proposer",
    "seed": "the seed",
    "objectives": "the objectives",
    "models": "the models",
}
"""Every part, in the order in which differences are listed, and its name in messages."""

UNCOMPARED = frozenset({"replicas", "rpm", "tpm", "quantization", "weights"})
"""Fields of a model that may change during a study: its servers and their rate limits, and what follows
from its name and was not always recorded."""


@dataclass(frozen=True)
class Fingerprint:
    """What the scores and the verdicts of a study depend on.

    Attributes:
        task: Name of the task.
        program: Hash of the program.
        data: Hash of the examples and their split.
        metric: Name of the metric.
        metric_source: Hash of the metric's source; empty where an old study did not record it.
        reference: Name of the reference model.
        margin: Non-inferiority margin, in score units.
        min_coverage: Share of rollouts that must get a score, in [0, 1].
        proposer: Name of the model that writes instructions, if there is one.
        seed: Seed of the study.
        objectives: What the search trades off.
        models: The models searched, with their prices.
    """

    task: str
    program: str
    data: str
    metric: str
    metric_source: str
    reference: str
    margin: float
    min_coverage: float
    proposer: str | None
    seed: int
    objectives: tuple[str, ...]
    models: tuple[Model, ...]


@dataclass(frozen=True)
class Change:
    """One thing that differs between two fingerprints.

    Attributes:
        part: The part it belongs to.
        what: Its name in messages.
        then: The earlier value.
        now: The later value.
    """

    part: Part
    what: str
    then: object
    now: object

    def __str__(self) -> str:
        return f"{self.what} ({_text(self.then)} then, {_text(self.now)} now)"


def study_fingerprint(manifest: StudyManifest) -> Fingerprint:
    """The fingerprint of a recorded study."""
    return Fingerprint(
        task=manifest.task,
        program=manifest.program_hash,
        data=manifest.data_hash,
        metric=manifest.metric,
        metric_source=manifest.metric_hash,
        reference=manifest.reference,
        margin=manifest.margin,
        min_coverage=manifest.min_coverage,
        proposer=manifest.proposer.name if manifest.proposer else None,
        seed=manifest.seed,
        objectives=manifest.objectives,
        models=manifest.models,
    )


def changes(then: Fingerprint, now: Fingerprint, parts: Sequence[Part] = tuple(LABELS)) -> list[Change]:
    """List what differs between two fingerprints.

    Args:
        then: The earlier one.
        now: The later one.
        parts: The parts that matter to the caller; a model counts field by field, without UNCOMPARED.
    """
    found: list[Change] = []
    for part in parts:
        if part == "models":
            found += _model_changes(then.models, now.models)
        elif (old := getattr(then, part)) != (new := getattr(now, part)):
            found.append(Change(part, LABELS[part], old, new))
    return found


def _model_changes(then: Sequence[Model], now: Sequence[Model]) -> Iterator[Change]:
    old, new = ({model.name: model for model in models} for models in (then, now))
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            there = ("there", "absent") if name in old else ("absent", "there")
            yield Change("models", f"the model {name}", *there)
            continue
        for field in (one for one in Model.model_fields if one not in UNCOMPARED):
            before, after = (_compared(models[name], field) for models in (old, new))
            if before != after:
                label = f"the {field} of {name}"
                yield Change("models", label, getattr(old[name], field), getattr(new[name], field))


def _compared(model: Model, field: str) -> object:
    # Where a price was found does not matter, only what it is.
    return (model.price.input, model.price.output) if field == "price" else getattr(model, field)


def _text(value: object) -> object:
    if isinstance(value, Price):
        return f"{value.input:g}/{value.output:g} USD per million tokens"
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "nothing"
    return ",".join(value) if isinstance(value, tuple) and all(isinstance(v, str) for v in value) else value
