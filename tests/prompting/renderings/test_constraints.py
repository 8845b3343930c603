"""Grammars and schemas: every answer we would show must be allowed, and nothing else."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import dspy
import pytest
from pydantic import BaseModel, Field, StringConstraints

from optimizers.prompting.renderings.constraints import (
    describe,
    is_closed,
    output_schema,
    parse_object,
    text_grammar,
)


class Tag(BaseModel):
    name: str
    title: str = "none given"


def outputs(**annotations: Any) -> type[dspy.Signature]:
    signature: type[dspy.Signature] = dspy.Signature("question -> dummy").delete("dummy")
    for name, annotation in annotations.items():
        signature = signature.append(name, dspy.OutputField(), annotation)
    return signature


def test_a_closed_output_is_an_alternation_of_escaped_literals() -> None:
    grammar = text_grammar(outputs(kind=Literal['say "hi"', "back\\slash", "日本"]), cued=True)
    assert grammar == 'root ::= " "? value0\nvalue0 ::= "say \\"hi\\"" | "back\\\\slash" | "日本"\n'


def test_several_outputs_follow_in_order_with_their_labels() -> None:
    signature = outputs(reasoning=str, final_score=int, sure=bool)
    cued = text_grammar(signature, cued=True)
    assert cued is not None
    assert cued.splitlines()[0] == 'root ::= " "? value0 "\\nFinal score: " value1 "\\nSure: " value2'
    assert r"value0 ::= [^ \t\r\n] [^\r\n]*" in cued
    assert 'value2 ::= "true" | "false"' in cued
    uncued = text_grammar(signature, cued=False)
    assert uncued is not None
    assert uncued.startswith('root ::= "Reasoning: " value0 ')


def test_only_a_trailing_free_text_may_span_lines() -> None:
    grammar = text_grammar(outputs(kind=Literal["a"], note=str), cued=True)
    assert grammar is not None
    assert grammar.splitlines()[-1] == r"value1 ::= [^ \t\r\n] [^\r]*"


def test_a_text_is_as_long_as_its_field_allows() -> None:
    signature = outputs(
        title=Annotated[str, StringConstraints(max_length=40)],
        note=Annotated[str, Field(max_length=9)],
        essay=Annotated[str, StringConstraints(max_length=100_000)],
        rest=str,
    )
    signature = signature.append("end", dspy.OutputField(max_length=7), str)
    grammar = text_grammar(signature, cued=True)
    assert grammar is not None
    assert grammar.splitlines()[1:] == [
        r"value0 ::= [^ \t\r\n] [^\r\n]{0,39}",
        r"value1 ::= [^ \t\r\n] [^\r\n]{0,8}",
        r"value2 ::= [^ \t\r\n] [^\r\n]*",
        r"value3 ::= [^ \t\r\n] [^\r\n]*",
        r"value4 ::= [^ \t\r\n] [^\r]{0,6}",
    ]


def test_a_lone_text_is_constrained_where_it_has_a_bound() -> None:
    signature = dspy.Signature("question -> dummy").delete("dummy")
    signature = signature.append("answer", dspy.OutputField(max_length=20), str)
    grammar = text_grammar(signature, cued=False)
    assert grammar == 'root ::= " "? value0\nvalue0 ::= [^ \\t\\r\\n] [^\\r]{0,19}\n'


def test_an_optional_output_may_be_none() -> None:
    grammar = text_grammar(outputs(kind=Literal["a", "b"] | None), cued=False)
    assert grammar is not None
    assert grammar.splitlines()[-1] == 'value0 ::= "a" | "b" | "none"'


@pytest.mark.parametrize("annotations", [{"answer": str}, {"tags": list[str]}, {"kind": bool, "tag": Tag}])
def test_no_grammar_where_it_says_nothing_or_cannot(annotations: dict[str, Any]) -> None:
    assert text_grammar(outputs(**annotations), cued=True) is None


def test_the_schema_is_strict_and_in_order() -> None:
    schema = output_schema(outputs(title=str, kind=Literal["x", "y"], tag=Tag, age=int | None))
    assert list(schema["properties"]) == schema["required"] == ["title", "kind", "tag", "age"]
    assert schema["additionalProperties"] is False
    nested = schema["$defs"]["Tag"]
    assert nested["required"] == ["name", "title"]
    assert nested["additionalProperties"] is False
    assert nested["properties"]["title"] == {"type": "string"}
    assert schema["properties"]["kind"]["enum"] == ["x", "y"]
    assert is_closed(schema)


def test_a_bounded_text_is_bounded_in_json_too_and_then_not_passed_off_as_strict() -> None:
    signature = outputs(text=Annotated[str, StringConstraints(max_length=30)], kind=Literal["x", "y"])
    schema = output_schema(signature)
    assert schema["properties"]["text"] == {"type": "string", "maxLength": 30}
    assert not is_closed(schema)
    assert describe(signature.output_fields["text"].annotation) == "a string"
    # A service that knows no lengths may exceed them; the answer stands.
    assert parse_object(signature, json.dumps({"text": "long " * 9, "kind": "x"}))["kind"] == "x"


def test_llama_cpp_takes_the_schema() -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    text = Annotated[str, StringConstraints(max_length=600)]
    schema = output_schema(outputs(text=text, kind=Literal["x", "y"], tag=Tag, age=int | None))
    assert xllamacpp.json_schema_to_grammar(json.dumps(schema))


@pytest.mark.parametrize("annotation", [dict[str, int], dict, list[Any], list[dict[str, str]]])
def test_open_types_are_not_passed_off_as_strict(annotation: Any) -> None:
    assert not is_closed(output_schema(outputs(value=annotation)))


@pytest.mark.parametrize(
    "text",
    [
        '{"count":"3"}',
        '{"count":3,"more":1}',
        "{}",
        "[3]",
        "3",
        'Sure: {"count":3}',
        '{"count":3} ok',
        '{"count":3',
    ],
)
def test_json_is_read_strictly(text: str) -> None:
    assert parse_object(outputs(count=int), '{"count": 3}') == {"count": 3}
    with pytest.raises(ValueError):  # noqa: PT011 (pydantic's own message)
        parse_object(outputs(count=int), text)


@pytest.mark.filterwarnings("ignore:Field name")
def test_a_field_may_be_called_as_a_model_method_is() -> None:
    signature = outputs(json=int, copy=int)
    assert list(output_schema(signature)["properties"]) == ["json", "copy"]
    assert parse_object(signature, '{"json":1,"copy":2}') == {"json": 1, "copy": 2}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (str, "a string"),
        (bool, "true or false"),
        (int | None, "an integer or null"),
        (Literal["a", 'b"'], 'one of "a", "b\\""'),
        (Literal["only"], '"only"'),
    ],
)
def test_types_in_words(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


def test_other_types_are_described_by_their_schema() -> None:
    assert '"required":["name","title"]' in describe(Tag)
