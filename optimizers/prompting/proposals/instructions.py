"""Instructions composed from what a signature says about itself, without any model.

Each one puts the same task another way. Which of them a given model follows best is for
the search to find out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_origin

from optimizers.errors import UsageError
from optimizers.prompting.renderings.fields import closed_values, label, without_none

if TYPE_CHECKING:
    import dspy

MOST_PLAIN_CRITERIA = 12
"""With more labels than this, a line per label that only repeats its name is not worth its tokens."""

PARTS = (
    "own",
    "brief",
    "pseudo-code",
    "rule-first",
    "role",
    "audience",
    "labels",
    "criteria",
    "steps",
    "principles",
    "rule",
)
"""What an instruction may be made of.

``own`` (the user's text), ``pseudo-code`` and ``brief`` say the task; the first of them that is
there replaces the plain sentence, and the procedure may also follow the user's text.
``rule-first`` puts the rule about the output at the start, ``rule`` at the end. ``criteria``
goes before ``labels``, which stand in where criteria would only repeat the labels.
"""

VERBS = frozenset(
    {"are", "can", "contains", "does", "has", "have", "is", "mentions", "needs", "should", "was"}
)
"""First words of a field name that is a question, like ``is_spam``: it takes quotes, not "the"."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        parts: What it is composed of; the name of one that was found whole.
        text: The whole instruction.
    """

    parts: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        """Short and unique within its pool, for tables."""
        return "+".join(self.parts)


@dataclass(frozen=True)
class _Field:
    name: str
    words: str  # the name as it is said in a sentence
    desc: str  # what the user says about it, or ""
    labels: tuple[str, ...]  # what a closed field may be, or ()
    form: str  # how to write an open one

    @property
    def the(self) -> str:
        verb = self.words.split()[0] in VERBS
        return f'"{self.words}"' if verb else f"the {self.words}"

    @property
    def described(self) -> str:
        return f"{self.the} ({self.desc})" if self.desc else self.the

    @property
    def rule(self) -> str:
        if self.labels:
            return f"Write {self.the} as exactly one of these, with no other words: {', '.join(self.labels)}."
        return f"Write {self.the} {self.form}."


def compose(signature: type[dspy.Signature], parts: frozenset[str]) -> Instruction:
    """An instruction of some parts, so that what each part is worth can be learnt apart.

    Args:
        signature: The user's signature: its fields, their descriptions and types.
        parts: Of :data:`PARTS`; none is the task in one sentence.

    Returns:
        The instruction, named by its parts joined with ``+``, or ``task`` for none. A part about
        labels adds nothing where no output is closed, nor ``own`` where it is blank.

    Raises:
        UsageError: There is no such part.
    """
    unknown = sorted(parts - set(PARTS))
    if unknown:
        raise UsageError(
            f"Instructions have no part {unknown[0]!r}.",
            where="parts",
            fix=f"take some of {', '.join(PARTS)}",
        )
    named = tuple(part for part in PARTS if part in parts) or ("task",)
    return Instruction(named, _joined(_blocks(signature), parts))


def parts_for(signature: type[dspy.Signature]) -> frozenset[str]:
    """The parts of :data:`PARTS` that add text for a signature."""
    blocks = _blocks(signature)
    return frozenset(part for part in PARTS if blocks[part])


def _blocks(signature: type[dspy.Signature]) -> dict[str, str]:
    """The text of every part, empty where it does not apply, and of the sentences between them."""
    inputs = [_field(name, info) for name, info in signature.input_fields.items()]
    outputs = [_field(name, info) for name, info in signature.output_fields.items()]
    return {
        "own": signature.instructions if signature.instructions.strip() else "",
        "brief": _brief(inputs, outputs),
        "pseudo-code": _pseudo_code(inputs, outputs),
        "role": _role(inputs, outputs),
        "audience": _audience(inputs, outputs),
        "labels": _labels(outputs),
        "criteria": _criteria(inputs, outputs),
        "steps": _steps(inputs, outputs),
        "principles": _principles(inputs, outputs),
        "rule": _rules(outputs),
        "rule-first": _rules(outputs),
        "task": _task(inputs, outputs),
        "choice": _choice(inputs, outputs),
    }


def _joined(blocks: Mapping[str, str], parts: frozenset[str]) -> str:
    """The parts in their order around the sentence that says the task.

    That sentence is the user's own, the procedure, or the plain task. A list of labels below
    spares it the labels. What goes with a plain sentence is in its paragraph.
    """
    listed = (blocks["criteria"] if "criteria" in parts else "") or (
        blocks["labels"] if parts & {"labels", "criteria"} else ""
    )
    shown = {part: blocks[part] for part in PARTS if part in parts}
    own = shown.get("own", "")
    given = own or shown.get("pseudo-code", "")
    core = given or shown.get("brief") or blocks["choice" if listed else "task"]
    inline = not given and not parts & {"labels", "criteria"}
    before = [shown.get(part, "") for part in ("rule-first", "role", "audience")]
    after = [
        shown.get("pseudo-code", "") if own else "",
        listed,
        shown.get("steps", ""),
        shown.get("principles", ""),
    ]
    rule = "" if "rule-first" in parts else shown.get("rule", "")
    space = " " if inline else "\n"
    lead = space.join(part for part in (*before, core) if part)
    below = [part for part in after if part]
    if rule and inline and not below:
        return f"{lead} {rule}"
    return "\n".join(part for part in (lead, *below, rule) if part)


def _field(name: str, info: Any) -> _Field:
    words = label(name) or name
    first = words.split()[0]
    if not (len(first) > 1 and first.isupper()):
        words = words[:1].lower() + words[1:]
    desc = str((info.json_schema_extra or {}).get("desc") or "").strip()
    # DSPy fills a missing description with the field's own name.
    desc = "" if desc == f"${{{name}}}" else " ".join(desc.split()).rstrip(".")
    inner, nullable = without_none(info.annotation)
    labels = closed_values(inner) or ()
    if labels and nullable:
        labels = (*labels, "none")
    return _Field(name=name, words=words, desc=desc, labels=labels, form=_form(inner))


def _form(annotation: Any) -> str:
    """How a value of an open type is written, to follow "Write the price"."""
    if annotation is int:
        return "as a whole number, with nothing after it"
    if annotation is float:
        return "as a plain number, with no unit"
    if get_origin(annotation) in (list, set, tuple, frozenset) or annotation in (list, set, tuple):
        return "as a list, one entry per item and none twice"
    fields = getattr(annotation, "model_fields", None)
    if fields:
        return f"in full, with every part filled in: {', '.join(fields)}"
    if get_origin(annotation) is dict or annotation is dict:
        return "in full, each entry under its own name"
    return "itself, without a preamble or a comment"


def _brief(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    about = f" for {_and([field.the for field in inputs])}" if inputs else ""
    if len(outputs) == 1 and outputs[0].labels:
        return f"{_capital(outputs[0].the)}{about}: {_or(outputs[0].labels)}."
    return f"Give {_and([field.the for field in outputs])}{about}."


def _task(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    """One sentence that says what to read and what to give, labels included."""
    if len(outputs) == 1 and outputs[0].labels:
        wanted = f"decide {outputs[0].described}: {_or(outputs[0].labels)}"
    else:
        wanted = "give " + _and(
            [
                f"{field.described}, {_or(field.labels)}" if field.labels else field.described
                for field in outputs
            ],
            apart=any(field.labels for field in outputs),
        )
    return _sentence(inputs, wanted)


def _choice(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    """The task without its labels, for texts that list them below."""
    verb = "decide" if all(field.labels for field in outputs) else "give"
    return _sentence(inputs, f"{verb} {_and([field.described for field in outputs])}")


def _sentence(inputs: Sequence[_Field], wanted: str) -> str:
    if not inputs:
        return f"{_capital(wanted)}."
    return f"Read {_and([field.described for field in inputs])} and {wanted}."


def _role(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    wanted = _and([field.the for field in outputs])
    about = f" of {_and([field.the for field in inputs])}" if inputs else ""
    if all(field.labels for field in outputs):
        return f"You are an experienced annotator whose reading{about} others trust for {wanted}."
    return f"You are an expert whose reading{about} others trust for {wanted}."


def _audience(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    wanted = _and([field.the for field in outputs])
    unseen = f" without seeing {_and([field.the for field in inputs])}" if inputs else ""
    return f"Others act on {wanted}{unseen}."


def _labels(outputs: Sequence[_Field]) -> str:
    blocks = [
        "\n".join([f"{_capital(field.the)} is one of:", *(f"- {one}" for one in field.labels)])
        for field in outputs
        if field.labels
    ]
    return "\n".join(blocks)


def _criteria(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    """A line per label that says when to choose it."""
    subject = _and([field.the for field in inputs]) or "the case"
    blocks = []
    for field in outputs:
        if not field.labels or (len(field.labels) > MOST_PLAIN_CRITERIA):
            continue
        lines = [f"Choose {field.the} like this:"]
        for one in field.labels:
            lines.append(f"- {one}: {_criterion(one, field, subject)}")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _criterion(one: str, field: _Field, subject: str) -> str:
    if set(field.labels) >= {"true", "false"} and one in ("true", "false"):
        return f'"{field.words}" {"holds" if one == "true" else "does not hold"} for {subject}'
    if one == "none":
        return f"no other choice fits {subject}"
    return f'"{one}" fits {subject} better than any other choice'


def _rules(outputs: Sequence[_Field]) -> str:
    return " ".join(field.rule for field in outputs)


def _steps(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    steps = [f"Read {_and([field.the for field in inputs])} to the end."] if inputs else []
    for field in outputs:
        if field.labels:
            steps.append(f"For {field.the}, weigh what speaks for each choice: {', '.join(field.labels)}.")
            steps.append(f"Take the choice with the most support as {field.the}.")
        else:
            steps.append(f"Find what decides {field.the}.")
            steps.append(f"Write {field.the} {field.form}.")
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))


def _pseudo_code(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    """The task as a short procedure over the signature's own field names."""
    arguments = ", ".join(field.name for field in inputs)
    known = _and([field.name for field in inputs]) or "what is known"
    lines = [f"def run({arguments}):"]
    for field in outputs:
        comment = f"  # {field.desc}" if field.desc else ""
        if field.labels:
            choices = ", ".join(field.labels)
            lines.append(f"    {field.name} = the one of [{choices}] that fits {known} best{comment}")
        else:
            lines.append(f"    {field.name} = work out {field.the} from {known}{comment}")
    lines.append(f"    return {', '.join(field.name for field in outputs)}")
    return "Follow this procedure and give what it returns.\n" + "\n".join(lines)


def _principles(inputs: Sequence[_Field], outputs: Sequence[_Field]) -> str:
    whole = _and([field.the for field in inputs])
    lines = [f"Judge {whole} as a whole, not by single words."] if inputs else []
    if any(field.labels for field in outputs):
        lines.append("Between two choices that both seem possible, take the one with the stronger support.")
    if any(not field.labels for field in outputs):
        lines.append("Prefer an exact and plain answer to a long one.")
    lines.append(f"Always give {_and([field.the for field in outputs])}, even when you are not sure.")
    return "\n".join(f"- {line}" for line in lines)


def _and(items: Sequence[str], *, apart: bool = False) -> str:
    """The items as a list in a sentence; ``apart`` parts items that hold commas of their own."""
    if len(items) < 2:
        return "".join(items)
    if apart:
        return f"{'; '.join(items[:-1])}; and {items[-1]}"
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _or(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} or {items[-1]}" if len(items) > 1 else "".join(items)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
