"""The columns a program needs of its data, read off any DSPy module."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from optimizers.prompting.renderings.fields import closed_values, parse_value, without_none

if TYPE_CHECKING:
    import dspy

THOUGHTS = frozenset({"reasoning", "rationale"})
"""Outputs that DSPy's modules put before the answer, and that no metric reads."""

STRUCTURES = (list, tuple, set, frozenset, Mapping, BaseModel)
"""Types of outputs that text spells as JSON."""


def fields_of(
    program: dspy.Module, rows: Iterable[Any] = ()
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]:
    """The columns a program needs: inputs, outputs, and the allowed values of closed outputs.

    Inputs are the parameters of ``forward``; those with a default only where the data has them. A
    ``forward`` that takes any keyword, as that of ``dspy.ReAct``, has the inputs of the module's own
    signature, else of the first part it is made of. Outputs are what the metric reads: those of the
    last part whose outputs the data all has, else of the last part. A module with a signature of its
    own is one part, whatever predictors it works with.

    Args:
        program: Has at least one predictor.
        rows: The data, as mappings or examples; without any nothing is known of what it has.
    """
    columns = {name for row in rows for name in row.keys()}  # noqa: SIM118 (an example's names)
    inputs = _inputs(program, columns)
    answers = [_answer(signature, inputs) for signature in _signatures(program)]
    told = [answer for answer in answers if columns and answer.keys() <= set(columns)]
    outputs = (told or answers)[-1]
    labels = {}
    for name, annotation in outputs.items():
        inner, is_nullable = without_none(annotation)
        values = closed_values(inner)
        if values is not None:
            known = dict.fromkeys(parse_value(text, inner) for text in values)
            labels[name] = tuple(known | {None: None} if is_nullable else known)
    return inputs, tuple(outputs), labels


def text_columns(program: dspy.Module) -> set[str]:
    """Fields that are text wherever they are declared: strings, and labels that are strings."""
    kinds: dict[str, set[bool]] = {}
    for predictor in program.predictors():
        for name, info in predictor.signature.fields.items():
            inner = without_none(info.annotation)[0]
            labels = get_args(inner) if get_origin(inner) is Literal else ()
            is_text = inner is str or any(isinstance(label, str) for label in labels)
            kinds.setdefault(name, set()).add(is_text)
    return {name for name, found in kinds.items() if found == {True}}


def structured_outputs(program: dspy.Module, outputs: Collection[str]) -> dict[str, Any]:
    """Outputs that are lists, sets, mappings or records, with their types."""
    found = {}
    for predictor in program.predictors():
        for name, info in predictor.signature.output_fields.items():
            inner = without_none(info.annotation)[0]
            kind = get_origin(inner) or inner
            if name in outputs and isinstance(kind, type) and issubclass(kind, STRUCTURES):
                found[name] = info.annotation
    return found


def _inputs(program: dspy.Module, columns: Collection[str]) -> tuple[str, ...]:
    parameters = _parameters(program)
    if parameters:
        wanted = [p.name for p in parameters if p.default is p.empty or p.name in columns]
        return tuple(wanted or [p.name for p in parameters])
    own = _own_signature(program)
    return tuple(own.input_fields) if own is not None else _inputs(next(_parts(program)), columns)


def _answer(signature: type[dspy.Signature], inputs: Collection[str]) -> dict[str, Any]:
    """Output -> its type, thoughts left out unless there is nothing else."""
    outputs = {name: info.annotation for name, info in signature.output_fields.items() if name not in inputs}
    return {name: outputs[name] for name in outputs if name not in THOUGHTS} or outputs


def _signatures(program: dspy.Module) -> Iterator[type[dspy.Signature]]:
    """The signatures of the parts that answer for themselves, in the order they are declared."""
    own = _own_signature(program)
    if own is not None:
        yield own
        return
    for part in _parts(program):
        yield from _signatures(part)


def _own_signature(program: dspy.Module) -> type[dspy.Signature] | None:
    """What a module that takes any keyword says it reads and answers; None where it says nothing."""
    import dspy

    own = getattr(program, "signature", None)
    says = isinstance(own, type) and issubclass(own, dspy.Signature) and not _parameters(program)
    return own if says else None


def _parameters(program: dspy.Module) -> list[inspect.Parameter]:
    """The named parameters of ``forward``."""
    # Read off the class: DSPy warns about access to an instance's forward.
    _, *parameters = inspect.signature(type(program).forward).parameters.values()
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _parts(program: dspy.Module) -> Iterator[dspy.Module]:
    """The modules with predictors that a module holds, itself or in a list or dict, as DSPy finds them."""
    import dspy

    for held in vars(program).values():
        several = held.values() if isinstance(held, dict) else held
        for one in several if isinstance(several, (list, tuple, type({}.values()))) else (held,):
            if isinstance(one, dspy.Module) and one.named_predictors():
                yield one
