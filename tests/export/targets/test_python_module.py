"""The Python module: it sends and reads what the compiled program does, alone, or is refused."""

from __future__ import annotations

import ast
import enum
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import dspy
import pytest
from dspy.adapters.utils import parse_value as parse_as_dspy
from dspy.utils.exceptions import AdapterParseError
from fakes import LARGE, SMALL, Classify, FakeEngine, Notes, manifest, reviews, sentiment_matches
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from optimizers.errors import ExportError
from optimizers.export.forms import form_of
from optimizers.export.point import AWKWARD, Exported
from optimizers.export.standalone import checked, from_json, from_plain_text, from_section
from optimizers.export.targets import python_module
from optimizers.export.targets.openai_requests import write_openai
from optimizers.export.targets.python_module import literal, literal_text, module_name, write_python
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.prompting.renderings import RENDERINGS
from optimizers.prompting.renderings.fields import parse_value
from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt
from optimizers.records.report import Estimate, Point
from optimizers.task.data.load import load_rows
from optimizers.task.data.split import make_dataset
from optimizers.task.task import LoadedTask

DEMOS = (
    {"review": 'it is {good} and "fine"', "sentiment": "positive"},
    {"review": "Bad.\n\nVery.", "sentiment": "negative"},
)
NASTY = (
    'Say {it}. {{review}} \\n \\ """ \'\'\'\n"""\nraise SystemExit("out")\n'
    "'); raise SystemExit('out') # \r\x0b\u202e\u2028 日本 %s {0} \\"
)
SEVERAL = ["self_consistency_3", "self_check", "yes_no_per_label"]


class Color(enum.Enum):
    RED = "red"
    BLUE = "deep blue"


class Line(BaseModel):
    product: str
    quantity: int = 1


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    contact: str
    city: str | None
    express: bool
    lines: list[Line]
    color: Color = Color.RED
    tags: list[str] = Field(default_factory=list)
    share: float = 0.5


class Checked(BaseModel):
    count: int

    @field_validator("count")
    @classmethod
    def _odd(cls, value: int) -> int:
        return value | 1


class Node(BaseModel):
    children: list[Node]


def asking(**outputs: Any) -> dspy.Predict:
    signature = dspy.Signature("review: str, more: list[str] -> dummy").delete("dummy")
    for name, annotation in outputs.items():
        signature = signature.append(name, dspy.OutputField(), annotation)
    return dspy.Predict(signature)


@pytest.fixture
def exported(engines: dict[str, FakeEngine]) -> Callable[..., Exported]:
    def make(
        program: dspy.Module | None = None,
        rendering: str = "turns",
        technique: str = "direct",
        *,
        demos: tuple[Mapping[str, Any], ...] = (),
        rows: list[dict[str, Any]] | None = None,
        instruction: str = "Say which it is.",
        nearest: Nearest | None = None,
        **names: Any,
    ) -> Exported:
        program = program or Classify()
        signature = program.predictors()[-1].signature
        outputs = [name for name in signature.output_fields if not rows or name in rows[0]]
        rows = rows or [row | {"more": [], **dict.fromkeys(outputs, "x")} | row for row in reviews(40)]
        inputs = [name for name in ("review", "more") if name in rows[0]]
        model = SMALL if rendering == "completion" else LARGE
        prompt = PredictorPrompt(instruction=instruction, demos=demos, demos_name="some", nearest=nearest)
        candidate = Candidate(
            model=model.name,
            rendering=rendering,
            technique=technique,
            predictors={name: prompt for name, _ in program.named_predictors()},
            sampling=Sampling(temperature=0.3, top_p=0.9, max_tokens=60),
        )
        task = LoadedTask(
            name="reviews",
            program=program,
            metric=sentiment_matches,
            metric_name="sentiment_matches",
            models=(SMALL, LARGE),
            reference=LARGE,
            margin=0.02,
            dataset=make_dataset(load_rows(rows, base=Path()), inputs=inputs, outputs=outputs, labels={}),
            path="reviews.py",
            program_hash="0" * 16,
        )
        seen = Estimate(mean=0.8125, low=0.7, high=0.9, n=50)
        point = Point(
            candidate=candidate, kind="instruct", roles=("frontier",), dev=seen, test=seen, cost=1.25e-6,
            latency=0.1, prompt_tokens=50, completion_tokens=2,
        )  # fmt: skip
        compiled = compile_candidate(program, candidate, task.models, measured=False)
        return Exported(manifest(**names), point, model, task, compiled)

    return make


def loaded(path: Path) -> dict[str, Any]:
    module: dict[str, Any] = {"__name__": path.stem}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module)
    return module


def parsed(exported: Exported, reply: str) -> Any:
    """What the compiled program's one predictor reads, as JSON values; None where it fails."""
    (predictor,) = exported.compiled.module.predictors()
    try:
        values = exported.compiled.adapter().parse(predictor.signature, reply)
    except AdapterParseError:
        return None
    return {name: TypeAdapter(type(value)).dump_python(value, mode="json") for name, value in values.items()}


def read(parse: Callable[[str], Any], reply: str) -> Any:
    try:
        return parse(reply)
    except ValueError:
        return None


class Client:
    """Takes what clients of OpenAI's kind do, and gives one reply."""

    def __init__(self, reply: str | None) -> None:
        self.sent: dict[str, Any] = {}
        choice = SimpleNamespace(text=reply, message=SimpleNamespace(content=reply))

        def create(**sent: Any) -> Any:
            self.sent = sent
            return SimpleNamespace(choices=[choice])

        self.completions = SimpleNamespace(create=create)
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=create))


@pytest.mark.parametrize("technique", ["direct", "chain_of_thought"])
@pytest.mark.parametrize("rendering", list(RENDERINGS))
def test_a_module_sends_the_measured_messages(
    exported: Callable[..., Exported], rendering: str, technique: str, tmp_path: Path
) -> None:
    made = exported(None, rendering, technique, demos=DEMOS)
    (path,) = write_python(made, tmp_path)
    module, predictor = loaded(path), made.compiled.module.predict
    assert path.name == "reviews.py"
    for text in (*AWKWARD, "", "\n", "\\", '"""', None, 3, True, {"a": ["ü"]}):
        measured = made.compiled.adapter().format(predictor.signature, predictor.demos, {"review": text})
        if rendering == "completion":
            assert module["prompt"]({"review": text}) == measured[0]["content"]
        else:
            assert module["render"]({"review": text}) == measured


@pytest.mark.parametrize("rendering", list(RENDERINGS))
@pytest.mark.parametrize(
    "outputs",
    [
        {"answer": Literal["positive", "a b.", "US"]},
        {"answer": str},
        {"answer": int | None},
        {"answer": list[int]},
        {"answer": Order},
        {
            "kind": Literal["1", "No"],
            "color": Color,
            "sure": bool,
            "count": int,
            "share": float | None,
            "end": str,
        },
        {
            "maybe": Color | None,
            "lines": list[Line],
            "order": Order | None,
            "counts": dict[str, int],
            "any": dict,
        },
    ],
    ids=["choice", "text", "number", "list", "record", "several", "in parts"],
)
def test_a_module_reads_what_the_compiled_program_does(
    exported: Callable[..., Exported], rendering: str, outputs: dict[str, Any], tmp_path: Path
) -> None:
    made = exported(asking(**outputs), rendering)
    in_parts = any(
        form_of(annotation)["type"] in ("list", "map", "record") for annotation in outputs.values()
    )
    if rendering == "dspy_chat" and in_parts:
        with pytest.raises(ExportError, match="DSPy mends JSON"):
            write_python(made, tmp_path)
        assert list(tmp_path.iterdir()) == []
        return
    (path,) = write_python(made, tmp_path)
    module = loaded(path)
    # The export has compared hundreds of replies; these are written by hand.
    lines = {
        "answer": (
            "positive", " Positive.\n", "'A B.'", "us", "3", "none", '[1,"2",3.0]', "[1", "so\nmuch", "",
        ),
        "kind": ("no\nColor: BLUE\nSure: True\nCount: -3\nShare: 1e3\nEnd: two\nlines", "1\nColor: x"),
        "maybe": ('none\nLines: [{"product": "a"}]\nOrder: null\nCounts: {"a": "3"}\nAny: {}', "Maybe: red"),
    }  # fmt: skip
    wrapped = [
        '{"answer": 3}',
        '{"answer": [1, 2',
        '{"answer": [1, 2]}',
        '```json\n{"answer": "US"}\n```',
        "{}",
        '{"answer": "us"}',
    ]
    order = {"contact": "A", "city": None, "express": True, "lines": [{"product": "p", "more": 1}]}
    orders = [json.dumps(order), json.dumps(order | {"express": "yes"}), json.dumps(order | {"x": 1})]
    sections = [
        "[[ ## answer ## ]]\nUS",
        "[[ ## answer ## ]] '3'\n[[ ## completed ## ]]",
        "[[ ## answer ## ]]\nno",
    ]
    replies = [
        *lines[next(iter(outputs))],
        *wrapped,
        *sections,
        *orders,
        *(f'{{"answer": {o}}}' for o in orders),
    ]
    understood = 0
    for reply in replies:
        wanted = parsed(made, reply)
        assert json.dumps(read(module["parse"], reply)) == json.dumps(wanted), reply
        understood += wanted is not None
    assert understood or len(outputs) > 1
    with pytest.raises(ValueError, match=r"The reply is empty\."):
        module["parse"](" \n")


@pytest.mark.parametrize(("rendering", "reply"), [("completion", " positive\n"), ("compact", "Positive")])
def test_a_client_is_asked_as_measured_and_its_reply_read(
    exported: Callable[..., Exported],
    rendering: str,
    reply: str,
    tmp_path: Path,
    engines: dict[str, FakeEngine],
) -> None:
    made = exported(None, rendering, demos=DEMOS)
    module, client = loaded(write_python(made, tmp_path)[0]), Client(reply)
    assert module["run"](client, {"review": "the lamp is good"}) == {"sentiment": "positive"}
    made.compiled.module.predict.lm.cache = False
    made.compiled({"review": "the lamp is good"})
    (request,) = engines[made.model.name].requests
    key = "prompt" if rendering == "completion" else "messages"
    sent = client.sent[key] if rendering == "completion" else client.sent[key][0]["content"]
    assert sent == request.messages[0].text
    assert client.sent["max_tokens"] == request.config.max_tokens == 60
    assert client.sent["stop"] == list(request.config.stop)
    assert client.sent["extra_body"]["grammar"] == request.config.extensions["grammar"]
    assert client.sent.keys() == {key, "model", "max_tokens", "temperature", "top_p", "stop", "extra_body"}
    with pytest.raises(ValueError, match="empty"):
        module["run"](Client(None), {"review": "x"})


def test_parameters_are_those_of_the_other_exports(exported: Callable[..., Exported], tmp_path: Path) -> None:
    made = exported(None, "json_object")
    (path,), (request,) = write_python(made, tmp_path), write_openai(made, tmp_path)
    assert loaded(path)["PARAMETERS"] == json.loads(request.read_text())["parameters"]


def test_inputs_are_asked_for_by_name(exported: Callable[..., Exported], tmp_path: Path) -> None:
    module = loaded(write_python(exported(), tmp_path)[0])
    for inputs in ({}, {"text": "x"}, {"review": "x", "sentiment": "y"}):
        with pytest.raises(ValueError, match="inputs are review"):
            module["render"](inputs)


def test_what_dspy_would_show_in_its_own_way_is_refused(
    exported: Callable[..., Exported], tmp_path: Path
) -> None:
    (path,) = write_python(exported(None, "dspy_chat"), tmp_path)
    with pytest.raises(ValueError, match="review: give a text"):
        loaded(path)["render"]({"review": ["a", "b"]})
    talk = dspy.Predict(asking(answer=str).signature.append("past", dspy.InputField(), dspy.History))
    with pytest.raises(ExportError, match="history"):
        write_python(exported(talk, "dspy_chat"), tmp_path)


@pytest.mark.parametrize("rendering", list(RENDERINGS))
def test_no_text_gets_out_of_its_literal(
    exported: Callable[..., Exported], rendering: str, tmp_path: Path
) -> None:
    demos = ({"review": NASTY, "sentiment": "positive"},)
    usual = loaded_names(write_python(exported(None, rendering, demos=DEMOS), tmp_path)[0])
    made = exported(None, rendering, demos=demos, instruction=NASTY, name=NASTY, task=NASTY)
    (path,) = write_python(made, tmp_path / "..")
    assert loaded_names(path) == usual
    predictor, send = made.compiled.module.predict, "prompt" if rendering == "completion" else "render"
    measured = made.compiled.adapter().format(predictor.signature, predictor.demos, {"review": NASTY})
    sent = loaded(path)[send]({"review": NASTY})
    assert sent == (measured[0]["content"] if send == "prompt" else measured)
    path.unlink()


def loaded_names(path: Path) -> list[str]:
    """What stands at a module's top: nothing there but a docstring, imports, constants and functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring, *rest = tree.body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(ast.literal_eval(docstring.value), str)
    named = []
    for node in rest:
        if isinstance(node, ast.Assign):
            ast.literal_eval(node.value)
        assert isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef))
        named.append(ast.unparse(node).split("=")[0] if isinstance(node, ast.Assign) else ast.unparse(node))
    return named


@pytest.mark.parametrize("outputs", [{"answer": Literal["a"]}, {"answer": Order}])
@pytest.mark.parametrize("rendering", ["completion", "json_object"])
def test_a_module_runs_where_nothing_is_installed(
    exported: Callable[..., Exported], rendering: str, outputs: dict[str, Any], tmp_path: Path
) -> None:
    (path,) = write_python(exported(asking(**outputs), rendering), tmp_path)
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
        )
    }
    assert {str(name).partition(".")[0] for name in imported} <= sys.stdlib_module_names
    subprocess.run([sys.executable, "-I", "-S", "-W", "error", str(path)], check=True, timeout=60)


def test_the_docstring_says_what_was_measured(exported: Callable[..., Exported], tmp_path: Path) -> None:
    made = exported()
    said = str(ast.get_docstring(ast.parse(write_python(made, tmp_path)[0].read_text())))
    for part in ("study, of 2026-01-02", made.point.candidate.id, LARGE.name, "$0.00125 for 1,000 runs"):
        assert part in said
    assert "0.812 (95% interval 0.700 to 0.900, n = 50) on the sealed test set" in said
    untested = made.point.model_copy(update={"test": None})
    again = write_python(Exported(made.manifest, untested, made.model, made.task, made.compiled), tmp_path)
    assert "on the dev set, untested" in again[0].read_text()


def test_each_of_several_predictors_has_its_functions(
    exported: Callable[..., Exported], tmp_path: Path
) -> None:
    made = exported(Notes(), "compact")
    (path,) = write_python(made, tmp_path)
    module = loaded(path)
    assert not module.keys() & {"run", "render", "parse", "PARAMETERS"}
    assert "no run() of the whole" in module["__doc__"]
    assert module.keys() >= set(module["__all__"])
    assert len(module["__all__"]) == 8
    assert module["parse_take"]("Note: it is good") == {"note": "it is good"}
    assert module["run_judge"](Client("Negative."), {"note": "poor"}) == {"sentiment": "negative"}
    judge = made.compiled.module.judge
    assert module["render_judge"]({"note": "x\ny"}) == made.compiled.adapter().format(
        judge.signature, [], {"note": "x\ny"}
    )
    assert module["PARAMETERS_TAKE"]["max_tokens"] == 60


@pytest.mark.parametrize("technique", SEVERAL)
def test_several_calls_are_refused(exported: Callable[..., Exported], technique: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=rf"{technique} takes up to \d calls(.|\n)*export to dspy"):
        write_python(exported(None, "compact", technique), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_demos_chosen_by_input_and_draws_of_several_are_refused(
    exported: Callable[..., Exported], tmp_path: Path
) -> None:
    pool = tuple({"review": f"it is {i}", "sentiment": "positive"} for i in range(9))
    with pytest.raises(ExportError, match="chosen anew for every input"):
        write_python(exported(nearest=Nearest(count=2, pool=pool)), tmp_path)
    drawn = dspy.BestOfN(asking(answer=str), N=3, reward_fn=lambda inputs, outputs: 1.0, threshold=1.0)
    with pytest.raises(ExportError, match="BestOfN"):
        write_python(exported(drawn), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("annotation", [Checked, Node, int | str, tuple[int, str], Literal[1, True]])
def test_a_type_that_a_module_would_read_otherwise_is_refused(
    exported: Callable[..., Exported], annotation: Any, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"cannot read this output(.|\n)*answer(.|\n)*export to dspy"):
        write_python(exported(asking(answer=annotation), "json_object"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("Say which it is.", "Say which it was.", r"render gives(.|\n)*render\("),
        ("    return read_lines(", "    return {'sentiment': 'positive'} or (", r"parse gives(.|\n)*parse\("),
        ('raise ValueError("The reply is empty.")', "raise KeyError(reply)", r"KeyError(.|\n)*fails to read"),
        ("import json\n", "import json, pydantic\n", "does not run(.|\n)*pydantic"),
    ],
)
def test_a_module_that_would_differ_is_not_written(
    exported: Callable[..., Exported],
    was: str,
    becomes: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = python_module.module_source

    def other(*args: Any) -> str:
        source = make(*args)
        assert was in source
        return source.replace(was, becomes)

    monkeypatch.setattr(python_module, "module_source", other)
    with pytest.raises(ExportError, match=why):
        write_python(exported(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("My task (v2)", "my_task_v2"), ("json", "json_program"), ("class", "class_program"),
        ("2 ways", "program_2_ways"), ("日本", "program"), ("../../x", "x"), ("openai", "openai_program"),
    ],
)  # fmt: skip
def test_a_module_is_named_by_its_task_and_hides_no_other(task: str, name: str) -> None:
    assert module_name(task) == name


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["a", "yes", "OFF", "3", " 3 ", "3.0", "1_0", "1e3", "nan", "-inf", -0.0, 2.0**63]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "x", "kind"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


class Held(BaseModel):
    a: int
    x: list[float] = []
    kind: Literal["a", 3] | None = None


TYPES: list[Any] = [
    int,
    float,
    bool,
    str,
    Literal["a", 3, None],
    Color,
    list[int | None],
    dict[str, bool],
    Held,
]
TYPES += [list[Held], dict, Held | None]


@given(JSON_VALUES, st.sampled_from(TYPES), st.booleans())
def test_json_is_checked_as_pydantic_does(value: Any, annotation: Any, strict: bool) -> None:
    text, adapter = json.dumps(value), TypeAdapter(annotation)
    try:
        wanted = json.dumps(adapter.dump_python(adapter.validate_json(text, strict=strict), mode="json"))
    except ValueError:
        wanted = "refused"
    try:
        found = json.dumps(checked(from_json(text), form_of(annotation), "it", strict=strict))
    except ValueError:
        found = "refused"
    assert found == wanted


WRITTEN = st.text(alphabet="atruefalsn0123.-+e'\"` \n", max_size=6) | st.sampled_from(
    [
        "true", "No", "none", "NULL", "'a b'", '"A B".', "RED", "deep  blue", "0x1F", "1e999", "(3)", "3 # x",
        "Literal[a b]", "str['no']", "None", "True", "[1]", "{}",
    ]
)  # fmt: skip
ON_A_LINE = [int, float, bool, str, Literal["a b", "no", "no.", 3], Color]


@given(WRITTEN, st.sampled_from([*ON_A_LINE, *(each | None for each in ON_A_LINE)]))
def test_plain_text_is_read_as_the_renderings_read_it(text: str, annotation: Any) -> None:
    assert outcome(from_plain_text, text.strip(), form_of(annotation), "it") == outcome(
        parse_value, text.strip(), annotation
    )


@given(WRITTEN, st.sampled_from([*ON_A_LINE, *(each | None for each in ON_A_LINE)]))
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_sections_are_read_as_dspy_reads_them(text: str, annotation: Any) -> None:
    assert outcome(from_section, text.strip(), form_of(annotation), "it") == outcome(
        parse_as_dspy, text.strip(), annotation
    )


def outcome(function: Callable[..., Any], *arguments: Any) -> str:
    try:
        value = function(*arguments)
    except ValueError:
        return "refused"
    return json.dumps(value.value if isinstance(value, enum.Enum) else value)


@given(st.text())
def test_any_text_survives_its_literal(text: str) -> None:
    assert ast.literal_eval(literal([text, {"a": text}])) == [text, {"a": text}]
    assert ast.literal_eval(literal_text(text)) == text


def test_a_value_without_a_literal_is_refused() -> None:
    with pytest.raises(ExportError, match="literal"):
        literal({"default": float("nan")})
