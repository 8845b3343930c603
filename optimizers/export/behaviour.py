"""What a loaded program does, as plain data, to compare programs that were loaded in two processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from optimizers.export.replies import ODD_TEXTS
from optimizers.export.single_request import shown_reply
from optimizers.prompting.compile import adapter_of, demos_of
from optimizers.prompting.renderings.completion import output_lines
from optimizers.prompting.renderings.fields import closed_values, without_none
from optimizers.prompting.renderings.rendering import abilities

if TYPE_CHECKING:
    import dspy

    from optimizers.prompting.renderings.rendering import Rendering


def behaviour(
    program: dspy.Module, adapter: Rendering, asked: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """What a compiled program's predictors send, and how they read replies. Calls no model.

    Args:
        program: The user's module with a candidate's choices set in it.
        adapter: Its rendering.
        asked: Inputs to try, for each predictor's name.

    Returns:
        For each predictor: technique, settings, the whole requests as text, and what well-formed and
        odd replies are read as.
    """
    return {
        name: _of(predictor, adapter_of(predictor, adapter), asked[name])
        for name, predictor in program.named_predictors()
    }


def _of(predictor: dspy.Predict, adapter: dspy.Adapter, asked: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lm, signature = predictor.lm, predictor.signature
    able = abilities(lm)
    requests = [
        adapter._request(lm, {}, signature, demos_of(predictor, inputs, adapter), dict(inputs), able)
        for inputs in asked
    ]
    return {
        "technique": getattr(getattr(predictor, "technique", None), "name", "direct"),
        "model": lm.model,
        "settings": {name: str(value) for name, value in sorted(lm.kwargs.items())},
        "requests": [str(request) for request in requests],
        "read": [_read(adapter, signature, reply) for reply in _replies(adapter, signature)],
    }


def _read(adapter: dspy.Adapter, signature: type[dspy.Signature], reply: str) -> Any:
    try:
        values = adapter.parse(signature, reply)
    except AdapterParseError:
        return None
    return {name: serialize_for_json(value) for name, value in values.items()}


def _replies(adapter: dspy.Adapter, signature: type[dspy.Signature]) -> Iterator[str]:
    """Replies as a demo would show them, with every closed value, and odd ones."""
    closed = {
        name: closed_values(without_none(info.annotation)[0]) or ("x", "3", "[]", '{"a": 1}')
        for name, info in signature.output_fields.items()
    }
    for index in range(max(map(len, closed.values()))):
        outputs = {name: values[index % len(values)] for name, values in closed.items()}
        yield "\n".join(output_lines(signature, outputs))
        yield shown_reply(adapter, signature, outputs)
    yield from ODD_TEXTS
