"""Answer, then have the answer checked in a second call, which may revise it once.

After Madaan et al. 2023, "Self-Refine: Iterative Refinement with Self-Feedback" (NeurIPS
2023, arXiv 2303.17651), bounded to one round. Huang et al. 2024, "Large Language Models
Cannot Self-Correct Reasoning Yet" (ICLR 2024, arXiv 2310.01798) found that models left to
check themselves revise right answers too: whether it pays is for the search to measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dspy.utils.exceptions import AdapterParseError

from optimizers.prompting.renderings.fields import closed_values, format_value, label, without_none
from optimizers.prompting.techniques.claims import claims
from optimizers.prompting.techniques.technique import Calls, Technique, output_tokens, with_instruction

if TYPE_CHECKING:
    import dspy

VERDICT, PROPOSED = "verdict", "proposed_"


def applies(signature: type[dspy.Signature]) -> bool:
    """Whether the fields that the check adds are free."""
    added = {VERDICT, *(PROPOSED + name for name in signature.output_fields)}
    return not added & set(signature.fields)


def check_signature(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The user's inputs and the proposed outputs; a verdict, and the outputs as they should be."""
    import dspy

    checked = signature
    for name in signature.output_fields:
        checked = checked.append(PROPOSED + name, dspy.InputField(), str)
    checked = checked.prepend(VERDICT, dspy.OutputField(), Literal["correct", "wrong"])
    proposed = " and ".join(f'"{label(PROPOSED + name)}"' for name in signature.output_fields)
    words = f"Check what is given as {proposed}: is it correct? Then give what is right."
    return with_instruction(checked, signature.instructions, words)


def run(predict: Calls, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The first answer, or the revision where the check finds it wrong.

    A check that does not keep the format leaves the answer as it is.

    Raises:
        AdapterParseError: The first reply does not keep the format.
    """
    first = predict.ask(inputs)
    signature = predict.signature
    try:
        checked = predict.ask(
            {**inputs, **_proposed(signature, first)},
            signature=check_signature(signature),
            demos=list(_check_demos(signature, predict.demos)),
        )
    except AdapterParseError:
        return first
    if checked[VERDICT] == "correct":
        return first
    return {name: checked[name] for name in signature.output_fields}


def _proposed(signature: type[dspy.Signature], values: Mapping[str, Any]) -> dict[str, str]:
    outputs = signature.output_fields
    return {
        PROPOSED + name: format_value(values[name], info.annotation)
        for name, info in outputs.items()
        if name in values
    }


def _check_demos(
    signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Demos of the check: half with a wrong proposal where an output is closed, else all correct."""
    for name, info in signature.output_fields.items():
        labels = closed_values(without_none(info.annotation)[0]) or ()
        if len(labels) > 1:
            for demo, claimed, right in claims(demos, name, info.annotation, labels):
                proposed = _proposed(signature, {**demo, name: claimed})
                yield {**demo, **proposed, VERDICT: "correct" if right else "wrong"}
            return
    for one in demos:
        yield {**one, **_proposed(signature, one), VERDICT: "correct"}


SELF_CHECK = Technique(
    name="self_check",
    applies=applies,
    transform=lambda signature: signature,
    reply_tokens=lambda signature: output_tokens(check_signature(signature)),
    run=run,
    calls=lambda signature: 2,
    longest_signature=check_signature,
)
"""Two calls: the answer and its check."""
