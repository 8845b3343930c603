"""Export to one Python module: prompt, parameters and parser, for an app that has neither Parity nor DSPy.

The module is a template with the measured prompt as literals, and the functions of
:mod:`optimizers.export.standalone` that it calls, copied. It is run on samples in a Python that has only
its standard library before it is written.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import dspy
from jinja2 import Environment

from optimizers.errors import ExportError
from optimizers.export import standalone
from optimizers.export.files import unique, write_files
from optimizers.export.forms import default_value, form_of
from optimizers.export.module_check import verify
from optimizers.export.point import TO_DSPY, Exported
from optimizers.export.single_request import SingleRequest, single_requests
from optimizers.prompting.renderings.completion import line_stops
from optimizers.prompting.renderings.fields import one_line, without_none

if TYPE_CHECKING:
    pass

PARTS = ("list", "map", "record")
"""Types of a form that are written as JSON."""


@dataclass(frozen=True)
class Shape:
    """How a rendering shows inputs and reads replies.

    Attributes:
        shown: Gives the inputs, each as a text.
        between: Separates those.
        read: Gives a reply's outputs.
        blank: Whether a blank line ends a reply in lines; None where replies are not in lines.
    """

    shown: Callable[..., list[str]]
    between: str
    read: Callable[..., Any]
    blank: bool | None = None


SHAPES = {
    "completion": Shape(standalone.as_lines, "\n", standalone.read_lines, blank=True),
    "compact": Shape(standalone.as_lines, "\n", standalone.read_lines, blank=True),
    "turns": Shape(standalone.as_lines, "\n", standalone.read_lines, blank=False),
    "json_object": Shape(standalone.as_labelled, "\n", standalone.read_object),
    "dspy_chat": Shape(standalone.as_sections, "\n\n", standalone.read_sections),
}
"""Name of a rendering -> what a module needs for it."""


@dataclass(frozen=True)
class Step(SingleRequest):
    """One predictor in a module.

    Attributes:
        suffix: Ends the names of its functions and constants; empty where it is the only predictor.
        shape: Of its rendering.
        constants: Name -> value, as the functions use them.
    """

    suffix: str
    shape: Shape
    constants: Mapping[str, Any]

    @property
    def render(self) -> str:
        """Name of the function that makes what is sent."""
        return f"{'prompt' if self.raw else 'render'}{self.suffix}"

    @property
    def parse(self) -> str:
        """Name of the function that reads replies."""
        return f"parse{self.suffix}"

    @property
    def readers(self) -> list[str]:
        """Names of the functions that read a whole reply and, where replies are in lines, a value."""
        if self.shape.blank is None:
            return [self.shape.read.__name__]
        # Most modules need nothing that reads JSON.
        in_parts = any(form["type"] in PARTS for form in self.constants["OUTPUTS"].values())
        return [self.shape.read.__name__, "from_text" if in_parts else "from_plain_text"]


MODULE = Environment(keep_trailing_newline=True, trim_blocks=True).from_string('''\
{{ about }}

from __future__ import annotations

{{ imports | join("\n") }}

__all__ = {{ literal(public) }}
{% for step in steps %}
{% for name, value in step.constants.items() %}

{{ name }}{{ step.suffix.upper() }} = {{ literal(value) }}
{% endfor %}
{% endfor %}
{% for step in steps %}
{% set end = step.suffix.upper() %}


def {{ step.render }}(inputs: Mapping[str, Any]) -> {{ "str" if step.raw else "list[dict[str, str]]" }}:
    """The {{ "text" if step.raw else "messages" }}, for a JSON value of each of INPUTS, or None."""
    shown = {{ step.shape.shown.__name__ }}(given(inputs, INPUTS{{ end }}), INPUTS{{ end }})
    question = BEFORE{{ end }} + {{ literal(step.shape.between) }}.join([*shown, *AFTER{{ end }}])
    return {{ "question" if step.raw else '[*MESSAGES' ~ end ~ ', {"role": "user", "content": question}]' }}


def {{ step.parse }}(reply: str) -> dict[str, Any]:
    """The outputs in a reply, as JSON values.

    Raises:
        ValueError: The reply is empty or does not keep the format.
    """
    if not reply.strip():
        raise ValueError("The reply is empty.")
    return {{ step.readers[0] }}(reply
{%- for name in step.constants if name in ("OUTPUTS", "DEFAULTS", "ENDS") %}, {{ name }}{{ end }}{% endfor %}
{% for name in step.readers[1:] %}, {{ name }}{% endfor %})


def run{{ step.suffix }}(client: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Ask an OpenAI-compatible client once, and read its reply.

    Raises:
        ValueError: The reply is empty or does not keep the format.
    """
    sent = as_sent(PARAMETERS{{ end }})
{% if step.raw %}
    reply = client.completions.create(prompt={{ step.render }}(inputs), **sent)
    return {{ step.parse }}(reply.choices[0].text or "")
{% else %}
    reply = client.chat.completions.create(messages={{ step.render }}(inputs), **sent)
    return {{ step.parse }}(reply.choices[0].message.content or "")
{% endif %}
{% endfor %}


{{ functions | join("\n\n") }}''')  # fmt: skip


def write_python(exported: Exported, folder: Path) -> list[Path]:
    """Write ``TASK.py``: what each predictor sends and how its replies are read.

    A program of one predictor gives ``render`` (``prompt`` where text is continued), ``parse``, ``run``
    and ``PARAMETERS``; one of several gives each of these with ``_PREDICTOR`` after its name.

    Raises:
        ExportError: The module would send or read otherwise than was measured, or one request is not
            all that was measured. Nothing is written.
    """
    steps = steps_of(exported)
    source = module_source(exported, steps)
    verify(exported, steps, source)
    return write_files(folder, {f"{module_name(exported.manifest.task)}.py": source})


def module_name(task: str) -> str:
    """A task's name as a module name that hides no module of Python or of the app."""
    name = re.sub(r"\W+", "_", task, flags=re.ASCII).strip("_").lower()
    taken = sys.stdlib_module_names | {"dspy", "openai", "optimizers"}
    if keyword.iskeyword(name) or name in taken:
        return f"{name}_program"
    return name if name.isidentifier() else f"program_{name}".rstrip("_")


def module_source(
    exported: Exported, steps: Sequence[Step], *, more: Sequence[str] = (), uses: Iterable[str] = ()
) -> str:
    """The module's text.

    Args:
        exported: What is exported.
        steps: Its predictors.
        more: Further lines of the docstring.
        uses: Further names that the module needs of :mod:`optimizers.export.standalone`.
    """
    roots = ["Any", "Mapping", *uses, "given", "as_sent"]
    roots += [name for step in steps for name in (step.shape.shown.__name__, *step.readers)]
    imports, functions = source_of(roots)
    public = [f"PARAMETERS{step.suffix.upper()}" for step in steps]
    public += [name for step in steps for name in (step.render, step.parse, f"run{step.suffix}")]
    return MODULE.render(
        about=literal_text(_about(exported, steps, more)),
        imports=imports,
        public=public,
        steps=steps,
        functions=functions,
        literal=literal,
    )


def source_of(roots: Iterable[str]) -> tuple[list[str], list[str]]:
    """Source of the functions that names of :mod:`optimizers.export.standalone` need.

    Returns:
        Import lines, and the functions, each before those that it calls.
    """
    found: dict[str, Any] = {}
    waiting = [(name, vars(standalone)) for name in roots]
    while waiting:
        name, known = waiting.pop(0)
        if name in found or name not in known:
            continue
        found[name] = known[name]
        if isinstance(known[name], FunctionType):
            nodes = ast.walk(ast.parse(inspect.getsource(known[name])))
            waiting += [(node.id, known[name].__globals__) for node in nodes if isinstance(node, ast.Name)]
    functions = [inspect.getsource(each) for each in found.values() if isinstance(each, FunctionType)]
    imports = [f"import {name}" for name, each in found.items() if isinstance(each, ModuleType)]
    homes: dict[str, list[str]] = {}
    for name, each in found.items():
        if not isinstance(each, (FunctionType, ModuleType)):
            homes.setdefault(each.__module__, []).append(name)
    taken = [f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(homes.items())]
    return sorted(imports) + taken, functions


def literal(value: Any) -> str:
    """A JSON value as a Python literal, long texts on several lines.

    Raises:
        ExportError: It holds a value that has no literal, such as NaN.
    """
    written = pformat(value, width=100, sort_dicts=False)
    try:
        same = ast.literal_eval(written) == value
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise ExportError("A value cannot be written as a Python literal.", where=written[:200])
    return written


def literal_text(text: str) -> str:
    """A text of several lines as a triple-quoted literal, whatever it contains."""
    escaped = "".join(
        f"\\{char}" if char in '\\"' else char if char.isprintable() or char == "\n" else repr(char)[1:-1]
        for char in text
    )
    return f'"""{escaped}"""'


def steps_of(exported: Exported) -> list[Step]:
    """The predictors as a module has them.

    Raises:
        ExportError: A module cannot hold one of them, or one request is not all that was measured.
    """
    requests = single_requests(exported)
    suffixes = _suffixes([request.name for request in requests])
    return [_step(request, suffix) for request, suffix in zip(requests, suffixes, strict=True)]


def _suffixes(names: Sequence[str]) -> list[str]:
    if len(names) == 1:
        return [""]
    plain = [re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "step" for name in names]
    return [f"_{name}" for name in unique(plain)]


def _step(request: SingleRequest, suffix: str) -> Step:
    shape = SHAPES.get(request.adapter.name)
    if shape is None:
        raise ExportError(
            f"A module cannot hold the rendering {request.adapter.name}.", where=request.name, fix=TO_DSPY
        )
    constants = {
        "PARAMETERS": request.parameters,
        **_prompt_constants(request, shape),
        **_reading_constants(request, shape),
    }
    return Step(**vars(request), suffix=suffix, shape=shape, constants=constants)


def _prompt_constants(request: SingleRequest, shape: Shape) -> dict[str, Any]:
    """What a prompt is made of: all before the inputs, the inputs' names, and what follows them."""
    fields = request.signature.input_fields
    names: Any = list(fields)
    if shape.shown is standalone.as_sections:
        names = {field: "text" if info.annotation is str else "json" for field, info in fields.items()}
    # Characters of private use, so that the place of the inputs is found whatever the rest contains.
    marked = {field: f"\ue000{number}\ue001" for number, field in enumerate(names)}
    *fixed, last = request.measured(marked)
    shown = shape.between.join(shape.shown(marked, names))
    before, found, after = last["content"].rpartition(shown or "\ue001")
    if not found or (after and not after.startswith(shape.between)):
        raise ExportError(
            "The inputs have no place of their own in the prompt.", where=request.name, fix=TO_DSPY
        )
    messages = {} if request.raw else {"MESSAGES": fixed}
    parts = [after.removeprefix(shape.between)] if after else []
    return messages | {"BEFORE": before, "INPUTS": names, "AFTER": parts}


def _reading_constants(request: SingleRequest, shape: Shape) -> dict[str, Any]:
    """What a reply is read by: the outputs' forms, their defaults, and what ends it."""
    forms, defaults = {}, {}
    for field, info in request.signature.output_fields.items():
        where = f"{request.name}: {field}"
        try:
            forms[field] = form_of(info.annotation)
            if not info.is_required():
                factory = info.default_factory
                defaults[field] = default_value(None if factory else info.default, factory)
            elif without_none(info.annotation)[1]:
                defaults[field] = None
        except ValueError as error:
            raise ExportError(
                f"A module cannot read this output: {error}.", where=where, fix=TO_DSPY
            ) from error
        if why := _unread(shape, forms[field]["type"]):
            raise ExportError(why, where=where, fix=TO_DSPY)
    read = {"OUTPUTS": forms, "DEFAULTS": defaults}
    return (
        read
        if shape.blank is None
        else read | {"ENDS": list(line_stops(request.signature, blank=shape.blank))}
    )


def _unread(shape: Shape, kind: str) -> str | None:
    """Why a module cannot read an output under a rendering, if it cannot."""
    if shape.read is standalone.read_sections and kind in (*PARTS, "any"):
        return "DSPy mends JSON with a library, which is not in the standard library."
    if shape.read is standalone.read_lines and kind == "any":
        return "A value of any type in plain text may be read in several ways."
    return None


def _about(exported: Exported, steps: Sequence[Step], more: Sequence[str]) -> str:
    """The module's docstring: what was measured, and how to use it."""
    manifest, point = exported.manifest, exported.point
    where, seen = ("the sealed test set", point.test) if point.test else ("the dev set, untested", point.dev)
    interval = f"95% interval {seen.low:.3f} to {seen.high:.3f}, n = {seen.n}"
    lines = [
        f"{one_line(manifest.task)}: a prompt compiled and measured by Parity.",
        "",
        f"Study:     {one_line(manifest.name)}, of {manifest.created:%Y-%m-%d}",
        f"Candidate: {point.candidate.id}",
        f"Model:     {one_line(', '.join(dict.fromkeys(step.model.name for step in steps)))}",
        f"Quality:   {seen.mean:.3f} ({interval}) on {where}",
        f"Cost:      ${1000 * point.cost:.5f} for 1,000 runs",
        "",
    ]
    if len(steps) > 1:
        lines += [
            f"The program has {len(steps)} steps: {', '.join(step.suffix[1:] for step in steps)}.",
            "Each has its functions here. There is no run() of the whole: the program's own code runs",
            "between the steps, and that code is not part of this module.",
        ]
    else:
        lines += [
            f"{steps[0].render}(inputs) makes what the model is sent, together with PARAMETERS;",
            f"{steps[0].parse}(reply) reads its reply; run(client, inputs) does both.",
        ]
        if not isinstance(exported.compiled.module, dspy.Predict):
            lines.append("The program's own code around the call is not part of this module.")
    lines += ["", "Outputs are JSON values: records are dictionaries, members of enums are their values."]
    return "\n".join([*lines, *more]) + "\n"
