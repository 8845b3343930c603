"""Whether an exported module sends and reads what the compiled program does, before it is written.

It runs in a Python of its own that sees no installed package (``-I -S``), on prompts of real and awkward
inputs, and on well-formed and malformed replies.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from optimizers.errors import ExportError
from optimizers.export.point import Exported, samples
from optimizers.export.replies import replies_to_read

if TYPE_CHECKING:
    from optimizers.export.single_request import SingleRequest
    from optimizers.export.targets.python_module import Step

SECONDS = 120
"""Most time that the other Python may take."""

Question = tuple[str, Any, Any]
"""Function, its argument, and the wanted answer: a value, or None where it must refuse."""


def verify(exported: Exported, steps: Sequence[Step], source: str) -> None:
    """Compare a module with the compiled program.

    Raises:
        ExportError: It answers otherwise, or needs more than the standard library.
    """
    questions = [one for step in steps for one in (*_prompts(exported, step), *_replies(exported, step))]
    compare("module", source, questions, fix="export to dspy, which carries the program itself")


def compare(what: str, source: str, questions: Sequence[Question], *, fix: str) -> None:
    """Call a module's functions in a Python that has only its standard library, and compare their answers.

    Args:
        what: What the module is called in messages.
        source: Its text.
        questions: What is called, and what it must answer. A ValueError is a refusal.
        fix: What to do where an answer differs.

    Raises:
        ExportError: The module does not load, or an answer differs.
    """
    driver = f"{inspect.getsource(_answer_calls)}\n\n{_answer_calls.__name__}()"
    calls = [(function, argument) for function, argument, _ in questions]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", driver],
        input=json.dumps({"source": source, "calls": calls}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ExportError(f"The {what} does not run.", where=done.stderr.strip()[-400:])
    for (function, argument, wanted), answer in zip(questions, json.loads(done.stdout), strict=True):
        # As text, because 1, 1.0 and True are equal.
        if answer.get("broke") or json.dumps(answer.get("value")) != json.dumps(wanted):
            said = "fails to read it" if wanted is None else f"gives {str(wanted)[:200]}"
            raise ExportError(
                f"The {what} would not do what was measured: {function} gives {str(answer)[:200]} where "
                f"the compiled program {said}.",
                where=f"{function}({str(argument)[:200]!r})",
                fix=fix,
            )


def _answer_calls() -> None:
    """What the other Python runs: calls from its input, answers to its output."""
    import json
    import sys

    asked = json.load(sys.stdin)
    module: dict[str, Any] = {"__name__": "exported"}
    exec(compile(asked["source"], "exported", "exec"), module)  # noqa: S102 - what was just written, on its own

    def answer(function: str, argument: object) -> dict[str, object]:
        try:
            return {"value": module[function](argument)}
        except ValueError as error:
            return {"refused": str(error)}
        except Exception as error:
            return {"broke": repr(error)}

    json.dump([answer(*call) for call in asked["calls"]], sys.stdout)


def measured_reading(request: SingleRequest, reply: str) -> dict[str, Any] | None:
    """The outputs that the compiled program reads in a reply, as JSON values; None where it fails to."""
    try:
        values = request.adapter.parse(request.signature, reply)
    except AdapterParseError:
        return None
    return {name: serialize_for_json(value) for name, value in values.items()}


def _prompts(exported: Exported, step: Step) -> Iterator[Question]:
    for values in samples(exported, step.signature):
        messages = step.measured(values)
        plain = {name: serialize_for_json(value) for name, value in values.items()}
        yield step.render, plain, messages[0]["content"] if step.raw else messages


def _replies(exported: Exported, step: Step) -> Iterator[Question]:
    for reply in replies_to_read(exported, step, step.constants["OUTPUTS"]):
        yield step.parse, reply, measured_reading(step, reply)
