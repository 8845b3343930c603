"""Scorers of autoevals (github.com/braintrustdata/autoevals).

Those that ask a model are given one with :func:`autoevals_judge`, whose calls are in the study's budget.
With another ``client``, or none, autoevals asks past the account; embeddings and moderation always.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from metrics.fields import Metric
from metrics.other_tools import Judge, metric_of, tool
from optimizers.errors import MetricError

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model


def autoevals_score(scorer: Any, **fields: str) -> Metric:
    """A scorer of autoevals, as in ``autoevals_score(Levenshtein(), output="answer", expected="answer")``.

    Args:
        scorer: An instance of a scorer.
        fields: What its ``eval`` takes -> the field that holds it. ``output`` is the output to score.

    Returns:
        ``metric(example, pred, trace=None)``. A field that the prediction lacks scores 0.0.

    Raises:
        MetricError: autoevals is not installed; or, when scored, the scorer fails or skips the example.
        ValueError: It is no scorer, or no field is named for ``output``.
    """
    base = tool("autoevals.score", "autoevals").Scorer
    if not isinstance(scorer, base):
        raise ValueError(
            f"autoevals_score: {scorer!r} is no scorer of autoevals; give an instance, as in Levenshtein()"
        )

    def score(given: Mapping[str, Any]) -> float | None:
        found: float | None = scorer.eval(**given).score
        return found

    title = f"autoevals.{scorer._name()}"
    return metric_of("autoevals", title, _held(scorer), score, fields, answer="output", produced=("context",))


def autoevals_judge(judge: str | Model | dspy.LM) -> Any:
    """A client for autoevals to ask, as in ``Factuality(client=autoevals_judge("openai/gpt-4o-mini"))``.

    Its calls are in the study's budget, unless it is a ``dspy.LM`` of your own. Where a scorer asks for
    the call of a function, the model is asked for its arguments as JSON, so that any model will do.
    """
    asked = Judge(judge)

    def create(**request: Any) -> dict[str, Any]:
        messages = [dict(message) for message in request.get("messages") or request["input"]]
        functions = [offered.get("function", offered) for offered in request.get("tools") or ()]
        if not functions:
            return _completion({"content": asked.text(messages)})
        messages[-1]["content"] += _call_as_json(functions[0])
        arguments = json.dumps(asked.found(asked.text(messages)))
        return _completion(
            {"tool_calls": [{"function": {"name": functions[0]["name"], "arguments": arguments}}]}
        )

    def refuse(**request: Any) -> Any:
        raise MetricError(
            "This scorer asks for embeddings or moderation, which a judge does not give.",
            where=asked.name,
            fix="give it a client of its own; its calls are then outside the budget",
        )

    other = SimpleNamespace(create=refuse)
    chat = SimpleNamespace(completions=SimpleNamespace(create=create))
    return SimpleNamespace(
        judge=asked,
        chat=chat,
        responses=SimpleNamespace(create=create),
        embeddings=other,
        moderations=other,
    )


def _call_as_json(function: Mapping[str, Any]) -> str:
    schema, name = json.dumps(function["parameters"], ensure_ascii=False), function["name"]
    return f"\n\nReply with the arguments of {name} alone, as one JSON object of this schema:\n{schema}"


def _completion(message: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def _held(scorer: Any) -> list[Any]:
    """A scorer with what ``Scorer.partial(...)`` and a client hold apart from it."""
    partial = scorer._partial_args() if hasattr(scorer, "_partial_args") else {}
    return [scorer, partial, getattr(getattr(scorer, "client", None), "judge", None)]
