"""A choice among labels as one yes/no question per label, in the order of the labels.

The decomposition of a many-way choice into binary ones is the one-against-rest scheme of
classification (Rifkin and Klautau 2004, JMLR 5), asked as a decision list (Rivest 1987).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from dspy.utils.exceptions import AdapterParseError

from optimizers.prompting.renderings.fields import label, parse_value, without_none
from optimizers.prompting.techniques.claims import claims
from optimizers.prompting.techniques.technique import (
    Calls,
    Technique,
    labels_of,
    output_tokens,
    with_instruction,
)

if TYPE_CHECKING:
    import dspy

QUESTION, ANSWER = "question", "answer"
WORDS = "Answer the question with yes or no."
MOST_LABELS = 8


def applies(signature: type[dspy.Signature]) -> bool:
    """Whether the only output is a choice of two to eight labels, other than true and false."""
    labels = labels_of(signature) or ()
    free = not {QUESTION, ANSWER} & set(signature.input_fields)
    return free and 2 <= len(labels) <= MOST_LABELS and set(labels) != {"true", "false"}


def question_signature(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The user's inputs and a question, answered by yes or no."""
    import dspy

    asked = signature.delete(next(iter(signature.output_fields)))
    asked = asked.append(QUESTION, dspy.InputField(), str)
    asked = asked.append(ANSWER, dspy.OutputField(), Literal["yes", "no"])
    return with_instruction(asked, signature.instructions, WORDS)


def run(predict: Calls, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The first label answered by yes; after none, the last label, or None where that is allowed.

    The last label therefore needs no question of its own unless the output may be None. With
    all labels' questions after the same demos, an engine decodes those once. A reply that
    does not keep the format counts as no.

    Raises:
        AdapterParseError: Not one reply keeps the format.
    """
    ((name, info),) = predict.signature.output_fields.items()
    labels, most = labels_of(predict.signature) or (), calls(predict.signature)
    asked = question_signature(predict.signature)
    demos = [
        {**demo, QUESTION: question(name, claimed), ANSWER: "yes" if right else "no"}
        for demo, claimed, right in claims(predict.demos, name, info.annotation, labels)
    ]
    problems = []
    for one in labels[:most]:
        try:
            reply = predict.ask({**inputs, QUESTION: question(name, one)}, signature=asked, demos=demos)
        except AdapterParseError as error:
            problems.append(error)
            continue
        if reply[ANSWER] == "yes":
            return {name: parse_value(one, info.annotation)}
    if len(problems) == most:
        raise problems[0]
    nullable = without_none(info.annotation)[1]
    return {name: None if nullable else parse_value(labels[-1], info.annotation)}


def question(name: str, one: str) -> str:
    """The question about one label."""
    words = label(name)
    return f'Is the {words[:1].lower() + words[1:]} "{one}"?'


def calls(signature: type[dspy.Signature]) -> int:
    """Questions asked at most."""
    nullable = any(without_none(info.annotation)[1] for info in signature.output_fields.values())
    return len(labels_of(signature) or ()) - (not nullable)


YES_NO_PER_LABEL = Technique(
    name="yes_no_per_label",
    applies=applies,
    transform=lambda signature: signature,
    reply_tokens=lambda signature: output_tokens(question_signature(signature)),
    run=run,
    calls=calls,
    longest_signature=question_signature,
)
"""At most one short call per label."""
