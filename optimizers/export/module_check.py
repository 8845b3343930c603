"""Whether an exported module sends and reads what the compiled program does, before it is written.

It runs in a Python of its own that sees no installed package (``-I -S``), on prompts of real and
awkward inputs and on replies: those that demos show, every closed value, and malformed ones.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from dspy.adapters.utils import serialize_for_json
from dspy.utils.exceptions import AdapterParseError

from optimizers.errors import ExportError
from optimizers.export.forms import ODD_TEXTS, odd_values, values_of
from optimizers.export.point import Exported, samples
from optimizers.prompting.renderings.completion import output_lines
from optimizers.prompting.renderings.fields import compact_json, label, text_of

if TYPE_CHECKING:
    from optimizers.export.targets.python_module import Step

REAL_REPLIES, MOST_ODD, SECONDS = 5, 400, 120

Asked = tuple[str, Any, Any]
"""Function, its argument, and what it must answer: a value, or None where it must refuse."""


def verify(exported: Exported, steps: Sequence[Step], source: str) -> None:
    """Compare a module with the compiled program.

    Raises:
        ExportError: It answers otherwise, or needs more than the standard library.
    """
    asked = [each for step in steps for each in (*_prompts(exported, step), *_replies(exported, step))]
    answers = run_apart(source, [(function, argument) for function, argument, _ in asked])
    for (function, argument, wanted), answer in zip(asked, answers, strict=True):
        # As text, because 1, 1.0 and True are equal.
        if answer.get("broke") or json.dumps(answer.get("value")) != json.dumps(wanted):
            raise ExportError(
                f"The module would not do what was measured: {function} gives {str(answer)[:200]} where "
                f"the compiled program {'gives ' + str(wanted)[:200] if wanted else 'fails to read it'}.",
                where=f"{function}({str(argument)[:200]!r})",
                fix="export to dspy, which carries the program itself",
            )


def run_apart(source: str, calls: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """Call a module's functions in a Python that has only its standard library.

    Args:
        source: The module's text.
        calls: (function, argument) pairs.

    Returns:
        For each call its ``value``, or what it ``refused`` by ValueError, or how it ``broke``.

    Raises:
        ExportError: The module does not load.
    """
    driver = f"{inspect.getsource(_answer_calls)}\n\n{_answer_calls.__name__}()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", driver],
        input=json.dumps({"source": source, "calls": calls}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ExportError("The module does not run.", where=done.stderr.strip()[-400:])
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


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


def _prompts(exported: Exported, step: Step) -> Iterator[Asked]:
    for values in samples(exported, step.signature):
        messages = step.adapter.format(step.signature, [dict(demo) for demo in step.demos], values)
        plain = {name: serialize_for_json(value) for name, value in values.items()}
        yield step.render, plain, messages[0]["content"] if step.raw else messages


def replies_to_read(exported: Exported, step: Step) -> list[str]:
    """Replies to try a predictor's reading on: well-formed ones first, then malformed ones."""
    return list(dict.fromkeys((*_well_formed(exported, step), *islice(_malformed(exported, step), MOST_ODD))))


def _replies(exported: Exported, step: Step) -> Iterator[Asked]:
    for reply in replies_to_read(exported, step):
        try:
            read = step.adapter.parse(step.signature, reply)
        except AdapterParseError:
            yield step.parse, reply, None
        else:
            yield step.parse, reply, {name: serialize_for_json(value) for name, value in read.items()}


def _well_formed(exported: Exported, step: Step) -> list[str]:
    """Replies as demos show them: of real examples, and of every closed value."""
    signature, forms = step.signature, step.constants["OUTPUTS"]
    tried = {name: values_of(form) for name, form in forms.items()}
    count = max(map(len, tried.values()))
    made = [{name: each[i % len(each)] for name, each in tried.items()} for i in range(count)]
    real = [
        {name: serialize_for_json(example[name]) if name in example else made[0][name] for name in forms}
        for example in exported.task.dataset.train[:REAL_REPLIES]
    ]
    replies = []
    for outputs in (*real, *made):
        demo = {**dict.fromkeys(signature.input_fields, "x"), **outputs}
        messages = step.adapter.format(signature, [demo], dict.fromkeys(signature.input_fields, "x"))
        shown = [message["content"] for message in messages if message["role"] == "assistant"]
        replies.append(shown[-1] if shown else "\n".join(output_lines(signature, demo)))
    return replies


def _malformed(exported: Exported, step: Step) -> Iterator[str]:
    """Replies that models go wrong with. What is read of them, and what is not, must be alike."""
    forms = step.constants["OUTPUTS"]
    yield from ("", " \n", "I cannot say.", "{}", "[]", "[[ ## completed ## ]]")
    for whole in (
        *_well_formed(exported, step)[:3],
        _written(step, {n: values_of(f)[-1] for n, f in forms.items()}),
    ):
        yield from _mangled(whole)
        bare = whole.split(":", 1)[-1].lstrip() if step.shape.blank is not None else whole
        yield from _mangled(bare)
    usual = {name: values_of(form)[0] for name, form in forms.items()}
    for name in forms:
        yield _written(step, {other: value for other, value in usual.items() if other != name})
        yield _written(step, usual).replace(label(name), label(name).upper()).replace(name, name.upper())
    # In turns, so that a long record leaves room for the other outputs.
    odd = (
        {name: value}
        for values in zip_longest(*map(_odd, forms.values()))
        for name, value in zip(forms, values, strict=True)
    )
    yield from (_written(step, usual | changed) for changed in odd)


def _odd(form: Mapping[str, Any]) -> Iterator[Any]:
    for value in odd_values(form):
        yield from (value, compact_json(value))
    yield from ODD_TEXTS


def _mangled(whole: str) -> Iterator[str]:
    yield from (
        whole,
        f"\n  {whole} \n",
        f"{whole}\n\nThat is all.",
        f"Sure, here it is: {whole}",
        f"So:\n{whole}",
    )
    yield from (whole.upper(), whole.lower(), whole.title(), f'"{whole}"', f"{whole}.", f"**{whole}**")
    yield from (
        whole[: len(whole) // 2],
        whole[:-1],
        whole[:-2],
        whole[1:],
        f"{whole}\n{whole}",
        f"{whole} {whole}",
    )
    yield from (
        f"```json\n{whole}\n```",
        f"```\n{whole}\n```",
        whole.replace("\n", "\n\n"),
        whole.replace('"', "'"),
    )


def _written(step: Step, values: Mapping[str, Any]) -> str:
    """A reply with these values, whether or not they are of their types."""
    if step.adapter.name == "json_object":
        return compact_json(values)
    texts = {name: text_of(value) for name, value in values.items()}
    if step.shape.blank is not None:
        return "\n".join(f"{label(name)}: {text}" for name, text in texts.items())
    return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in (texts | {"completed": ""}).items())
