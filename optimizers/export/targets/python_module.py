"""Export to one Python module: prompt, parameters and parser, for an app that has neither Parity nor DSPy.

What is measured goes into the module as literals; its functions are those of
:mod:`optimizers.export.standalone`, copied. The module is run on samples, in a Python that has only
its standard library, before it is written.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy

from optimizers.errors import ExportError
from optimizers.export.forms import default_value, form_of
from optimizers.export.module_check import verify
from optimizers.export.point import TO_DSPY, Exported, one_reply_each
from optimizers.export.standalone import (
    as_labelled,
    as_lines,
    as_sections,
    from_plain_text,
    from_text,
    literal,
    literal_text,
    read_lines,
    read_object,
    read_sections,
    source_of,
)
from optimizers.export.targets.openai_requests import parameters_of, why_not
from optimizers.prompting.compile import adapter_of
from optimizers.prompting.renderings.completion import line_stops
from optimizers.prompting.renderings.fields import one_line, without_none
from optimizers.prompting.renderings.rendering import abilities

if TYPE_CHECKING:
    from optimizers.prompting.renderings.rendering import Prompt, Rendering
    from optimizers.records.report import Estimate

PARTS = ("list", "map", "record")
"""Types of a form that are written as JSON."""


@dataclass(frozen=True)
class Shape:
    """How a rendering shows inputs and reads replies.

    Attributes:
        shown: The inputs, each as a text.
        between: The text between those.
        read: A reply's outputs.
        blank: Whether a blank line ends a reply in lines; None where replies are not in lines.
    """

    shown: Callable[..., list[str]]
    between: str
    read: Callable[..., Any]
    blank: bool | None = None


SHAPES = {
    "completion": Shape(as_lines, "\n", read_lines, blank=True),
    "compact": Shape(as_lines, "\n", read_lines, blank=True),
    "turns": Shape(as_lines, "\n", read_lines, blank=False),
    "json_object": Shape(as_labelled, "\n", read_object),
    "dspy_chat": Shape(as_sections, "\n\n", read_sections),
}
"""Name of a rendering -> what a module needs for it."""


@dataclass(frozen=True)
class Step:
    """One predictor as a module has it.

    Attributes:
        name: The predictor's.
        suffix: What its functions' names end in; empty where it is the only one.
        adapter: Its rendering.
        signature: What it answers.
        demos: What it shows.
        raw: Whether its prompt is text to continue.
        constants: Name -> value, as the functions use them.
    """

    name: str
    suffix: str
    adapter: Rendering
    signature: type[dspy.Signature]
    demos: Sequence[Mapping[str, Any]]
    raw: bool
    constants: Mapping[str, Any]

    @property
    def shape(self) -> Shape:
        """How its rendering shows and reads."""
        return SHAPES[self.adapter.name]

    @property
    def render(self) -> str:
        """Name of the function that makes what is sent."""
        return f"{'prompt' if self.raw else 'render'}{self.suffix}"

    @property
    def parse(self) -> str:
        """Name of the function that reads replies."""
        return f"parse{self.suffix}"


def write_python(exported: Exported, folder: Path) -> list[Path]:
    """Write ``TASK.py``: what each predictor sends and how its replies are read.

    A program of one predictor gives ``render`` (``prompt`` where text is continued), ``parse``, ``run``
    and ``PARAMETERS``; one of several, each of these with ``_PREDICTOR`` after its name.

    Raises:
        ExportError: The module would send or read otherwise than was measured, or one request is not
            all that was measured; nothing is written.
    """
    steps = steps_of(exported)
    source = module_source(exported, steps)
    verify(exported, steps, source)
    path = folder / f"{module_name(exported.manifest.task)}.py"
    path.write_text(source, encoding="utf-8", newline="\n")
    return [path]


def module_name(task: str) -> str:
    """A task's name as that of a module, which hides none of Python's own."""
    name = re.sub(r"\W+", "_", task, flags=re.ASCII).strip("_").lower()
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names
    if name in ("dspy", "openai", "optimizers") or taken:
        return f"{name}_program"
    return name if name.isidentifier() else f"program_{name}".rstrip("_")


def module_source(exported: Exported, steps: Sequence[Step], *, more: Sequence[str] = ()) -> str:
    """The module's text: what it is, with more lines about it, the constants of each predictor, functions."""
    roots = {"given", "as_sent", "Any", "Mapping"}
    roots |= {name for step in steps for name in (step.shape.shown.__name__, *_reading(step))}
    imports, functions = source_of(roots)
    public = [f"PARAMETERS{step.suffix.upper()}" for step in steps]
    public += [name for step in steps for name in (step.render, step.parse, f"run{step.suffix}")]
    parts = [
        literal_text(_header(exported, steps, more)),
        "from __future__ import annotations\n\n" + "\n".join(imports),
        f"__all__ = {literal(public)}",
    ]
    for step in steps:
        parts += [f"{name}{step.suffix.upper()} = {literal(value)}" for name, value in step.constants.items()]
    calls = "\n\n".join(_functions(step) for step in steps)
    return "\n\n".join(parts) + f"\n\n\n{calls}\n\n{functions}"


def steps_of(exported: Exported) -> list[Step]:
    """The predictors as a module has them.

    Raises:
        ExportError: A module cannot hold one of them, or one request is not all that was measured.
    """
    module = exported.compiled.module
    one_reply_each(exported)
    predictors = list(module.named_predictors())
    suffixes = _suffixes([name for name, _ in predictors])
    return [
        _step(exported, name, predictor, suffix)
        for (name, predictor), suffix in zip(predictors, suffixes, strict=True)
    ]


def _suffixes(names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [""]
    made: list[str] = []
    for name in names:
        plain = "_" + (re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "step")
        # Two names may differ only in what an identifier cannot hold.
        made.append(next(each for each in (plain, *_numbered(plain, len(names))) if each not in made))
    return made


def _numbered(plain: str, count: int) -> Iterator[str]:
    return (f"{plain}_{number}" for number in range(2, count + 2))


def _step(exported: Exported, name: str, predictor: dspy.Predict, suffix: str) -> Step:
    if why := why_not(predictor):
        raise ExportError(why, where=name, fix=TO_DSPY)
    adapter, signature = adapter_of(predictor, exported.compiled.adapter()), predictor.signature
    if adapter.name not in SHAPES:
        raise ExportError(
            f"A module cannot hold the rendering {adapter.name}.", where=name, fix="export to dspy"
        )
    if any(info.annotation is dspy.History for info in signature.input_fields.values()):
        raise ExportError("A module cannot hold a conversation's history.", where=name, fix=TO_DSPY)
    demos = [dict(demo) for demo in predictor.demos]
    prompt = adapter.prompt(signature, demos, dict.fromkeys(signature.input_fields, ""))
    constants = {
        "PARAMETERS": parameters_of(*exported.serving(name), prompt, abilities(predictor.lm)),
        **_prompt_constants(name, adapter, signature, demos, prompt),
        **_reading_constants(name, adapter, signature),
    }
    return Step(name, suffix, adapter, signature, demos, prompt.raw, constants)


def _prompt_constants(
    name: str,
    adapter: Rendering,
    signature: type[dspy.Signature],
    demos: list[dict[str, Any]],
    prompt: Prompt,
) -> dict[str, Any]:
    """What a prompt is made of: all before the inputs, the inputs' names, and what follows them."""
    shape, fields = SHAPES[adapter.name], signature.input_fields
    names: Any = list(fields)
    if shape.shown is as_sections:
        names = {field: "text" if info.annotation is str else "json" for field, info in fields.items()}
    # Characters of private use, so that the place of the inputs is found whatever the rest says.
    marked = {field: f"\ue000{number}\ue001" for number, field in enumerate(names)}
    *fixed, last = adapter.format(signature, demos, marked)
    shown = shape.between.join(shape.shown(marked, names))
    before, found, after = last["content"].rpartition(shown or "\ue001")
    if not found or (after and not after.startswith(shape.between)):
        raise ExportError("The inputs have no place of their own in the prompt.", where=name, fix=TO_DSPY)
    messages = {} if prompt.raw else {"MESSAGES": fixed}
    parts = [after.removeprefix(shape.between)] if after else []
    return messages | {"BEFORE": before, "INPUTS": names, "AFTER": parts}


def _reading_constants(name: str, adapter: Rendering, signature: type[dspy.Signature]) -> dict[str, Any]:
    """What a reply is read by: the outputs' forms, their defaults, and what ends it."""
    shape, outputs = SHAPES[adapter.name], signature.output_fields
    forms, defaults = {}, {}
    for field, info in outputs.items():
        try:
            forms[field] = form_of(info.annotation)
            if not info.is_required():
                factory = info.default_factory
                defaults[field] = default_value(None if factory else info.default, factory)
            elif without_none(info.annotation)[1]:
                defaults[field] = None
        except ValueError as error:
            raise ExportError(
                f"A module cannot read this output: {error}.", where=f"{name}: {field}", fix=TO_DSPY
            ) from error
        if why := _unread(shape, forms[field]["type"]):
            raise ExportError(why, where=f"{name}: {field}", fix=TO_DSPY)
    ends = {} if shape.blank is None else {"ENDS": list(line_stops(signature, blank=shape.blank))}
    return {"OUTPUTS": forms, "DEFAULTS": defaults} | ends


def _unread(shape: Shape, kind: str) -> str | None:
    """Why a module cannot read an output under a rendering, if it cannot."""
    if shape.read is read_sections and kind in (*PARTS, "any"):
        return "DSPy mends JSON with a library, which a module of the standard library alone cannot do."
    if shape.read is read_lines and kind == "any":
        return "A value of any type in plain text may be read in several ways."
    return None


def _reading(step: Step) -> list[str]:
    """Names of the functions that read a predictor's replies: all, and the one it hands values to."""
    if step.shape.read is not read_lines:
        return [step.shape.read.__name__]
    # Most modules need nothing that reads JSON.
    in_parts = any(form["type"] in PARTS for form in step.constants["OUTPUTS"].values())
    return [read_lines.__name__, (from_text if in_parts else from_plain_text).__name__]


def _functions(step: Step) -> str:
    """A predictor's own functions. They use only names that were made here."""
    upper, lower, shape = step.suffix.upper(), step.suffix, step.shape
    question = (
        f"BEFORE{upper} + {shape.between!r}.join([*{shape.shown.__name__}"
        f"(given(inputs, INPUTS{upper}), INPUTS{upper}), *AFTER{upper}])"
    )
    reader, *handed = _reading(step)
    arguments = [f"{name}{upper}" for name in ("OUTPUTS", "DEFAULTS", "ENDS") if name in step.constants]
    if step.raw:
        sent = f'''def {step.render}(inputs: Mapping[str, Any]) -> str:
    """The text to continue, for a JSON value of each of INPUTS, or None."""
    return {question}
'''
        asked = f"completions.create(prompt={step.render}(inputs)"
        answered = "text"
    else:
        sent = f'''def {step.render}(inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages, for a JSON value of each of INPUTS, or None."""
    question = {question}
    return [*MESSAGES{upper}, {{"role": "user", "content": question}}]
'''
        asked = f"chat.completions.create(messages={step.render}(inputs)"
        answered = "message.content"
    return f'''{sent}

def {step.parse}(reply: str) -> dict[str, Any]:
    """The outputs in a reply, as JSON values.

    Raises:
        ValueError: The reply is empty or does not keep the format.
    """
    return {reader}(reply, {", ".join([*arguments, *handed])})


def run{lower}(client: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a client of OpenAI's kind once, and read its reply.

    Raises:
        ValueError: The reply is empty or does not keep the format.
    """
    reply = client.{asked}, **as_sent(PARAMETERS{upper}))
    return {step.parse}(reply.choices[0].{answered} or "")
'''


def _header(exported: Exported, steps: Sequence[Step], more: Sequence[str]) -> str:
    manifest, point = exported.manifest, exported.point
    where, seen = ("the sealed test set", point.test) if point.test else ("the dev set, untested", point.dev)
    served = ", ".join(dict.fromkeys(exported.serving(step.name)[0].name for step in steps))
    lines = [
        f"{one_line(manifest.task)}: a prompt compiled and measured by Parity.",
        "",
        f"Study:     {one_line(manifest.name)}, of {manifest.created:%Y-%m-%d}",
        f"Candidate: {point.candidate.id}",
        f"Model:     {one_line(served)}",
        f"Quality:   {_quality(seen)} on {where}",
        f"Cost:      ${1000 * point.cost:.5f} for 1,000 runs",
        "",
    ]
    if len(steps) == 1:
        (step,) = steps
        lines += [
            f"{step.render}(inputs) is what the model is sent, with PARAMETERS; {step.parse}(reply) is",
            "what its reply says; run(client, inputs) does both.",
        ]
        if not isinstance(exported.compiled.module, dspy.Predict):
            lines.append("Code of the program around the call is not part of this module.")
    else:
        lines += [
            f"The program has {len(steps)} steps: {', '.join(step.suffix[1:] for step in steps)}.",
            "Each has its functions here. There is no run() of the whole, because what goes from step to",
            "step is code of the program, which is not part of this module.",
        ]
    lines += [
        "",
        "Outputs are JSON values: records are dictionaries, members of enums are their values.",
        *more,
    ]
    return "\n".join(lines) + "\n"


def _quality(seen: Estimate) -> str:
    return f"{seen.mean:.3f} (95% interval {seen.low:.3f} to {seen.high:.3f}, n = {seen.n})"
