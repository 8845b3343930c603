"""Metrics that ask a language model, for qualities that no rule computes, and whether to trust them.

Nothing here calls a model unless a program file declares one. A judge's calls are made while
a rollout is scored, one per grade and two per comparison. They are no part of the rollout:
its serving cost and latency leave them out, since nobody judges in production. They are in
the study's budget and spend, unless the judge is a ``dspy.LM`` of your own: that one is asked
past the account, and what it used is in its ``history``.

Before trusting a judge, compare it with people: grade examples that they have graded, and
look at :func:`agreement`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import dspy
from dspy.utils.exceptions import AdapterParseError

from metrics.fields import MISSING, Metric, named, predicted
from optimizers.errors import MetricError
from optimizers.models.lm import language_model
from optimizers.models.resolve import parse_model
from optimizers.models.sampling import Sampling
from optimizers.prompting.renderings import rendering
from optimizers.results.statistics.intervals import wilson

if TYPE_CHECKING:
    from optimizers.models.model import Model

JUDGE_TOKENS = 64
"""Most tokens of a judge's reply: one JSON object with one short value."""


def graded(field: str, rubric: str, *, judge: str | Model | dspy.LM, levels: int = 5) -> Metric:
    """A metric by which a language model grades a predicted field against a rubric.

    The judge reads the rubric, the example's inputs, the labelled answer as a guide and the
    predicted answer, and gives a whole number from 1 to ``levels``. The score is
    ``(grade - 1) / (levels - 1)``.

    Args:
        field: Output field to grade.
        rubric: What a good answer is, and what the lowest and highest grades mean.
        judge: An instruct or chat model: its string, ``optimizers.model(...)`` or a
            ``dspy.LM``, whose own sampling is then used; the others answer greedily.
        levels: Grades to choose from, at least 2.

    Returns:
        ``metric(example, pred, trace=None)``. A field that the prediction lacks scores 0.0
        without a call.

    Raises:
        ValueError: There are fewer than two levels.
        MetricError: When scored: the judge's reply is no grade.
    """
    if levels < 2:
        raise ValueError(f"graded({field!r}): levels={levels}; a grade needs at least 2")
    grades = Literal[tuple(range(1, levels + 1))]  # type: ignore[valid-type]
    asked = {
        "question": (str, dspy.InputField(desc="what was to be answered")),
        "guide": (str, dspy.InputField(desc="an answer that is known to be good")),
        "answer": (str, dspy.InputField(desc="the answer to grade")),
        "grade": (grades, dspy.OutputField(desc=f"from 1, worst, to {levels}, best")),
    }
    ask = _asker(dspy.Signature(asked, f"Grade an answer by this rubric.\n{rubric}"), judge)

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, field)
        if value is MISSING or value is None:
            return 0.0
        reply = ask(question=_inputs(example), guide=str(example[field]), answer=str(value))
        return (int(reply.grade) - 1) / (levels - 1)

    return named(metric, f"graded({field})")


def preferred(field: str, rubric: str, *, judge: str | Model | dspy.LM) -> Metric:
    """A metric by which a language model compares a predicted field with the labelled one.

    The judge is asked twice, with the two answers in either order, because judges favour a
    place (Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", NeurIPS
    2023, section 3.4). Each time the prediction earns 1 for a win and 0.5 for a tie; the
    score is the mean, so a judge that goes by the place alone gives 0.5.

    Args:
        field: Output field to compare.
        rubric: What makes one answer better than another.
        judge: As in :func:`graded`.

    Returns:
        ``metric(example, pred, trace=None)``. A field that the prediction lacks scores 0.0
        without a call.

    Raises:
        MetricError: When scored: the judge's reply names no winner.
    """
    asked = {
        "question": (str, dspy.InputField(desc="what was to be answered")),
        "first": (str, dspy.InputField(desc="the first answer")),
        "second": (str, dspy.InputField(desc="the second answer")),
        "better": (Literal["first", "second", "tie"], dspy.OutputField(desc="the better answer")),
    }
    ask = _asker(dspy.Signature(asked, f"Decide which of two answers is better.\n{rubric}"), judge)
    worth = {"first": 1.0, "tie": 0.5, "second": 0.0}

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, field)
        if value is MISSING or value is None:
            return 0.0
        question, own, rival = _inputs(example), str(value), str(example[field])
        ahead = ask(question=question, first=own, second=rival).better
        behind = ask(question=question, first=rival, second=own).better
        return (worth[ahead] + 1 - worth[behind]) / 2

    return named(metric, f"preferred({field})")


@dataclass(frozen=True)
class Agreement:
    """How far two raters agree.

    Attributes:
        kappa: Agreement beyond chance: 1 is full, 0 is what chance gives, below 0 is less.
        low: Lower end of its 95% interval.
        high: Upper end.
        observed: Share of examples rated the same.
        expected: Share that chance would rate the same.
        n: Examples.
    """

    kappa: float
    low: float
    high: float
    observed: float
    expected: float
    n: int


def agreement(human: Sequence[Hashable], judged: Sequence[Hashable]) -> Agreement:
    """How far a judge agrees with people: Cohen's kappa, with its interval.

    From Cohen, Educational and Psychological Measurement 20, 1960: ``kappa = (observed -
    expected) / (1 - expected)``, where ``expected`` is what two raters with these shares of
    labels would agree on by chance. The interval is Wilson's for the observed agreement, put
    through the same formula with the expected one held fixed. Unlike the usual large-sample
    interval it has a width where the raters always agree; in simulations of two labels and 30
    to 300 examples it covered the truth in at least 93%, the usual one in as few as 18%.

    Args:
        human: A label per example.
        judged: The judge's label for the same examples, of the same set: grades, or scores
            turned into classes such as ``score >= 0.5``.

    Raises:
        ValueError: The lengths differ, nothing is rated, or both raters give all examples
            one and the same label, of which kappa can say nothing.
    """
    n = len(human)
    if n != len(judged) or n == 0:
        raise ValueError(
            f"agreement: {n} human labels and {len(judged)} judged ones; give one pair per example"
        )
    ours, theirs = Counter(human), Counter(judged)
    same = sum(one == other for one, other in zip(human, judged, strict=True))
    expected = sum(count * theirs[label] for label, count in ours.items()) / n**2
    if expected == 1:
        raise ValueError(
            "agreement: every label is the same, so chance alone agrees; rate examples that differ"
        )
    low, high = wilson(same, n)

    def beyond_chance(share: float) -> float:
        return max(-1.0, (share - expected) / (1 - expected))

    return Agreement(beyond_chance(same / n), beyond_chance(low), beyond_chance(high), same / n, expected, n)


def _asker(signature: type[dspy.Signature], judge: str | Model | dspy.LM) -> Callable[..., Any]:
    """Asks the judge once; its model is loaded at the first question, not when the program file is read."""
    loaded = cache(lambda: served(judge, JUDGE_TOKENS))

    def ask(**inputs: str) -> Any:
        lm = loaded()
        # One call whatever is replied: DSPy's own adapters would ask again unseen.
        with dspy.context(lm=lm, adapter=rendering("json_object")):
            try:
                return dspy.Predict(signature)(**inputs)
            except AdapterParseError as error:
                raise MetricError(
                    f"The judge's reply is not what it was asked for: {error.lm_response!r}",
                    where=str(lm.model),
                    fix="take a judge that keeps to a JSON format, or say in the rubric what the grades mean",
                ) from error

    return ask


def served(judge: str | Model | dspy.LM, tokens: int) -> dspy.LM:
    """What serves a judge: itself where it is a ``dspy.LM``, else its model, greedy and on the account.

    Args:
        judge: The judge.
        tokens: Most tokens of a reply.

    Raises:
        ModelError: There is no such model.
    """
    if isinstance(judge, dspy.BaseLM):
        return judge
    model = parse_model(judge) if isinstance(judge, str) else judge
    return language_model(model, Sampling(max_tokens=tokens))


def _inputs(example: Any) -> str:
    return "\n".join(f"{name}: {value}" for name, value in example.inputs().items())
