"""What a technique is: what the model sees, what happens around the call, and what that takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import StringConstraints

from optimizers.prompting.renderings.constraints import most_characters
from optimizers.prompting.renderings.fields import closed_values, label, without_none

if TYPE_CHECKING:
    import dspy
    from pydantic.fields import FieldInfo

FREE_TEXT_TOKENS = (64, 256, 512)
"""Choices for outputs whose length nobody knows."""

SLACK_TOKENS = 4
"""A leading space, a line break, the end of the turn, and one to spare."""

MOST_BYTES = 4
"""Bytes of one character in UTF-8, at most."""

NUMBER_BYTES = 36
"""Longest number a constrained reply can hold."""

THOUGHTS = ("reasoning", "rationale")
"""Outputs that hold a thought, as DSPy's modules name them."""

THOUGHT_CHARACTERS = 600
"""Most characters of such a thought."""

Sampling = Literal["any", "needed", "unused"]
"""Whether a technique works at every temperature, only above 0, or draws nothing."""


class Calls(Protocol):
    """The predictor that a technique surrounds, as the technique may use it."""

    @property
    def signature(self) -> type[dspy.Signature]:
        """What the predictor answers, as the technique's ``transform`` left it."""
        ...

    @property
    def demos(self) -> Sequence[Mapping[str, Any]]:
        """Its examples, as field name -> value."""
        ...

    @property
    def lm(self) -> dspy.BaseLM:
        """The language model that serves it."""
        ...

    @property
    def adapter(self) -> dspy.Adapter:
        """The rendering."""
        ...

    def ask(
        self,
        inputs: Mapping[str, Any],
        *,
        signature: type[dspy.Signature] | None = None,
        demos: Sequence[Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Call the model once, metered as any call.

        Args:
            inputs: Values of the input fields.
            signature: What is asked; the predictor's own where left out.
            demos: The examples shown; the predictor's own where left out.
            **settings: Generation settings of this call.

        Returns:
            A value for every output field.

        Raises:
            AdapterParseError: The reply does not keep the format.
        """
        ...


def one_call(signature: type[dspy.Signature]) -> int:
    """The number of calls of a technique that only changes the signature."""
    return 1


@dataclass(frozen=True)
class Technique:
    """One way to use the model calls of a predictor.

    Attributes:
        name: Short name, as candidates carry it.
        applies: Whether it changes anything sensible about a signature.
        transform: The signature the model then sees; its instruction is set afterwards.
        words: What is added to the instruction.
        reply_tokens: Choices of ``max_tokens``, rising, for the user's signature.
        run: What happens around the call: takes the predictor and the input values, returns a
            value for every output field of the transformed signature. None where one call of
            that signature is all, which can then be exported as a single request.
        calls: Most calls one run makes, for the user's signature.
        longest_signature: The signature whose replies are longest, given the transformed one; that one itself
            where left out.
        reasons: Whether replies hold free text in addition to the outputs.
        sampling: What it asks of the temperature.
        abilities: What the engine must be able to do in addition to a conversation.
        renderings: Names of the renderings it works under; None for all.
    """

    name: str
    applies: Callable[[type[dspy.Signature]], bool]
    transform: Callable[[type[dspy.Signature]], type[dspy.Signature]]
    reply_tokens: Callable[[type[dspy.Signature]], tuple[int, ...]]
    words: str = ""
    run: Callable[[Calls, Mapping[str, Any]], Mapping[str, Any]] | None = None
    calls: Callable[[type[dspy.Signature]], int] = one_call
    longest_signature: Callable[[type[dspy.Signature]], type[dspy.Signature]] = lambda signature: signature
    reasons: bool = False
    sampling: Sampling = "any"
    abilities: frozenset[str] = frozenset()
    renderings: frozenset[str] | None = None

    def fits(self, rendering: str, abilities: frozenset[str]) -> bool:
        """Whether it works under a rendering, on an engine of these abilities."""
        return self.abilities <= abilities and (self.renderings is None or rendering in self.renderings)


def output_tokens(signature: type[dspy.Signature]) -> tuple[int, ...]:
    """Choices of ``max_tokens`` for a signature's outputs as plain lines.

    One choice where all outputs are closed values or numbers: a token holds at least one
    byte, so as many tokens as the longest answer has bytes can never cut it. A choice of
    lengths where there is free text or JSON.
    """
    bounds = [_longest(name, info) for name, info in signature.output_fields.items()]
    labels = sum(len(f"\n{label(name)}: ".encode()) for name in list(signature.output_fields)[1:])
    bounded = sum(bound for bound in bounds if bound is not None) + labels + SLACK_TOKENS
    if None not in bounds:
        return (bounded,)
    return tuple(tokens + bounded - SLACK_TOKENS for tokens in FREE_TEXT_TOKENS)


@dataclass(frozen=True)
class Thought:
    """A free text that a model writes before the outputs, of a bounded length.

    Without a bound a small model may go on until the reply is cut, and never come to the answer.
    Where the engine takes a grammar, the thought ends at the bound and the answer follows.

    Attributes:
        name: The output field that holds it. Some renderings show a model nothing else about it.
        desc: What the others say of it.
        characters: Its most characters.
    """

    name: str
    desc: str
    characters: int

    def before(self, signature: type[dspy.Signature]) -> type[dspy.Signature]:
        """The signature with the thought in front of its outputs."""
        import dspy

        bounded = Annotated[str, StringConstraints(max_length=self.characters)]
        field = dspy.OutputField(desc=self.desc)
        thinking: type[dspy.Signature] = signature.prepend(name=self.name, field=field, type_=bounded)
        return thinking

    def reply_tokens(self, signature: type[dspy.Signature]) -> tuple[int, ...]:
        """Choices of ``max_tokens`` for the user's signature with the thought before it.

        As a token holds at least one byte, there is always room for the answer after a thought in
        ASCII, and nearly always after one in another script: a token usually holds four bytes.
        """
        labels = [f"{label(self.name)}: ", f"\n{label(next(iter(signature.output_fields)))}: "]
        written = self.characters + sum(len(text.encode()) for text in labels)
        return tuple(written + answer for answer in output_tokens(signature))


def with_bounded_thoughts(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """A signature whose own free thoughts, as of ``dspy.ChainOfThought``, end as those of techniques do."""
    for name in THOUGHTS:
        info = signature.output_fields.get(name)
        if info is None or info.annotation is not str or most_characters(info) is not None:
            continue
        bounded = Annotated[str, StringConstraints(max_length=THOUGHT_CHARACTERS)]
        signature = signature.with_updated_fields(name, type_=bounded)
    return signature


def with_instruction(
    signature: type[dspy.Signature], instruction: str, words: str = ""
) -> type[dspy.Signature]:
    """The signature with an instruction, and a technique's words after it."""
    text = "\n".join(part for part in (instruction, words) if part.strip())
    # DSPy replaces an empty instruction by words of its own; a blank one it keeps.
    instructed: type[dspy.Signature] = signature.with_instructions(text or " ")
    return instructed


def labels_of(signature: type[dspy.Signature]) -> tuple[str, ...] | None:
    """The labels of a signature's only output as they are written; None where it has none or several."""
    annotations = [info.annotation for info in signature.output_fields.values()]
    return closed_values(without_none(annotations[0])[0]) if len(annotations) == 1 else None


def _longest(name: str, info: FieldInfo) -> int | None:
    """Bytes of a field's longest value, None where there is no bound; of a thought, its characters."""
    inner, nullable = without_none(info.annotation)
    if inner is str:
        most = most_characters(info)
        return most if most is None or name in THOUGHTS else MOST_BYTES * most
    if inner in (int, float):
        return NUMBER_BYTES
    closed = closed_values(inner)
    if closed is None:
        return None
    return max(len(value.encode()) for value in ((*closed, "none") if nullable else closed))
