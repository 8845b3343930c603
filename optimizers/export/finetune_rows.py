"""Rows to fine-tune one predictor on: the candidate's prompts, with correct replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import dspy
from dspy.utils.exceptions import AdapterParseError

from optimizers.errors import ExportError, MetricError
from optimizers.models.lm import metered
from optimizers.prompting.proposals.bootstrap import steps_by
from optimizers.prompting.proposals.demos import as_demo, balanced_output, demo_label
from optimizers.prompting.renderings.compact import Compact
from optimizers.prompting.renderings.completion import Completion, output_lines
from optimizers.prompting.renderings.fields import json_value, label

if TYPE_CHECKING:
    from optimizers.models.lm import Call
    from optimizers.models.model import Model
    from optimizers.prompting.renderings.rendering import Prompt, Rendering
    from optimizers.records.candidate import Candidate
    from optimizers.records.rows import Rollout
    from optimizers.task.task import LoadedTask

RIGHT = 1.0
"""Least score of a reply to learn from, as for runs that give demos."""

GOLD = "gold"
UNLABELLED = "the data lacks some of the predictor's inputs or outputs"
PARTIAL = "a teacher's call without all that the candidate's technique writes, such as reasoning"
UNREADABLE = "a reply that does not read back as what it was made of"
NOT_PASSED = "a label whose reply the metric does not pass"
UNSCORED = "a label that the metric cannot score without running the program"
JUDGED = "a label that the metric asks a model about, which an export does not do"
EMPTY = "an empty prompt or reply"

NEEDS_A_RUN = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a metric raises on a prediction without a run, where it reads what only a run leaves behind."""

Turns = tuple[tuple[str, str], ...]
"""A prompt as (role, text); text to continue is one user turn."""


@dataclass(frozen=True)
class Row:
    """A prompt with a reply to learn."""

    prompt: Turns
    reply: str
    source: str
    label: str
    unit: str  # rows of one unit are all in train or all in validation


@dataclass(frozen=True)
class Run:
    """A run on train as recorded, and who made it."""

    teacher: Candidate
    rollout: Rollout


class _NoCalls:
    """A gate that lets no call through: an export spends nothing."""

    def open(
        self, model: Model, candidate: str | None, prompt: int | None, completion: int | None
    ) -> NoReturn:
        raise ExportError("An export calls no model.", where=model.name)

    def check(self) -> None: ...

    def close(self, number: int, call: Call) -> None: ...

    def fail(self, number: int, *, refused: bool) -> None: ...


@dataclass(frozen=True)
class Author:
    """Writes rows of one predictor under the candidate's prompt, and parses each reply to check it."""

    task: LoadedTask
    name: str
    signature: type[dspy.Signature]
    adapter: Rendering

    def gold(self, identity: str, unit: str, example: dspy.Example) -> Row | str:
        """A row whose reply is the data's labels, or why there is none."""
        if any(field not in example for field in self.signature.fields):
            return UNLABELLED
        inputs = {field: example[field] for field in self.signature.input_fields}
        found = self._row(identity, unit, GOLD, inputs, as_demo(example, self.signature))
        if isinstance(found, str):
            return found
        row, values = found
        return self._why_wrong(example, values) or row

    def taught(self, unit: str, run: Run) -> Iterator[Row | str]:
        """The rows, or why there is none, of a predictor's calls in a run that passed."""
        source = f"teacher {run.teacher.serving(self.name).model}"
        outputs = self.signature.output_fields
        for step in steps_by(run.rollout, self.name):
            wrote = {field: step.outputs[field] for field in outputs if field in step.outputs}
            if len(wrote) < len(outputs):
                yield PARTIAL
                continue
            found = self._row(run.rollout.example, unit, source, step.inputs, wrote)
            if isinstance(found, str):
                yield found
                continue
            row, values = found
            read = {field: json_value(values[field], info.annotation) for field, info in outputs.items()}
            # The metric passed exactly these values, so this reply needs no new score.
            yield row if _plain(read) == _plain(wrote) else UNREADABLE

    def prompt(self, inputs: Mapping[str, Any]) -> Prompt:
        """What the candidate sends for some inputs, without demos."""
        return self.adapter.prompt(self.signature, [], inputs)

    def turns_for(self, example: dspy.Example) -> Turns | None:
        """The prompt for an example, where the data has all that the predictor reads."""
        if any(field not in example for field in self.signature.input_fields):
            return None
        return self._turns({field: example[field] for field in self.signature.input_fields})

    def _turns(self, inputs: Mapping[str, Any]) -> Turns:
        prompt = self.prompt(inputs)
        system = (("system", prompt.system),) if prompt.system else ()
        return (*system, *prompt.messages)

    def _row(
        self, identity: str, unit: str, source: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> tuple[Row, dict[str, Any]] | str:
        turns, reply = self._turns(inputs), self._reply(inputs, outputs)
        for text in (*(text for _, text in turns), reply):
            _check_text(text, f"{self.name}, train example {identity}")
            if not text.strip():
                return EMPTY
        try:
            values: dict[str, Any] = self.adapter.parse(self.signature, reply)
        except AdapterParseError:
            return UNREADABLE
        closed = balanced_output(self.signature) is not None
        named = demo_label(outputs, self.signature) if closed else ""
        return Row(prompt=turns, reply=reply, source=source, label=named, unit=unit), values

    def _reply(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
        """Outputs as a demo of this rendering shows them."""
        if isinstance(self.adapter, (Completion, Compact)):
            cue = f"{label(next(iter(self.signature.output_fields)))}:"
            text = "\n".join(output_lines(self.signature, outputs)).removeprefix(cue)
            return text if isinstance(self.adapter, Completion) else text.strip()
        messages = self.adapter.format(self.signature, [{**inputs, **outputs}], dict(inputs))
        return next((turn["content"] for turn in messages if turn["role"] == "assistant"), "")

    def _why_wrong(self, example: dspy.Example, values: Mapping[str, Any]) -> str | None:
        """Why the metric does not pass outputs; outputs of other predictors are as labelled.

        Raises:
            MetricError: The metric fails, and not because the prediction lacks a run.
        """
        given = example.inputs().toDict()
        labelled = {field: value for field, value in example.items() if field not in given}
        prediction, found = dspy.Prediction({**labelled, **values}), None
        with metered(_NoCalls()) as meter:
            try:
                found = None if float(self.task.metric(example, prediction)) >= RIGHT else NOT_PASSED
            except NEEDS_A_RUN as error:
                found = f"{UNSCORED} ({type(error).__name__})"
            except Exception as error:
                # The metric may turn a refused call into any exception.
                if not meter.stopped:
                    raise MetricError(
                        f"The metric raises {type(error).__name__}: {error}",
                        where=f"train example {example.toDict()}"[:200],
                        fix="fix the metric, or export to another target",
                    ) from error
        return JUDGED if meter.stopped else found


def _check_text(text: str, where: str) -> None:
    """Refuse what no line of the files can hold.

    Raises:
        ExportError: The text holds NUL or a lone surrogate.
    """
    if "\0" in text:
        raise ExportError("A text holds a NUL character.", where=where, fix="take it out of the data")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"A text holds half a character (a lone surrogate): {text[error.start]!r}."
        raise ExportError(what, where=where, fix="write the character whole, or leave it out") from error


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Output values as JSON has them, white space in a text as single spaces."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return {name: " ".join(v.split()) if isinstance(v, str) else v for name, v in plain.items()}
