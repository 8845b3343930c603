"""Metrics of DeepEval (deepeval.com).

Those that ask a model are given one with :func:`deepeval_judge`, whose calls are in the study's budget.
With another ``model`` DeepEval asks past the account. Its usage reports are off; with a
``CONFIDENT_API_KEY`` set it sends traces to Confident AI, which is its own doing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from metrics.fields import Metric
from metrics.other_tools import Judge, finished, metric_of, text, tool

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model

os.environ.setdefault("DEEPEVAL_TELEMETRY_OPT_OUT", "1")

PRODUCED = ("retrieval_context", "tools_called")
LISTS = ("context", "retrieval_context", "tools_called", "expected_tools")


def deepeval_score(metric: Any, **fields: str) -> Metric:
    """A metric of DeepEval, as in ``deepeval_score(ExactMatchMetric(), actual_output="answer", ...)``.

    Args:
        metric: An instance of a metric for single-turn test cases. Where less is better by its own
            ``is_successful``, the score is turned around. Give ``GEval`` its ``evaluation_steps``: with
            ``criteria`` alone it has them written anew for every example.
        fields: Fields of ``LLMTestCase`` -> the field that holds it. ``actual_output`` is the output to
            score; ``retrieval_context`` and ``tools_called`` are of the prediction where that has the
            field. ``input`` is empty where it is left out.

    Returns:
        ``metric(example, pred, trace=None)``. A field that the prediction lacks scores 0.0.

    Raises:
        MetricError: DeepEval is not installed; or, when scored, the metric fails or gives no score.
        ValueError: It is no such metric, or no field is named for ``actual_output``.
    """
    base = tool("deepeval.metrics", "deepeval").BaseMetric
    case = tool("deepeval.test_case", "deepeval").LLMTestCase
    if not isinstance(metric, base):
        raise ValueError(f"deepeval_score: {metric!r} is no metric of deepeval; give an instance of one")
    turned = _less_is_better(metric)

    def score(given: Mapping[str, Any]) -> float:
        sent = {name: value if name in LISTS else text(value) for name, value in given.items()}
        own = copy(metric)  # a metric keeps its last score and reason in itself
        finished(lambda: own.a_measure(case(**{"input": ""} | sent), _show_indicator=False))
        if own.score is None:
            raise ValueError(f"it was skipped: {own.error or own.reason}")
        return 1 - float(own.score) if turned else float(own.score)

    title = f"deepeval.{getattr(metric, 'name', None) or type(metric).__name__}"
    return metric_of("deepeval", title, metric, score, fields, answer="actual_output", produced=PRODUCED)


def deepeval_judge(judge: str | Model | dspy.LM) -> Any:
    """A model for DeepEval to ask, as in ``GEval(..., model=deepeval_judge("openai/gpt-4o-mini"))``.

    Its calls are in the study's budget, unless it is a ``dspy.LM`` of your own.

    Raises:
        MetricError: DeepEval is not installed.
    """
    base = tool("deepeval.models", "deepeval").DeepEvalBaseLLM
    asked = Judge(judge)

    class ParityLLM(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.judge = asked
            super().__init__(asked.name)

        def load_model(self) -> Any:
            return self

        def get_model_name(self) -> str:
            return asked.name

        def generate(self, prompt: str) -> str:
            return asked.text([{"role": "user", "content": prompt}])

        async def a_generate(self, prompt: str) -> str:
            return await asked.text_soon([{"role": "user", "content": prompt}])

    return ParityLLM()


def _less_is_better(metric: Any) -> bool:
    """Whether a metric is content with 0 and not with 1."""
    content = []
    for score in (0.0, 1.0):
        tried = copy(metric)
        tried.threshold, tried.score, tried.error = 0.5, score, None
        content.append(bool(tried.is_successful()))
    return content == [True, False]
