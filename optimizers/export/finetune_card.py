"""The card of fine-tuning files: where their rows come from, what was left out, what to check first."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from optimizers.export.finetune_rows import RIGHT

BYTES_PER_TOKEN = 4
"""A rough figure for English; other scripts take more tokens."""


class FileCard(BaseModel):
    """One file of rows: its name, rows, rows by label, estimated tokens and sha256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    labels: dict[str, int]
    tokens: int
    sha256: str


class PredictorCard(BaseModel):
    """What the files of one predictor hold.

    Attributes:
        predictor: Its name in the program.
        format: ``messages`` or ``prompt-completion``.
        rendering: How prompts are written and replies are read.
        instruction: The instruction in every prompt.
        demos_dropped: Demos of the candidate that these prompts leave out.
        stop: Texts that end a reply where the candidate was measured.
        note: What else differs from the candidate as measured, or "".
        train: The file to train on.
        validation: The file to validate on; it shares no prompt with ``train``.
        sources: ``gold``, or ``teacher MODEL`` -> rows.
        dropped: Why rows were left out -> how many.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictor: str
    format: str
    rendering: str
    instruction: str
    demos_dropped: int
    stop: tuple[str, ...]
    note: str
    train: FileCard
    validation: FileCard
    sources: dict[str, int]
    dropped: dict[str, int]


class FinetuneCard(BaseModel):
    """Where fine-tuning files come from (``card.json``).

    Attributes:
        study: The study.
        task: The task.
        candidate: Id of the candidate.
        metric: The metric that passed the replies.
        threshold: The least score that passes.
        train_examples: Examples of the train split.
        kept_back: How many of them are left out, because dev or test has the same or nearly the same.
        predictors: Each predictor's files.
        tokens: In all files, estimated as a quarter of their bytes.
        data_licence: From the data card; None where there is none.
        cautions: What to check before training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    study: str
    task: str
    candidate: str
    metric: str
    threshold: float = RIGHT
    train_examples: int
    kept_back: int
    predictors: tuple[PredictorCard, ...]
    tokens: int
    data_licence: str | None
    cautions: tuple[str, ...]


def readme(card: FinetuneCard) -> str:
    """The card for people, as Markdown."""
    lines = [
        f"# {card.task}: fine-tuning data",
        "",
        f"From study `{card.study}`, candidate `{card.candidate}`. Every reply parses into outputs that "
        f"the metric `{card.metric}` scores {card.threshold:g}. The rows come from {card.train_examples} "
        f"train examples. {card.kept_back} of these are left out, because dev or test has the same or nearly "
        f"the same. The files hold about {card.tokens:,} tokens (estimated: {BYTES_PER_TOKEN} bytes each).",
    ]
    for one in card.predictors:
        lines += ["", f"## {one.predictor}", "", "| file | rows | labels | tokens, estimated | sha256 |"]
        lines.append("|---|---|---|---|---|")
        for file in (one.train, one.validation):
            labels = _counted(file.labels) or "open"
            lines.append(f"| `{file.name}` | {file.rows} | {labels} | {file.tokens:,} | `{file.sha256}` |")
        lines += [
            "",
            f"- Format: {one.format}, written by the rendering `{one.rendering}`.",
            f"- Every prompt has the instruction and no demos ({one.demos_dropped} dropped): training "
            "replaces them. Serve the tuned model with the same instruction and rendering.",
            f"- Sources: {_counted(one.sources)}",
            f"- Dropped: {_counted(one.dropped) or 'none'}",
        ]
        lines += [f"- Stop texts when it was measured: {json.dumps(one.stop)}."] if one.stop else []
        lines += [f"- {one.note[:1].upper()}{one.note[1:]}."] if one.note else []
        if one.format == "messages":
            lines.append("- TRL also trains on the prompts, unless you set `assistant_only_loss=True`.")
    lines += ["", "## Before training", "", *(f"- {caution}" for caution in card.cautions)]
    lines.append(f"- Licence of the data: {card.data_licence or 'not known'}")
    lines.append("- Measure the tuned model on dev and test, which are not in these files.")
    return "\n".join(lines) + "\n"


def _counted(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{name}: {count}" for name, count in counts.items())
