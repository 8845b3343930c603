"""Plain text to continue: ``Label: value`` lines, one block per example.

The instruction, a blank line, the demos as blocks with a blank line between them, then
the input's lines and the first output's label. Each value is on one line: line breaks
inside it become spaces, except in the last output when that is free text, which keeps
them but for blank lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from optimizers.models.model import Kind
from optimizers.prompting.renderings.constraints import text_grammar
from optimizers.prompting.renderings.fields import (
    format_value,
    is_one_line,
    label,
    may_be_none,
    one_line,
    parse_value,
)
from optimizers.prompting.renderings.rendering import Prompt, Rendering

if TYPE_CHECKING:
    import dspy

BLANK_LINE = "\n\n"


class Completion(Rendering):
    """Text to continue, what base models were trained on and small models follow best."""

    name: ClassVar[str] = "completion"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"base", "instruct", "chat"})
    needs_raw: ClassVar[bool] = True

    def prompt(
        self, signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Prompt:
        """One raw text that ends with the first output's label, without a space after it."""
        text = text_to_continue(signature, signature.instructions, demos, inputs)
        return Prompt(
            messages=(("user", text),),
            stop=line_stops(signature, blank=True),
            raw=True,
            grammar=text_grammar(signature, cued=True),
        )

    def read(self, signature: type[dspy.Signature], reply: str) -> dict[str, Any]:
        """The continuation's values, in the order of the signature."""
        return read_lines(signature, reply, stop=line_stops(signature, blank=True))


def text_to_continue(
    signature: type[dspy.Signature],
    instruction: str,
    demos: Sequence[Mapping[str, Any]],
    inputs: Mapping[str, Any],
) -> str:
    """The whole prompt as one text, the instruction left out when it is empty."""
    blocks = [instruction.strip()] if instruction.strip() else []
    for demo in usable_demos(signature, demos):
        blocks.append("\n".join([*input_lines(signature, demo), *output_lines(signature, demo)]))
    cue = f"{label(next(iter(signature.output_fields)))}:"
    blocks.append("\n".join([*input_lines(signature, inputs), cue]))
    return BLANK_LINE.join(blocks)


def usable_demos(
    signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The demos that show at least one input and one output, their known values only.

    None is a value of an output that may be None, and a gap anywhere else.
    """
    nullable = {name for name, info in signature.output_fields.items() if may_be_none(info.annotation)}
    for demo in demos:
        present = {name: demo[name] for name in signature.fields if name in demo}
        known = {name: value for name, value in present.items() if value is not None or name in nullable}
        if known.keys() & signature.input_fields.keys() and known.keys() & signature.output_fields.keys():
            yield known


def input_lines(signature: type[dspy.Signature], values: Mapping[str, Any]) -> list[str]:
    """A ``Label: value`` line for each input that has a value."""
    known = [name for name in signature.input_fields if values.get(name) is not None]
    return [f"{label(name)}: {one_line(format_value(values[name]))}".rstrip() for name in known]


def output_lines(signature: type[dspy.Signature], values: Mapping[str, Any]) -> list[str]:
    """A ``Label: value`` line for each output that has a value."""
    known = [name for name in signature.output_fields if name in values]
    return [f"{label(name)}: {output_text(signature, name, values[name])}".rstrip() for name in known]


def output_text(signature: type[dspy.Signature], name: str, value: Any) -> str:
    """An output's value as the model should write it."""
    annotation = signature.output_fields[name].annotation
    text = format_value(value, annotation)
    if annotation is str and name == list(signature.output_fields)[-1]:
        return re.sub(r"\r?\n(?:[ \t]*\r?\n)+", "\n", text.strip())
    return one_line(text)


def line_stops(signature: type[dspy.Signature], *, blank: bool) -> tuple[str, ...]:
    """What ends a reply: a line break after a lone one-line value, else the start of another example.

    Args:
        signature: Whose outputs are replied.
        blank: Whether a blank line ends the reply too.
    """
    annotations = [info.annotation for info in signature.output_fields.values()]
    if len(annotations) == 1 and is_one_line(annotations[0]):
        return ("\n",)
    next_input = [f"\n{label(name)}:" for name in list(signature.input_fields)[:1]]
    return (*([BLANK_LINE] if blank else []), *next_input)


def read_lines(signature: type[dspy.Signature], reply: str, *, stop: Sequence[str]) -> dict[str, Any]:
    """Read the outputs' values from text that starts with the first one's.

    The reply ends at the first stop text after the last label, whether or not the engine
    ended it there. The first label may be repeated.

    Args:
        signature: Whose outputs.
        reply: The model's text.
        stop: Texts that end the last value.

    Raises:
        ValueError: An output is missing, or is not of its type.
    """
    texts = sections_of(list(signature.output_fields), reply.strip())
    last = next(reversed(texts))
    for ending in stop:
        texts[last] = texts[last].split(ending, 1)[0]
    values = {}
    for name, info in signature.output_fields.items():
        text = texts.get(name, "")
        if is_one_line(info.annotation):
            text = text.split("\n", 1)[0]
        if text.strip():
            values[name] = _value(name, text, info.annotation)
    return values


def sections_of(names: Sequence[str], reply: str) -> dict[str, str]:
    """Output name -> its text, for the outputs whose label is there, in order."""
    first, *others = names
    reply = re.sub(rf"^{re.escape(label(first))}[ \t]*:", "", reply, count=1, flags=re.IGNORECASE).strip()
    sections, name, start, searched = {}, first, 0, 0
    for following in others:
        pattern = rf"^[ \t]*{re.escape(label(following))}[ \t]*:"
        found = re.compile(pattern, re.MULTILINE | re.IGNORECASE).search(reply, searched)
        if found:
            sections[name] = reply[start : found.start()].strip()
            name, start, searched = following, found.end(), found.end()
    sections[name] = reply[start:].strip()
    return sections


def _value(name: str, text: str, annotation: Any) -> Any:
    try:
        return parse_value(text, annotation)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
