"""Scorers of Inspect (inspect.aisi.org.uk), for single outputs.

Those that ask a model are given one with :func:`inspect_judge`, whose calls are in the study's budget.
With another ``model`` Inspect asks past the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metrics.fields import Metric
from metrics.other_tools import Judge, finished, in_range, metric_of, text, tool

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model

LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Correct, partly, incorrect and no answer, as Inspect's own metrics count them."""


def inspect_score(scorer: Any, **fields: str) -> Metric:
    """A scorer of Inspect, as in ``inspect_score(f1(), output="answer", target="answer")``.

    Args:
        scorer: A scorer, such as ``match()``, ``includes()``, ``exact()`` or ``f1()``. It sees a finished
            task whose completion is the output. One that needs more of it, such as tools, fails.
        fields: ``output``, the output to score, ``target``, what it is held against, where a list is of
            accepted ones, and ``input``, what was asked, which graders read -> the field that holds it.

    Returns:
        ``metric(example, pred, trace=None)``. A field that the prediction lacks scores 0.0.

    Raises:
        MetricError: Inspect is not installed; or, when scored, the scorer fails or leaves it unscored.
        ValueError: It is no scorer, or the fields are others.
    """
    registry = tool("inspect_ai._util.registry", "inspect")
    if not callable(scorer) or not registry.is_registry_object(scorer, type="scorer"):
        raise ValueError(f"inspect_score: {scorer!r} is no scorer of Inspect; give one, as in f1()")
    odd = sorted(fields.keys() - {"output", "target", "input"})
    if odd:
        raise ValueError(f"inspect_score: {odd[0]} is none of output, target and input")
    name = registry.registry_unqualified_name(scorer)

    def score(given: Mapping[str, Any]) -> float:
        state, target = _finished_task(given)
        found = finished(lambda: scorer(state, target))
        if found is None:
            raise ValueError("it gave no score")
        if isinstance(found.value, str):
            if found.value not in LETTERS:
                raise ValueError(f"its value {found.value!r} is no number from 0 to 1")
            return LETTERS[found.value]
        if found.value != found.value:
            raise ValueError(f"it left the example unscored: {found.reason}: {found.explanation}")
        return in_range(found.value)

    held = [name, registry.registry_params(scorer), scorer]
    return metric_of("inspect-ai", f"inspect.{name}", held, score, fields, answer="output")


def inspect_judge(judge: str | Model | dspy.LM) -> Any:
    """A model for Inspect to ask, as in ``model_graded_qa(model=inspect_judge("openai/gpt-4o-mini"))``.

    Its calls are in the study's budget, unless it is a ``dspy.LM`` of your own.

    Raises:
        MetricError: Inspect is not installed.
    """
    models = tool("inspect_ai.model", "inspect")
    asked = Judge(judge)

    @models.modelapi(name="parity")
    class ParityAPI(models.ModelAPI):  # type: ignore[misc, name-defined]
        def __init__(self, model_name: str, **given: Any) -> None:
            super().__init__(model_name)

        async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> Any:
            messages = [{"role": message.role, "content": message.text} for message in input]
            return models.ModelOutput.from_content(asked.name, await asked.text_soon(messages))

    # It must not be kept for another judge of the same name.
    return models.get_model(f"parity/{asked.name}", memoize=False)


def _finished_task(given: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a scorer is shown: a task that ended with an output, and the target."""
    models, solver = tool("inspect_ai.model", "inspect"), tool("inspect_ai.solver", "inspect")
    wanted = given.get("target", "")
    target = tool("inspect_ai.scorer", "inspect").Target(
        [text(one) for one in wanted] if isinstance(wanted, list) else text(wanted)
    )
    asked, answered = text(given.get("input", "")), text(given["output"])
    messages = [models.ChatMessageUser(content=asked), models.ChatMessageAssistant(content=answered)]
    state = solver.TaskState(
        model=models.ModelName("parity/program"),
        sample_id=1,
        epoch=1,
        input=asked,
        messages=messages,
        target=target,
        output=models.ModelOutput.from_content("parity/program", answered),
        completed=True,
    )
    return state, target
