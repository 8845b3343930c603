"""The examples of a study as its ledger keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizers.records.json_values import json_value
from optimizers.records.rows import ExampleRow, Split
from optimizers.task.data.split import example_id
from optimizers.task.fields import fields_of

if TYPE_CHECKING:
    import dspy

    from optimizers.task.task import LoadedTask


def example_rows(task: LoadedTask) -> list[ExampleRow]:
    """The examples a study measures on, as the ledger keeps them."""
    _, outputs, _ = fields_of(task.program, task.dataset.dev)
    parts: dict[Split, Sequence[dspy.Example]] = {"dev": task.dataset.dev, "test": task.dataset.test}
    return [
        ExampleRow(
            id=example_id(example),
            split=split,
            group=task.dataset.groups.get(example_id(example)),
            inputs={name: json_value(value) for name, value in example.inputs().items()},
            gold={name: json_value(example[name]) for name in outputs},
        )
        for split, part in parts.items()
        for example in part
    ]
