"""What the metrics of other evaluation tools share: named inputs, scores from 0 to 1, judges on the account.

Nothing here needs any of the tools. Their adapters are ``ragas_scores``, ``deepeval_scores``,
``autoevals_scores`` and ``inspect_scores``.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from enum import Enum
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from metrics.fields import MISSING, Metric, named, predicted
from metrics.judge import served
from optimizers.errors import MetricError, ParityError
from optimizers.prompting.renderings.rendering import CONFIG_SETTINGS

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model

REPLY_TOKENS = 2048
"""Most tokens of a judge's reply: these tools ask for lists of statements, and for reasons."""

DEEPEST = 8
"""Levels of attributes that are settings of a metric; what lies deeper is machinery."""

Found = TypeVar("Found")
Score = Callable[[Mapping[str, Any]], Any]


class Judge:
    """A model that other tools may ask, whose calls are in the study's budget as those of Parity's judges.

    Unless it is a ``dspy.LM`` of your own: that one is asked past the account. It is loaded at its first
    question, not when the program file is read.

    Args:
        judge: An instruct or chat model: its string, ``optimizers.model(...)`` or a ``dspy.LM``.

    Attributes:
        name: The model's name.
    """

    def __init__(self, judge: str | Model | dspy.LM) -> None:
        self.name = judge if isinstance(judge, str) else str(getattr(judge, "model", None) or judge.name)
        self._served = cache(lambda: served(judge, REPLY_TOKENS))

    def text(self, messages: list[dict[str, str]]) -> str:
        """One reply to some messages: one call, or two where the first meets a transient error."""
        from dspy.lm15 import Config, Message, Request

        lm = self._served()
        own = {key: lm.kwargs[key] for key in CONFIG_SETTINGS if lm.kwargs.get(key) is not None}
        told = [message["content"] for message in messages if message["role"] in ("system", "developer")]
        turns = tuple(
            Message.assistant(message["content"])
            if message["role"] == "assistant"
            else Message.user(message["content"])
            for message in messages
            if message["role"] in ("user", "assistant")
        )
        asked = Request(
            model=lm.model, messages=turns, system="\n\n".join(told) or None, config=Config(**own)
        )
        return lm(asked).text or ""

    async def text_soon(self, messages: list[dict[str, str]]) -> str:
        """The same with ``await``, on a thread of its own."""
        return await asyncio.to_thread(self.text, messages)

    def found(self, reply: str) -> Any:
        """The JSON object in a reply, whatever surrounds it.

        Raises:
            MetricError: There is none.
        """
        for start in (found.start() for found in re.finditer(r"\{", reply)):
            try:
                return json.JSONDecoder(strict=False).raw_decode(reply, start)[0]
            except ValueError:
                continue
        raise MetricError(
            f"The judge's reply holds no JSON object: {reply[:200]!r}",
            where=self.name,
            fix="take a judge that keeps to a JSON format",
        )


def tool(module: str, extra: str) -> Any:
    """A module of another tool.

    Raises:
        MetricError: The tool is not installed, or one of its own requirements is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MetricError(
            f"This metric needs {module.partition('.')[0]}: {error}.",
            where=f"metrics/{extra}_scores.py",
            fix=f"pip install 'prompt-parity[{extra}]'",
        ) from error


def metric_of(
    package: str,
    title: str,
    held: Any,
    score: Score,
    fields: Mapping[str, str],
    *,
    answer: str,
    produced: Collection[str] = (),
) -> Metric:
    """A metric that asks one of another tool.

    Args:
        package: The tool's distribution.
        title: What reports call the metric.
        held: The tool's own metric. Its settings and the tool's version are part of a study.
        score: Given the tool's arguments, its score.
        fields: The tool's argument -> the field of prediction or example that it is given.
        answer: The argument that is what the program answered. Without it the score is 0.0.
        produced: Arguments taken from the prediction where it has the field, else from the example;
            the others are taken from the example where it has it, else from the prediction.

    Raises:
        ValueError: No field is named for the answer.
    """
    if answer not in fields:
        raise ValueError(f'{title}: name the output field to score, as in {answer}="answer"')
    # As text in the metric's closure it is part of the hash by which a study knows its metric.
    known = hashlib.sha256(json.dumps([version(package), settings_of(held)]).encode()).hexdigest()[:12]
    where = f"{package} {version(package)}, {title} (settings {known})"

    def metric(example: Any, pred: Any, trace: Any = None) -> float:
        value = predicted(pred, fields[answer])
        if value is MISSING or value is None:
            return 0.0
        with _said(where):
            given = {
                argument: plain(_value(field, example, pred, first=argument in produced))
                for argument, field in fields.items()
                if argument != answer
            }
            return in_range(score({answer: plain(value), **given}))

    return named(metric, f"{title}({fields[answer]})")


def in_range(value: Any) -> float:
    """A tool's value as a score.

    Raises:
        ValueError: It is no number from 0 to 1.
    """
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is no number from 0 to 1") from None
    # A mean of ones may be a hair above 1.
    if not (math.isfinite(score) and -1e-9 <= score <= 1 + 1e-9):
        raise ValueError(f"the score {score} is no number from 0 to 1")
    return min(1.0, max(0.0, score))


def plain(value: Any) -> Any:
    """A field's value as tools take it: members of enums by value, models as mappings."""
    if isinstance(value, Enum):
        return plain(value.value)
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [plain(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items
    return value


def text(value: Any) -> str:
    """A plain value as the text of a reply: itself, or JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def finished(make: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
    """What a coroutine gives, from any thread: where a loop runs already, on a thread of its own."""

    def run() -> Found:
        return asyncio.run(make())

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(copy_context().run, run).result()


def settings_of(thing: Any) -> Any:
    """What a metric of another tool is set to, as JSON values equal in every process.

    Private attributes and those named like keys are left out.
    """
    return _settings(thing, ())


def _settings(thing: Any, above: tuple[int, ...]) -> Any:
    if thing is None or isinstance(thing, (str, int, float, bool)):
        return thing
    if isinstance(thing, re.Pattern):
        return [thing.pattern, thing.flags]
    if isinstance(thing, Enum):
        return thing.name
    if isinstance(thing, Judge):
        return ["judge", thing.name]
    if inspect.isroutine(thing) or isinstance(thing, type):
        return _code(thing)
    if id(thing) in above or len(above) > DEEPEST:
        return type(thing).__qualname__
    inside = (*above, id(thing))
    if isinstance(thing, Mapping):
        return {str(key): _settings(thing[key], inside) for key in sorted(thing, key=str) if _tells(str(key))}
    if isinstance(thing, (list, tuple)):
        return [_settings(item, inside) for item in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted(json.dumps(_settings(item, inside)) for item in thing)
    return [type(thing).__qualname__, _settings(getattr(thing, "__dict__", {}), inside)]


def _code(thing: Any) -> str:
    """A function or class by its name and source, which are the same wherever its file lies."""
    try:
        return f"{thing.__qualname__} {inspect.getsource(thing)}"
    except (OSError, TypeError):
        return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def _tells(name: str) -> bool:
    return not name.startswith("_") and not re.search("key|secret|token|password|client", name, re.IGNORECASE)


def _value(field: str, example: Any, pred: Any, *, first: bool) -> Any:
    of_example = example.get(field, MISSING)
    of_pred = predicted(pred, field)
    order = (of_pred, of_example) if first else (of_example, of_pred)
    for value in order:
        if value is not MISSING:
            return value
    raise ValueError(f"neither the example nor the prediction has the field {field}")


@contextmanager
def _said(where: str) -> Iterator[None]:
    """A tool's own failure, told as what it is: an error, not a score of 0."""
    try:
        yield
    except ParityError:
        raise
    except Exception as error:
        raise MetricError(
            f"{type(error).__name__}: {error}",
            where=where,
            fix="see that the fields named hold what it needs, and that its judge replies as it is asked to",
        ) from error
