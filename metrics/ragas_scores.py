"""Metrics of Ragas (docs.ragas.io), of ``ragas.metrics.collections``.

Those that ask a model are given one with :func:`ragas_judge`, whose calls are in the study's budget.
With another ``llm``, and for embeddings, Ragas asks past the account. Its usage reports are off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metrics.fields import Metric
from metrics.other_tools import Judge, finished, in_range, metric_of, text, tool

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model

os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")  # read at its first report

LESS_IS_BETTER = ("NoiseSensitivity",)


def ragas_score(metric: Any, **fields: str) -> Metric:
    """A metric of Ragas, as in ``ragas_score(BleuScore(), response="answer", reference="answer")``.

    Args:
        metric: An instance of a metric of ``ragas.metrics.collections``, or of a class like them. One
            whose range is not 0 to 1 is scaled from the range it states; one that counts errors
            (``NoiseSensitivity``) is turned around.
        fields: What its ``ascore`` takes -> the field that holds it. ``response`` is the output to
            score; ``retrieved_contexts`` is of the prediction where that has the field.

    Returns:
        ``metric(example, pred, trace=None)``. A field that the prediction lacks scores 0.0.

    Raises:
        MetricError: Ragas is not installed; or, when scored, the metric fails or gives no number.
        ValueError: It is no metric of this kind, or no field is named for ``response``.
    """
    base = tool("ragas.metrics.collections.base", "ragas").BaseMetric
    if not isinstance(metric, base):
        raise ValueError(
            f"ragas_score: {metric!r} is no metric of ragas.metrics.collections; give an instance of one"
        )
    low, high = metric.allowed_values

    def score(given: Mapping[str, Any]) -> float:
        sent = {name: value if isinstance(value, list) else text(value) for name, value in given.items()}
        value = finished(lambda: metric.ascore(**sent | {"response": text(given["response"])})).value
        share = in_range((float(value) - low) / (high - low))
        return 1 - share if type(metric).__name__ in LESS_IS_BETTER else share

    return metric_of(
        "ragas",
        f"ragas.{metric.name}",
        metric,
        score,
        fields,
        answer="response",
        produced=("retrieved_contexts",),
    )


def ragas_judge(judge: str | Model | dspy.LM) -> Any:
    """A model for Ragas to ask, as in ``Faithfulness(llm=ragas_judge("openai/gpt-4o-mini"))``.

    Its calls are in the study's budget, unless it is a ``dspy.LM`` of your own. A reply that is not the
    JSON that Ragas asked for is an error, and not asked for again.

    Raises:
        MetricError: Ragas is not installed.
    """
    base = tool("ragas.llms.base", "ragas").InstructorBaseRagasLLM
    asked = Judge(judge)

    class ParityLLM(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.judge = asked

        def generate(self, prompt: str, response_model: Any) -> Any:
            return _read(asked, asked.text(_messages(prompt)), response_model)

        async def agenerate(self, prompt: str, response_model: Any) -> Any:
            return _read(asked, await asked.text_soon(_messages(prompt)), response_model)

    return ParityLLM()


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _read(judge: Judge, reply: str, model: Any) -> Any:
    return model.model_validate(judge.found(reply))
