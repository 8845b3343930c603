"""Examples made of others: each says what it was made of, and of an injection what it wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from optimizers.evaluation.perturbations.injections import EXFILTRATION, INJECTIONS
from optimizers.evaluation.perturbations.text import RULES
from optimizers.prompting.renderings.fields import closed_values
from optimizers.records.json_values import json_value
from optimizers.records.rows import MADE_UP, PerturbedRow
from optimizers.task.data.split import example_id
from optimizers.task.signature_fields import fields_of

if TYPE_CHECKING:
    import dspy

LABEL_ORDER = "label order"
"""The perturbation that lists the allowed labels the other way round, and leaves the inputs as they are."""

SEEN = 20
"""Examples that tell which fields hold text."""

MARK = "parity_perturbation"
"""Field of a perturbed example that says what was done; no input, and what tells it from its source."""


def perturbed(source: dspy.Example, row: PerturbedRow) -> dspy.Example:
    """The example that a row describes.

    Args:
        source: The example it was made of.
        row: What was done to it.
    """
    return source.copy(**row.inputs, **{MARK: row.name})


def is_relabelled(example: dspy.Example) -> bool:
    """Whether a program that runs on the example lists its labels the other way round."""
    return bool(example.get(MARK) == LABEL_ORDER)


def with_labels_reversed(program: dspy.Module) -> dspy.Module:
    """A copy of a program whose outputs list their allowed values the other way round."""
    copy = program.deepcopy()
    for predictor in copy.predictors():
        signature = predictor.signature
        for name, info in signature.output_fields.items():
            if has_order(info.annotation):
                values = tuple(reversed(info.annotation.__args__))
                signature = signature.with_updated_fields(name, type_=Literal[values])
        predictor.signature = signature
    return copy


def has_order(annotation: Any) -> bool:
    """Whether a type lists values in an order that can be turned round: a ``Literal`` of several."""
    return getattr(annotation, "__origin__", None) is Literal and len(annotation.__args__) > 1


def text_fields(program: dspy.Module, dev: Sequence[dspy.Example]) -> list[str]:
    """Input fields that hold free text, by the first dev examples."""
    inputs, _, _ = fields_of(program, dev)
    closed = {
        name
        for predictor in program.predictors()
        for name, info in predictor.signature.input_fields.items()
        if closed_values(info.annotation) is not None
    }
    sample = dev[:SEEN]
    return [
        name
        for name in inputs
        if name not in closed and all(isinstance(example.get(name), str) for example in sample)
    ]


def count(program: dspy.Module, dev: Sequence[dspy.Example]) -> int:
    """Perturbed examples that one example of a task becomes, at most."""
    fields = text_fields(program, dev)
    return bool(fields) * len(RULES) + len(fields) * len(INJECTIONS) + _has_labels(program)


def perturbed_rows(
    program: dspy.Module,
    dev: Sequence[dspy.Example],
    examples: Sequence[dspy.Example],
    seed: int,
    *,
    each: bool,
) -> list[PerturbedRow]:
    """What is done to some examples.

    Args:
        program: What runs them.
        dev: Examples that tell what the fields hold.
        examples: The examples.
        seed: Of every random choice.
        each: Everything to each example; else one thing to each, cyclically.

    Returns:
        Rows in the order of what is done, then of the examples; what would leave an example as it is
        is left out.
    """
    _, outputs, labels = fields_of(program, dev)
    fields = text_fields(program, dev)
    found = [list(_of(example, fields, outputs, labels, seed)) for example in examples]
    if each:
        rows = [row for of_one in found for row in of_one]
        if _has_labels(program):
            rows += [_row(example, LABEL_ORDER, {}) for example in examples]
        order = {name: place for place, name in enumerate(dict.fromkeys(row.name for row in rows))}
        return sorted(rows, key=lambda row: order[row.name])
    return [of_one[place % len(of_one)] for place, of_one in enumerate(found) if of_one]


def _has_labels(program: dspy.Module) -> bool:
    return any(
        has_order(info.annotation)
        for predictor in program.predictors()
        for info in predictor.signature.output_fields.values()
    )


def _of(
    example: dspy.Example,
    fields: Sequence[str],
    outputs: Sequence[str],
    labels: Mapping[str, Sequence[Any]],
    seed: int,
) -> Iterator[PerturbedRow]:
    source = example_id(example)
    # A row may lack an input that others have.
    fields = [name for name in fields if isinstance(example.get(name), str)]
    texts = {name: example[name] for name in fields if any(map(str.isalpha, example[name]))}
    for name, rule in RULES.items():
        random = Random(f"{seed} {source} {name}")
        changed = {field: rule(text, random) for field, text in texts.items()}
        if changed != texts:
            yield _row(example, name, changed)
    output = next((name for name in outputs if name in labels), outputs[0])
    for field in fields:
        for name, injection in INJECTIONS.items():
            target = _target(example, output, labels.get(output), Random(f"{seed} {source} {field} {name}"))
            text = injection(example[field], target, field, output)
            wanted = None if name == EXFILTRATION else target
            yield _row(example, name, {field: text}, field=field, output=output, target=wanted)


def _target(example: dspy.Example, output: str, labels: Sequence[Any] | None, random: Random) -> str:
    """A wrong answer to ask for: another label, else a word that no answer holds."""
    own = str(json_value(example[output]))
    known = [str(json_value(label)) for label in labels or () if label is not None]
    wrong = [label for label in known if label != own]
    return random.choice(wrong) if wrong else f"{MADE_UP}{random.randrange(16**6):06X}"


def _row(
    example: dspy.Example,
    rule: str,
    inputs: Mapping[str, str],
    *,
    field: str | None = None,
    output: str | None = None,
    target: str | None = None,
) -> PerturbedRow:
    row = PerturbedRow(
        id="",
        source=example_id(example),
        rule=rule,
        field=field,
        output=output,
        target=target,
        inputs=dict(inputs),
    )
    return row.model_copy(update={"id": example_id(perturbed(example, row))})
