"""What a candidate's predictors are sent, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizers.prompting.compile import adapter_of, compile_candidate, messages_of
from optimizers.results.render.page import Message, Sent

if TYPE_CHECKING:
    from optimizers.records.candidate import Candidate
    from optimizers.task.task import LoadedTask


def sent(task: LoadedTask, candidate: Candidate) -> tuple[Sent, ...]:
    """What is sent for the first dev example, by each predictor's first call.

    Later predictors of a pipeline read what earlier ones wrote: those are left out.

    Args:
        task: The task.
        candidate: One of its candidates.
    """
    compiled = compile_candidate(task.program, candidate, task.models)
    example, found = task.dataset.dev[0], []
    for name, predictor in compiled.module.named_predictors():
        fields = predictor.signature.input_fields
        if any(field not in example for field in fields):
            continue
        inputs = {field: example[field] for field in fields}
        raw = adapter_of(predictor, compiled.adapter()).needs_raw
        messages = [
            Message(role="text" if raw else message["role"], content=str(message["content"]))
            for message in messages_of(predictor, inputs, compiled.adapter())
        ]
        found.append(Sent(predictor=name, messages=tuple(messages)))
    return tuple(found)
