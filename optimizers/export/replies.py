"""Replies to try a reader on: well-formed ones, and those that models go wrong with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from dspy.adapters.utils import serialize_for_json

from optimizers.export.single_request import shown_reply
from optimizers.prompting.renderings.fields import compact_json, label, text_of

if TYPE_CHECKING:
    from optimizers.export.point import Exported
    from optimizers.export.single_request import SingleRequest

ODD_TEXTS = (
    "", "  ", "none", "null", "None", "true", "TRUE", "yes", "(True)", "3", "-0", "+3", "3.0", "1e3", "1e999",
    "1,000", "3 apples", "nan", "nonsense", '"3"', "'3'", "[1]", "{}", '{"a": 1}',
    "it's\nso", "I am: sure", "**3**",
)  # fmt: skip
"""What models write where another value is expected."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, 3, -3.0, 2.5, 1e30, "", "3", "3.0", "yes", "x", [], ["3", None], {}, {"a": 1},
)  # fmt: skip
"""The same in JSON."""

AWKWARD_VALUES: dict[str, list[Any]] = {
    "string": ['It {is} "so" \\ 日本', "two\nlines"],
    "integer": [-12, 0],
    "number": [0.25, 3.0],
    "boolean": [True, False],
    "any": [[1], "x"],
}
"""Values of the types that are not closed, by the type's name in a form."""

MOST_ODD = 400
"""Malformed replies tried: enough for every odd text and value in each of about six outputs."""


def replies_to_read(exported: Exported, request: SingleRequest, forms: Mapping[str, Any]) -> list[str]:
    """Replies to try a predictor's reader on: well-formed ones first, then malformed ones.

    Args:
        exported: Whose train examples give real outputs.
        request: The predictor.
        forms: Output name -> the form of its type.
    """
    good = _well_formed(exported, request, forms)
    return list(dict.fromkeys((*good, *islice(_malformed(request, forms, good), MOST_ODD))))


def values_of(form: Mapping[str, Any]) -> list[Any]:
    """Some JSON values of a form: every closed one, and awkward ones of the other types."""
    values: list[Any]
    if form["type"] == "choice":
        values = [value for _, value in form["choices"]]
    elif form["type"] == "list":
        values = [[], values_of(form["items"])]
    elif form["type"] == "map":
        values = [{}, {"a key": values_of(form["values"])[0]}]
    elif form["type"] == "record":
        values = _rows({name: values_of(field) for name, field in form["fields"].items()})[:4]
    else:
        values = AWKWARD_VALUES[form["type"]]
    return [*values, None] if form.get("optional") else values


def _rows(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Records with every value of every column; short columns start again."""
    longest = max(map(len, columns.values()), default=1)
    return [{name: each[i % len(each)] for name, each in columns.items()} for i in range(longest)]


def _well_formed(exported: Exported, request: SingleRequest, forms: Mapping[str, Any]) -> list[str]:
    """Replies as demos show them: of five real examples, and of every closed value."""
    made = _rows({name: values_of(form) for name, form in forms.items()})
    real = [
        {name: serialize_for_json(example[name]) if name in example else made[0][name] for name in forms}
        for example in exported.task.dataset.train[:5]
    ]
    return [shown_reply(request.adapter, request.signature, outputs) for outputs in (*real, *made)]


def _malformed(request: SingleRequest, forms: Mapping[str, Any], good: list[str]) -> Iterator[str]:
    """Replies that models go wrong with."""
    usual, last = ({name: values_of(form)[at] for name, form in forms.items()} for at in (0, -1))
    yield from ("", " \n", "I cannot say.", "{}", "[]", "[[ ## completed ## ]]")
    for whole in (*good[:3], _written(request, last)):
        yield from _mangled(whole)
        yield from _mangled(whole.partition(":")[2].lstrip() or whole)
    for name in forms:
        yield _written(request, {other: value for other, value in usual.items() if other != name})
        yield _written(request, usual).replace(label(name), label(name).upper()).replace(name, name.upper())
    # Interleaved, so that a long record leaves room for the other outputs.
    columns = [[*_changed(values_of(form)), *ODD_TEXTS] for form in forms.values()]
    for values in zip_longest(*columns):
        for name, value in zip(forms, values, strict=True):
            yield _written(request, usual | {name: value})
            yield _written(request, usual | {name: compact_json(value)})


def _changed(values: list[Any]) -> Iterator[Any]:
    """JSON values that are nearly of a form, or not at all, from values of it."""
    yield from ODD_VALUES
    whole = next((value for value in reversed(values) if value is not None), None)
    if isinstance(whole, list):
        yield from ([odd] for odd in _changed(whole))
    elif isinstance(whole, dict):
        yield whole | {"more": 1}
        for name, held in whole.items():
            yield {key: value for key, value in whole.items() if key != name}
            yield from (whole | {name: odd} for odd in _changed([held]))


def _mangled(whole: str) -> tuple[str, ...]:
    """Ways to get a good reply wrong."""
    return (
        whole, f"\n  {whole} \n", f"{whole}\n\nThat is all.", f"Sure, here it is: {whole}", f"So:\n{whole}",
        whole.upper(), whole.lower(), whole.title(), f'"{whole}"', f"{whole}.", f"**{whole}**",
        whole[: len(whole) // 2], whole[:-1], whole[:-2], whole[1:], f"{whole}\n{whole}", f"{whole} {whole}",
        f"```json\n{whole}\n```", f"```\n{whole}\n```", whole.replace("\n", "\n\n"), whole.replace('"', "'"),
    )  # fmt: skip


def _written(request: SingleRequest, values: Mapping[str, Any]) -> str:
    """A reply with these values, whether or not they are of their types."""
    texts = {name: text_of(value) for name, value in values.items()}
    if request.adapter.name == "json_object":
        return compact_json(values)
    if request.adapter.name == "dspy_chat":
        return "\n\n".join(
            f"[[ ## {name} ## ]]\n{text}" for name, text in (texts | {"completed": ""}).items()
        )
    return "\n".join(f"{label(name)}: {text}" for name, text in texts.items())
