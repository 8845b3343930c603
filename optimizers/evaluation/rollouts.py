"""Running candidates on examples: one rollout each, scored, metered and priced."""

from __future__ import annotations

import math
import re
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dspy
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
)

from optimizers.errors import BudgetSpent, EngineError, MetricError, ParityError, scrubbed
from optimizers.evaluation.perturbations.examples import with_labels_reversed
from optimizers.evaluation.traces import Entry, steps_of
from optimizers.models.keys import held_variable, key_variables, needs_key
from optimizers.models.lm import Gate, Meter, metered
from optimizers.prompting.compile import compile_candidate
from optimizers.prompting.renderings.fields import as_json
from optimizers.records.json_values import whole
from optimizers.records.rows import Failure, Rollout, Split, Trace
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    from optimizers.models.model import Model
    from optimizers.prompting.compile import CompiledProgram
    from optimizers.records.candidate import Candidate
    from optimizers.task.task import LoadedTask

_FATAL = (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMUnsupportedModelError,
    LMUnsupportedFeatureError,
)
"""Errors that every further call would meet again: the study stops rather than record them."""

SCORE = "return a number from 0 to 1 for every example, or a dspy.Prediction with it as its score"

_FAILURES: tuple[tuple[type[Exception], Failure], ...] = (
    (ContextWindowExceededError, "context_overflow"),
    (LMTimeoutError, "timeout"),
    (LMRateLimitError, "rate_limit"),
    (LMServerError, "server"),
    (LMTransportError, "server"),
    (LMError, "provider"),
)

_MESSAGE_LIMIT = 500

_PREFIX = re.compile(r"^\[[^\]]*\] (?:(?:litellm\.)?\w*(?:Error|Exception)(?: \w+Error)?(?:: | - ))*")


def compiled_for(task: LoadedTask, candidate: Candidate, *, relabelled: bool) -> CompiledProgram:
    """A candidate of a task, ready to run; its labels listed the other way round where that is asked."""
    program = with_labels_reversed(task.program) if relabelled else task.program
    return compile_candidate(program, candidate, task.models)


def run_rollouts(
    compiled: CompiledProgram,
    examples: Sequence[dspy.Example],
    *,
    model: Model,
    metric: Callable[..., float],
    split: Split,
    number: int = 0,
    gate: Gate | None = None,
    slots: AbstractContextManager[Any] | None = None,
    stop: threading.Event | None = None,
    record: Callable[[Rollout], None] = lambda rollout: None,
) -> list[Rollout]:
    """Run one candidate on some examples, as many at once as its model takes.

    The examples share the candidate's prefix, so the engine decodes it once.

    Args:
        compiled: The candidate, compiled.
        examples: What to run it on.
        model: The candidate's model, for its price and concurrency.
        metric: The task's metric.
        split: Which part of the data the examples are.
        number: Rollout number: 0, or 1, 2, ... for repeats.
        gate: Asked before every call, told after it.
        slots: Held by each rollout while it runs, where several candidates run at the same time.
        stop: Once it is set, no further rollout begins.
        record: Called with each rollout the moment it ends, on the thread that ran it.

    Returns:
        Rollouts in the order of the examples.

    Raises:
        MetricError: The metric raised or returned no score in [0, 1].
        EngineError: The model refuses every call: no key, no credit, no such model.
        BudgetSpent: The gate lets no more calls pass. As with the others, what was
            running has ended and is recorded when it is raised.
        CancelledError: ``stop`` was set; finished ones are recorded.
    """

    def run(example: dspy.Example) -> Rollout:
        with slots or nullcontext():
            if stop is not None and stop.is_set():
                raise CancelledError
            rollout = run_rollout(
                compiled, example, model=model, metric=metric, split=split, number=number, gate=gate
            )
        record(rollout)
        return rollout

    with ThreadPoolExecutor(max_workers=model.concurrency) as pool:
        futures = [pool.submit(copy_context().run, run, example) for example in examples]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
    raise_first(problems_of(futures))
    return [future.result() for future in futures]


def problems_of(futures: Iterable[Future[Any]]) -> list[BaseException]:
    """What went wrong in pieces of work that have ended; those that never began are passed over."""
    return [error for one in futures if not one.cancelled() and (error := one.exception())]


def raise_first(problems: Iterable[BaseException]) -> None:
    """Raise one of several errors, if there are any: that the budget is spent only where nothing else is.

    That work was called off, as something else went wrong, comes last.
    """

    def rank(error: BaseException) -> tuple[bool, bool]:
        return isinstance(error, CancelledError), isinstance(error, BudgetSpent)

    for error in sorted(problems, key=rank):
        raise error


def run_rollout(
    compiled: CompiledProgram,
    example: dspy.Example,
    *,
    model: Model,
    metric: Callable[..., float],
    split: Split,
    number: int,
    gate: Gate | None,
) -> Rollout:
    """Run one candidate on one example; what it is given and raises is as for :func:`run_rollouts`."""
    failure: Failure | None = None
    parsed, error, prediction = True, None, None
    # Programs and metrics may change what they are given; the next rollout gets it as it was.
    example = deepcopy(example)
    identity = example_id(example)
    steps: list[Entry] | None = [] if split == "train" else None
    start = time.perf_counter()
    with metered(gate, compiled.candidate.id) as meter, dspy.context(trace=steps):
        try:
            prediction = compiled(example.inputs().toDict(), seed=_seed(identity, number))
        except AdapterParseError as problem:
            parsed, error = False, f"unparsed reply: {problem.lm_response}"
        except ParityError:
            raise
        except _FATAL as problem:
            raise _refused(model, problem) from problem
        except (Exception, SystemExit) as problem:
            # Anything else the user's program lets through is recorded by kind, never dropped.
            failure, error = _failure(problem), f"{type(problem).__name__}: {problem}"
    if meter.stopped:
        # The program may have caught it and answered without the call: that is no measurement.
        raise meter.stopped
    latency = time.perf_counter() - start
    prompt, cached, completion, cost = _used(meter)
    score, feedback = None, ""
    if failure is None:
        score, feedback = (
            _judged(metric, example, prediction, gate, compiled.candidate.id) if parsed else (0.0, "")
        )
    return Rollout(
        candidate=compiled.candidate.id,
        example=identity,
        number=number,
        split=split,
        score=score,
        failure=failure,
        parsed=parsed,
        error=whole(scrubbed(error))[:_MESSAGE_LIMIT] if error else None,
        output=_output(prediction),
        calls=len(meter.calls),
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        cost=cost,
        latency=latency,
        created=datetime.now(UTC),
        trace=None if steps is None else Trace(steps=steps_of(compiled.module, steps), feedback=feedback),
    )


def _seed(example: str, number: int) -> int:
    """A seed of its own for every (example, rollout number), within 31 bits."""
    return (int(example[:8], 16) + 7919 * number) % 2**31


def _failure(problem: BaseException) -> Failure:
    if isinstance(problem, LMTransportError) and _timed_out(problem):
        return "timeout"
    return next((kind for error, kind in _FAILURES if isinstance(problem, error)), "program")


def _timed_out(problem: BaseException | None) -> bool:
    """Whether a timeout is behind an error: DSPy's own client reports it as one of transport."""
    while problem is not None:
        if isinstance(problem, TimeoutError) or "timed out" in str(problem):
            return True
        problem = problem.__cause__
    return False


def _used(meter: Meter) -> tuple[int, int, int, float]:
    """Tokens read, of those cached, tokens generated, and what all of it costs to serve."""
    read: dict[Model, int] = defaultdict(int)
    written: dict[Model, int] = defaultdict(int)
    for model, call in meter.calls:
        if call.prompt is None or call.completion is None:
            raise EngineError(
                "The server reports no token usage, so a call's cost is unknown.",
                where=model.name,
                fix="turn usage reporting on at the server, or search another model",
            )
        read[model] += call.prompt
        written[model] += call.completion
    cost = sum(model.price.cost(read[model], written[model]) for model in read)
    cached = sum(call.cached for _, call in meter.calls)
    return sum(read.values()), cached, sum(written.values()), cost


def _refused(model: Model, problem: Exception) -> EngineError:
    """What to say where every call would be refused: the provider's first words, and where a key goes."""
    names = key_variables(model.name)
    held = held_variable(names)
    if held is None and needs_key(model) and isinstance(problem, (LMAuthError, LMConfigurationError)):
        what, do = f"{' or '.join(names)} is not set", f"set {names[0]} in the environment"
    else:
        # What comes before are names of classes and of the model, which the message names.
        said = _PREFIX.sub("", str(problem).strip()) or type(problem).__name__
        what, do = said.splitlines()[0], _remedy(problem, held or names[0])
    return EngineError(
        f"The model refuses every call: {what}",
        where=model.name,
        fix=f"{do}, then run the same command again; optimize doctor PROGRAM checks keys",
    )


def _remedy(problem: Exception, variable: str) -> str:
    if isinstance(problem, LMAuthError):
        return f"set {variable} to a key that is valid for this model"
    if isinstance(problem, LMBillingError):
        return "see to the credit of the account"
    if isinstance(problem, LMUnsupportedModelError):
        return "correct the model's name, or have the account or the server offer it"
    return "correct the model's name or its settings"


def _judged(
    metric: Callable[..., float],
    example: dspy.Example,
    prediction: Any,
    gate: Gate | None,
    candidate: str | None = None,
) -> tuple[float, str]:
    """Score and feedback; a judge's calls are spend, and no part of what the rollout costs to serve."""
    with metered(gate, candidate) as meter:
        try:
            judged = _score(metric, example, prediction)
        except MetricError:
            # A tool that asks the judge may raise an error of its own for a call that was refused.
            if meter.stopped is None:
                raise
    if meter.stopped:
        raise meter.stopped
    return judged


def _score(metric: Callable[..., float], example: dspy.Example, prediction: Any) -> tuple[float, str]:
    where = f"example {example_id(example)}: {str(example.toDict())[:200]}"
    try:
        value = metric(example, prediction)
    except BudgetSpent:
        raise
    except MetricError as error:
        # It says itself what is wrong, such as with its judge.
        both = "; ".join(place for place in (error.where, where) if place)
        raise MetricError(f"The metric gives no score: {error.what}", where=both, fix=error.fix) from error
    except (Exception, SystemExit) as error:
        raise MetricError(
            f"The metric raises {type(error).__name__}: {error}",
            where=where,
            fix=f"mend it{_line_of(error)}, then run the command again",
        ) from error
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise MetricError(
            f"The metric returned {value!r}, which is no number.", where=where, fix=SCORE
        ) from None
    if not (math.isfinite(score) and 0 <= score <= 1):
        raise MetricError(f"The metric returned {score}, outside [0, 1].", where=where, fix=SCORE)
    # Metrics written for DSPy's GEPA return their feedback with the score.
    return score, whole(str(getattr(value, "feedback", None) or ""))


def _line_of(error: BaseException) -> str:
    """Where an error was raised, for a message; nothing where Python does not say."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is the call of the metric
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return f" at {own[-1].filename}, line {own[-1].lineno}" if own else ""


def _output(prediction: Any) -> dict[str, Any]:
    """The prediction's fields as JSON values."""
    if prediction is None or not hasattr(prediction, "items"):
        return {}
    return {whole(str(name)): whole(as_json(value)) for name, value in prediction.items()}
