"""A compact notation for instructions: rules as lines of pseudo-code, read by a short legend.

Pseudo-code says the same in fewer tokens than prose, and models follow it at least as well
(Mishra et al., "Prompting with Pseudo-Code Instructions", EMNLP 2023). A fixed form can be
checked: a text that names a field or a label wrongly is refused before any call is spent on it.

::

    IN review
    OUT sentiment: positive|negative
    praise | thanks -> sentiment = positive
    praise & irony -> sentiment = negative
    else -> sentiment = positive
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizers.prompting.proposals.cleaning import cleaned, copies, tagged
from optimizers.prompting.proposals.proposer import ask, data_summary, fields_summary, train_texts
from optimizers.prompting.renderings.fields import closed_values, without_none

if TYPE_CHECKING:
    import dspy

LEGEND = """\
Legend: IN is what you read, OUT is what you give, a|b means one of them.
"when -> field = value" is a rule; & and, | or, ! not, ~ about. Where two rules hold,
the later counts; "else" holds where no other does. Lines with # explain."""
"""Stands once before the text, the same for every task."""

MOST_LINES = 40
"""Lines of a text."""

MOST_RULES_REQUIRED = 12
"""With more labels than this, not each must have a rule of its own."""

REPLY_TOKENS = 900
"""Room for thought and a text of the longest kind."""

_IN = re.compile(r"IN\s+(\w+(?:\s*,\s*\w+)*)")
_OUT = re.compile(r"OUT\s+(\w+)(?:\s*:\s*(.+))?")
_RULE = re.compile(r"(?P<when>\S.*?)\s*->\s*(?P<name>\w+)\s*=\s*(?P<value>\S.*)")


def as_instruction(text: str) -> str:
    """The whole instruction: the legend, a blank line, the text."""
    return f"{LEGEND}\n\n{text.strip()}"


def problems(text: str, signature: type[dspy.Signature]) -> tuple[str, ...]:
    """What keeps a text from being a task in this notation; empty when nothing does.

    Args:
        text: Without the legend.
        signature: Whose fields and labels it must name, all of them and no others.

    Returns:
        One sentence per problem, in the order of the text; line numbers count from 1.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    found = [f"There are {len(lines)} lines; at most {MOST_LINES} fit."] if len(lines) > MOST_LINES else []
    inputs: list[str] = []
    outputs: list[str] = []
    given: dict[str, set[str]] = {name: set() for name in signature.output_fields}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        if match := _IN.fullmatch(line):
            inputs += re.split(r"\s*,\s*", match[1])
        elif match := _OUT.fullmatch(line):
            outputs.append(match[1])
            found += _out_problems(number, match[1], match[2], signature)
        elif match := _RULE.fullmatch(line):
            found += _rule_problems(number, match["name"], match["value"], signature)
            given.setdefault(match["name"], set()).add(match["value"])
        else:
            found.append(f"Line {number} is no IN, OUT, rule or comment.")
    if sorted(inputs) != sorted(signature.input_fields):
        found.append(f"IN must name {', '.join(signature.input_fields)}.")
    if sorted(outputs) != sorted(signature.output_fields):
        found.append(f"OUT must name {', '.join(signature.output_fields)}, each once.")
    for name in signature.output_fields:
        found += _coverage_problems(name, given[name], _choices(signature, name))
    return tuple(found)


def write_notation(
    lm: dspy.LM, signature: type[dspy.Signature], train: Sequence[dspy.Example], *, seed: int
) -> str | None:
    """Ask a model to write the task in the notation, in one call.

    Args:
        lm: The proposer; a strong model that takes a conversation.
        signature: The predictor's signature, with the user's own instruction.
        train: Examples it may be told about.
        seed: Of the examples shown and the sampling.

    Returns:
        The whole instruction, legend included; None when the reply holds no text, or one with
        :func:`problems`, or one that copies a train input.
    """
    request = notation_request(signature, train, seed=seed)
    for text in tagged(ask(lm, request, max_tokens=REPLY_TOKENS, seed=seed), "notation"):
        written = cleaned(text)
        if (
            written
            and not problems(written, signature)
            and not copies(written, train_texts(train, signature))
        ):
            return as_instruction(written)
    return None


def notation_request(signature: type[dspy.Signature], train: Sequence[dspy.Example], *, seed: int) -> str:
    """The request that :func:`write_notation` sends."""
    own = signature.instructions.strip()
    heads = [f"IN {', '.join(signature.input_fields)}"]
    for name in signature.output_fields:
        choices = _choices(signature, name)
        heads.append(f"OUT {name}: {'|'.join(choices)}" if choices else f"OUT {name}")
    parts = [
        "Write the task below in a compact notation, for a small language model to follow.",
        LEGEND,
        f"What the author says about the task:\n{own}" if own else "",
        f"Fields:\n{fields_summary(signature)}",
        f"Data:\n{data_summary(train, signature, seed=seed)}",
        "Begin with these lines as they are:\n" + "\n".join(heads),
        "Then write rules, general ones first and exceptions after them, at most "
        f"{MOST_LINES - len(heads)} lines. The left side of a rule is a few words about the input. The "
        "right side names one output and one of its values, or in a few words what to write where "
        "any text is allowed. Every value has a rule. Do not quote the examples.",
        "Put the text between <notation> and </notation>, and write nothing else.",
    ]
    return "\n\n".join(part for part in parts if part)


def _choices(signature: type[dspy.Signature], name: str) -> tuple[str, ...]:
    """What a closed output may be, as it is written; empty where it is open."""
    inner, nullable = without_none(signature.output_fields[name].annotation)
    closed = closed_values(inner) or ()
    return (*closed, "none") if closed and nullable else closed


def _out_problems(number: int, name: str, listed: str | None, signature: type[dspy.Signature]) -> list[str]:
    choices = _choices(signature, name) if name in signature.output_fields else ()
    if choices and sorted(re.split(r"\s*\|\s*", listed or "")) != sorted(choices):
        return [f"Line {number} must list {'|'.join(choices)}."]
    return []


def _rule_problems(number: int, name: str, value: str, signature: type[dspy.Signature]) -> list[str]:
    if name not in signature.output_fields:
        return [f"Line {number} gives {name}, which is no output."]
    choices = _choices(signature, name)
    if choices and value not in choices:
        return [f"Line {number} gives {name} a value that is none of {', '.join(choices)}."]
    return []


def _coverage_problems(name: str, given: set[str], choices: Sequence[str]) -> list[str]:
    if not given:
        return [f"No rule gives {name}."]
    lacking = [one for one in choices if one not in given]
    if lacking and len(choices) <= MOST_RULES_REQUIRED:
        return [f"No rule gives {name} = {', '.join(lacking)}."]
    return []
