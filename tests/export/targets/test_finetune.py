"""Fine-tuning files: what trainers take, replies that are right, and nothing of dev or test."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from dspy.clients.utils_finetune import find_data_error_chat, find_data_errors_completion
from fakes import LARGE, SMALL, FakeEngine, Notes, manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from optimizers.errors import ExportError, MetricError
from optimizers.export.point import AWKWARD, Exported
from optimizers.export.targets.finetune import write_finetune
from optimizers.models.lm import language_model
from optimizers.models.model import Model
from optimizers.prompting.compile import adapter_of, compile_candidate
from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt, Serving
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.report import Estimate, Point
from optimizers.records.rows import ExampleRow, Rollout, Step, Trace
from optimizers.task.data.split import Dataset, example_id
from optimizers.task.task import LoadedTask, load_task

INSTRUCTION = "Say which it is."
DEMOS = ({"review": "a demo that is good", "sentiment": "positive"},)
SEEN = Estimate(mean=0.8, low=0.7, high=0.9, n=50)
RENDERED = [
    (SMALL, "completion"),
    (LARGE, "completion"),
    (LARGE, "compact"),
    (LARGE, "turns"),
    (LARGE, "json_object"),
    (LARGE, "dspy_chat"),
]
PROGRAMS = Path(__file__).parents[3] / "programs"
WORDS = [f"{noun}{number}" for noun in ("lamp", "chair", "phone", "kettle") for number in range(400)]


class Line(BaseModel):
    """A product with how many of it."""

    product: str
    quantity: int


class Explain(dspy.Signature):
    """Say what a review is about, and how good it finds it."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()
    topic: str = dspy.OutputField()


class Extract(dspy.Signature):
    """Read the order."""

    review: str = dspy.InputField()
    line: Line = dspy.OutputField()


def exported_of(
    task: LoadedTask,
    *,
    model: Model = LARGE,
    rendering: str = "turns",
    technique: str = "direct",
    folder: StudyFolder | None = None,
    **prompt: Any,
) -> Exported:
    """A point of a task whose predictors all have the same prompt."""
    told = PredictorPrompt(**{"instruction": INSTRUCTION} | prompt)
    names = [name for name, _ in task.program.named_predictors()]
    made = Candidate(
        model=model.name, rendering=rendering, technique=technique, predictors=dict.fromkeys(names, told)
    )
    point = Point(
        candidate=made, kind=model.kind, roles=("frontier",), dev=SEEN, cost=1e-6, latency=0.1,
        prompt_tokens=50, completion_tokens=2,
    )  # fmt: skip
    compiled = compile_candidate(task.program, made, task.models, measured=False)
    return Exported(manifest(), point, model, task, compiled, folder)


def examples(records: Sequence[Mapping[str, Any]]) -> tuple[dspy.Example, ...]:
    return tuple(dspy.Example(dict(record)).with_inputs("review") for record in records)


def with_train(task: LoadedTask, records: Sequence[Mapping[str, Any]], **changes: Any) -> LoadedTask:
    """The task with other train examples, and no dev and test that could be like them."""
    dataset = Dataset(examples(records), (), (), "f", 0, ())
    return replace(task, dataset=replace(dataset, **changes))


def distinct(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Reviews that are not alike, with a label by chance."""
    draw = random.Random(seed)
    return [
        {"review": " ".join(draw.sample(WORDS, 12)), "sentiment": draw.choice(["positive", "negative"])}
        for _ in range(count)
    ]


def rows_in(folder: Path, *, prefix: str = "", parts: Sequence[str] = ("train", "validation")) -> list[Any]:
    found = []
    for part in parts:
        text = (folder / f"{prefix}{part}.jsonl").read_bytes().decode()
        assert text.endswith("\n")
        assert not text.startswith("\ufeff")
        found += [json.loads(line) for line in text.splitlines()]
    return found


def card_in(folder: Path) -> Any:
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def reply(row: Mapping[str, Any]) -> str:
    text: str = row["completion"] if "completion" in row else row["messages"][-1]["content"]
    return text


def prompt(row: Mapping[str, Any]) -> str:
    if "prompt" in row:
        return str(row["prompt"])
    return "\n".join(turn["content"] for turn in row["messages"][:-1])


def check_format(row: Mapping[str, Any]) -> None:
    """What OpenAI, Mistral and TRL ask of a row."""
    if "messages" not in row:
        assert find_data_errors_completion(dict(row)) is None
        assert row["prompt"].strip()
        assert row["completion"].strip()
        assert row["completion"].startswith(" ")
        return
    assert find_data_error_chat(dict(row)) is None
    roles = [turn["role"] for turn in row["messages"]]
    assert roles in (["user", "assistant"], ["system", "user", "assistant"])
    assert all(turn["content"].strip() for turn in row["messages"])


def run_of(
    made: Candidate,
    example: dspy.Example,
    steps: Sequence[tuple[str, dict[str, Any], dict[str, Any]]],
    score: float,
) -> Rollout:
    """A run on train as the ledger has it."""
    made_steps = tuple(Step(predictor=name, inputs=read, outputs=wrote) for name, read, wrote in steps)
    return Rollout(
        candidate=made.id, example=example_id(example), split="train", score=score, calls=1, prompt_tokens=9,
        completion_tokens=1, cost=0.0, latency=0.1, created=datetime.now(UTC), trace=Trace(steps=made_steps),
    )  # fmt: skip


def recorded(folder: StudyFolder, *runs: tuple[Candidate, Sequence[Rollout]]) -> None:
    with Ledger.open(folder.ledger) as ledger:
        for made, rollouts in runs:
            ledger.add_candidate(made)
            ledger.add(rollouts)


def teacher(model: Model, *names: str, **choices: Any) -> Candidate:
    told = {name: PredictorPrompt(instruction="as a teacher") for name in names}
    return Candidate(
        **{"model": model.name, "rendering": "turns", "technique": "direct", "predictors": told} | choices
    )


@pytest.fixture
def studied(tmp_path: Path) -> StudyFolder:
    return StudyFolder.create(tmp_path / "runs", manifest())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture(params=["closed", "closed and text", "record"])
def shaped(request: pytest.FixtureRequest, task: LoadedTask) -> LoadedTask:
    """The review task, with one closed output, with a text beside it, or with a pydantic model."""
    records: list[dict[str, Any]] = distinct(40)
    if request.param == "closed":
        return with_train(task, records)
    if request.param == "record":
        for index, record in enumerate(records):
            record["line"] = {"product": record["review"].split()[0], "quantity": index}
        return replace(
            with_train(task, records),
            program=dspy.Predict(Extract),
            metric=lambda example, pred, trace=None: float(Line(**example.line) == pred.line),
        )
    for record in records:
        record["topic"] = f"the {record['review'].split()[0]}: what else"
    return replace(
        with_train(task, records),
        program=dspy.Predict(Explain),
        metric=lambda example, pred, trace=None: float(
            (example.sentiment, example.topic) == (pred.sentiment, pred.topic)
        ),
    )


@pytest.mark.parametrize(("model", "rendering"), RENDERED)
def test_rows_are_what_the_candidate_asks_without_demos_and_right_replies_in_its_format(
    shaped: LoadedTask, engines: dict[str, FakeEngine], out: Path, model: Model, rendering: str
) -> None:
    made = exported_of(shaped, model=model, rendering=rendering, demos=DEMOS)
    written = write_finetune(made, out)
    assert sorted(path.name for path in written) == [
        "README.md",
        "card.json",
        "train.jsonl",
        "validation.jsonl",
    ]
    ((_, predictor),) = made.compiled.module.named_predictors()
    adapter: Any = adapter_of(predictor, made.compiled.adapter())
    rows = rows_in(out)
    assert len(rows) == 40
    by_text = {example.review: example for example in shaped.dataset.train}
    for row in rows:
        check_format(row)
        assert ("completion" in row) == (rendering == "completion")
        (text,) = (text for text in by_text if text in prompt(row))
        example = by_text.pop(text)
        sent = adapter.format(predictor.signature, [], {"review": text})
        assert prompt(row) == "\n".join(turn["content"] for turn in sent)
        assert INSTRUCTION in prompt(row)
        assert "a demo" not in json.dumps(row)
        prediction = dspy.Prediction(adapter.parse(predictor.signature, reply(row)))
        assert shaped.metric(example, prediction) == 1.0
    assert card_in(out)["predictors"][0]["demos_dropped"] == 1
    assert engines[model.name].requests == []


def test_a_reply_reads_as_demos_of_its_rendering_show_it(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    wanted = {
        "completion": " positive",
        "compact": "positive",
        "turns": "positive",
        "json_object": '{"sentiment":"positive"}',
        "dspy_chat": "[[ ## sentiment ## ]]\npositive\n\n[[ ## completed ## ]]\n",
    }
    plain = with_train(task, [record | {"sentiment": "positive"} for record in distinct(30)])
    for rendering, text in wanted.items():
        write_finetune(exported_of(plain, rendering=rendering), out)
        assert {reply(row) for row in rows_in(out)} == {text}


def test_the_card_tells_what_is_in_the_files(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    pool = tuple(dict(demo) for demo in DEMOS)
    plain = with_train(task, distinct(150))
    write_finetune(exported_of(plain, nearest=Nearest(count=3, pool=pool)), out)
    card = card_in(out)
    (one,) = card["predictors"]
    assert (card["study"], card["task"], one["sources"]) == ("study", "reviews", {"gold": 150})
    assert one["demos_dropped"] == 3
    for part, count in (("train", 135), ("validation", 15)):
        content = (out / f"{part}.jsonl").read_bytes()
        rows = rows_in(out, parts=[part])
        assert one[part]["sha256"] == hashlib.sha256(content).hexdigest()
        assert one[part]["sha256"] in (out / "README.md").read_text(encoding="utf-8")
        assert one[part]["rows"] == len(rows) == count
        labels = [reply(row) for row in rows]
        assert one[part]["labels"] == {label: labels.count(label) for label in ("negative", "positive")}
        texts = sum(len(turn["content"].encode()) for row in rows for turn in row["messages"])
        assert one[part]["tokens"] == -(-texts // 4)
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "estimated" in readme
    assert "licence of the data is not known" in readme


def test_the_licence_of_a_data_card_is_told(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    program = str(PROGRAMS / "classify.py")
    write_finetune(exported_of(replace(with_train(task, distinct(30)), path=program)), out)
    assert card_in(out)["data_licence"].startswith("MIT. Hutto")
    assert card_in(out)["cautions"] == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), copies=st.integers(0, 15), measured=st.integers(1, 15))
def test_nothing_of_dev_or_test_is_written_even_where_train_repeats_it(
    task: LoadedTask,
    engines: dict[str, FakeEngine],
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    copies: int,
    measured: int,
) -> None:
    out, draw = tmp_path_factory.mktemp("out"), random.Random(seed)
    own, sealed = distinct(40, seed=seed), distinct(2 * measured, seed=seed + 1)
    leaks = [dict(draw.choice(sealed)) for _ in range(copies)]
    for leak in leaks:
        words = leak["review"].split()
        draw.shuffle(words)  # the same words in another order say nearly the same
        leak["review"] = draw.choice([leak["review"], " ".join(words), leak["review"].upper() + "!"])
    leaky = with_train(task, own + leaks, dev=examples(sealed[:measured]), test=examples(sealed[measured:]))
    write_finetune(exported_of(leaky), out)
    assert sorted(prompt(row).partition("Review: ")[2] for row in rows_in(out)) == sorted(
        record["review"] for record in own
    )
    assert card_in(out)["kept_back"] == copies


def test_what_the_study_measured_on_is_kept_back_though_the_data_has_moved_it_to_train(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    records = distinct(40)
    plain = with_train(task, records)
    with Ledger.open(studied.ledger) as ledger:
        ledger.add_examples(
            [
                ExampleRow(id="of then", split="test", inputs={"review": records[0]["review"]}, gold={}),
                ExampleRow(
                    id=example_id(plain.dataset.train[1]), split="dev", inputs={"review": "x"}, gold={}
                ),
            ]
        )
    write_finetune(exported_of(plain, folder=studied), out)
    texts = [prompt(row) for row in rows_in(out)]
    assert len(texts) == 38
    assert not any(record["review"] in text for record in records[:2] for text in texts)


def test_validation_is_a_fixed_tenth_that_shares_no_prompt_group_or_near_duplicate_with_train(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    records = distinct(200)
    alike = [record | {"review": " ".join(reversed(record["review"].split()))} for record in records[:60]]
    plain = with_train(task, records + alike)
    groups = {example_id(e): f"author {index // 4}" for index, e in enumerate(plain.dataset.train[60:200])}
    grouped = replace(plain, dataset=replace(plain.dataset, groups=groups))
    write_finetune(exported_of(grouped), out)
    before = [(out / f"{part}.jsonl").read_bytes() for part in ("train", "validation")]
    train, validation = rows_in(out, parts=["train"]), rows_in(out, parts=["validation"])
    assert len(train) + len(validation) == 260
    assert 26 <= len(validation) < 30

    def units(rows: Sequence[Mapping[str, Any]]) -> set[str]:
        texts = [prompt(row).partition("Review: ")[2] for row in rows]
        by_text = {example.review: example_id(example) for example in grouped.dataset.train}
        return {groups.get(by_text[text], " ".join(sorted(text.split()))) for text in texts}

    assert not units(train) & units(validation)
    again = replace(grouped, dataset=replace(grouped.dataset, train=grouped.dataset.train[::-1]))
    write_finetune(exported_of(again), out)
    assert [(out / f"{part}.jsonl").read_bytes() for part in ("train", "validation")] == before


def test_a_row_is_written_once_and_what_is_dropped_is_counted(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    records: list[dict[str, Any]] = distinct(45)
    # To the rendering, which writes a value on one line, the first two inputs are the same.
    records[0]["review"] = "one\ntwo\nthree"
    records[1] |= {"review": "one two three", "sentiment": records[0]["sentiment"], "note": "another row"}
    records[2]["sentiment"] = None
    del records[3]["sentiment"]
    records[4]["hard"] = True
    records[5]["odd"] = records[6]["odd"] = 1
    records[7]["odd"] = 2

    def metric(e: dspy.Example, pred: Any, trace: Any = None) -> float:
        if e.get("odd") == 1:
            return float(pred.made_by_the_program)
        if e.get("odd") == 2:
            return float(pred["steps"][0])
        return float(e.sentiment == pred.sentiment and "hard" not in e)

    plain = replace(with_train(task, records), metric=metric)
    write_finetune(exported_of(plain, rendering="completion", model=SMALL), out)
    dropped = card_in(out)["predictors"][0]["dropped"]
    assert len(rows_in(out)) == 38
    assert sorted(dropped.values()) == [1, 1, 1, 1, 1, 2]
    told = " ".join(dropped)
    for reason in ("repeat", "read back", "lacks some", "does not pass"):
        assert reason in told
    unscored = "a label that the metric cannot score without running the program"
    assert (dropped[f"{unscored} (AttributeError)"], dropped[f"{unscored} (KeyError)"]) == (2, 1)
    assert f"{unscored} (AttributeError): 2; {unscored} (KeyError): 1" in (out / "README.md").read_text()


def test_a_metric_that_fails_for_a_reason_of_its_own_is_named(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    def metric(e: dspy.Example, pred: Any, trace: Any = None) -> float:
        raise OSError("the word list is gone")

    with pytest.raises(MetricError, match="OSError: the word list is gone"):
        write_finetune(exported_of(replace(with_train(task, distinct(40)), metric=metric)), out)
    assert list(out.iterdir()) == []


def test_an_empty_reply_is_no_row(task: LoadedTask, engines: dict[str, FakeEngine], out: Path) -> None:
    records = [record | {"topic": record["review"][:8]} for record in distinct(40)]
    records[0]["topic"] = " "
    free = replace(
        with_train(task, records),
        program=dspy.Predict("review -> topic"),
        metric=lambda e, pred, trace=None: 1.0,
    )
    for rendering in ("completion", "turns"):
        write_finetune(exported_of(free, rendering=rendering), out)
        assert card_in(out)["predictors"][0]["dropped"] == {"an empty prompt or reply": 1}
        assert all(reply(row).strip() for row in rows_in(out))


@pytest.mark.parametrize("rendering", ["completion", "compact", "turns", "json_object", "dspy_chat"])
def test_awkward_characters_come_back_as_they_were(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, rendering: str
) -> None:
    odd = [
        *AWKWARD,
        "line\u2028para\u2029next\x85end",
        "\x01\x1b[31m\x7f",
        "\ufeffmark",
        "\U0001d49c e\u0301 \u200b",
    ]
    records = [
        {"review": f"{text} {number * 7919}", "sentiment": "positive"} for number, text in enumerate(odd * 4)
    ]
    plain = with_train(task, records)
    made = exported_of(plain, rendering=rendering)
    write_finetune(made, out)
    ((_, predictor),) = made.compiled.module.named_predictors()
    adapter: Any = adapter_of(predictor, made.compiled.adapter())
    sent = {
        "\n".join(
            turn["content"] for turn in adapter.format(predictor.signature, [], {"review": text["review"]})
        )
        for text in records
    }
    rows = rows_in(out)
    assert {prompt(row) for row in rows} == sent
    assert len(rows) == 4 * len(odd)
    content = b"".join((out / f"{part}.jsonl").read_bytes() for part in ("train", "validation"))
    assert b"\r" not in content
    assert content.count(b"\n") == len(rows) == len(content.decode().splitlines())
    assert "中文".encode() in content


@pytest.mark.parametrize(("bad", "said"), [("a\0b", "NUL"), ("half \ud83d", "half a character")])
@pytest.mark.parametrize("field", ["review", "topic"])
def test_text_that_no_file_can_hold_is_refused_and_nothing_is_written(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, bad: str, said: str, field: str
) -> None:
    records = [record | {"topic": "about it"} for record in distinct(40)]
    records[7][field] = bad
    free = replace(
        with_train(task, records),
        program=dspy.Predict("review -> topic"),
        metric=lambda e, pred, trace=None: 1.0,
    )
    with pytest.raises(ExportError, match=rf"{said}(.|\n)*train example [0-9a-f]{{16}}(.|\n)*fix: "):
        write_finetune(exported_of(free), out)
    assert list(out.iterdir()) == []


def test_too_few_rows_are_refused_with_what_was_dropped_and_the_fix(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    strict = replace(with_train(task, distinct(30)), metric=lambda e, pred, trace=None: 0.99)
    with pytest.raises(ExportError, match=r"0 rows(.|\n)*does not pass: 30(.|\n)*fix: .*add labelled rows"):
        write_finetune(exported_of(strict), out)
    with pytest.raises(ExportError, match="There are 19 rows"):
        write_finetune(exported_of(with_train(task, distinct(19))), out)
    assert list(out.iterdir()) == []
    write_finetune(exported_of(with_train(task, distinct(20))), out)
    assert [len(rows_in(out, parts=[part])) for part in ("train", "validation")] == [10, 10]


def test_a_metric_that_asks_a_model_spends_nothing(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    def judged(example: dspy.Example, pred: Any, trace: Any = None) -> float:
        language_model(LARGE, exported_of(task).point.candidate.sampling)("is it good?")
        return 1.0

    with pytest.raises(ExportError, match="asks a model about, which an export does not do: 30"):
        write_finetune(exported_of(replace(with_train(task, distinct(30)), metric=judged)), out)
    assert engines[LARGE.name].requests == []


def notes_runs(task: LoadedTask, made: Candidate, count: int, *, score: float = 1.0) -> list[Rollout]:
    """Runs of the two-step program, each with a note in the teacher's words."""
    return [
        run_of(
            made,
            example,
            [
                ("take", {"review": example.review}, {"note": f"{made.model} notes {example.review[:30]}"}),
                ("judge", {"note": f"of {example.review[:30]}"}, {"sentiment": example.sentiment}),
            ],
            score,
        )
        for example in task.dataset.train[:count]
    ]


def test_what_no_data_labels_is_learnt_from_runs_that_passed_in_a_file_per_predictor(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    notes = replace(with_train(task, distinct(60)), program=Notes())
    best, poor = teacher(LARGE, "take", "judge"), teacher(SMALL, "take", "judge", rendering="completion")
    gone = dspy.Example(review="of a former data set", sentiment="positive").with_inputs("review")
    wrong = notes_runs(notes, poor, 60, score=0.0)[50:]
    stray = [run_of(poor, gone, [("take", {"review": "r"}, {"note": "n"})], 1.0)]
    recorded(studied, (best, notes_runs(notes, best, 30)), (poor, [*wrong, *stray]))
    written = write_finetune(exported_of(notes, folder=studied), out)
    assert [path.name for path in written] == [
        "take.train.jsonl", "take.validation.jsonl", "judge.train.jsonl", "judge.validation.jsonl",
        "card.json", "README.md",
    ]  # fmt: skip
    card = card_in(out)
    for one in card["predictors"]:
        assert one["sources"] == {"teacher local/large": 30}
        assert one["dropped"]["a teacher's run that the metric did not pass"] == 10
        rows = rows_in(out, prefix=f"{one['predictor']}.")
        assert len(rows) == 30
        for row in rows:
            check_format(row)
    assert all(reply(row).startswith("local/large notes") for row in rows_in(out, prefix="take."))
    assert {reply(row) for row in rows_in(out, prefix="judge.")} == {"positive", "negative"}
    assert "local/large" in card["cautions"][0]
    assert "terms" in card["cautions"][0]
    assert "of a former data set" not in json.dumps(rows_in(out, prefix="take."))


def test_what_several_teachers_wrote_alike_is_the_references(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    notes = replace(with_train(task, distinct(30)), program=Notes())
    best, *others = (
        teacher(model, "take", "judge", technique=technique)
        for model, technique in (
            (LARGE, "direct"),
            (SMALL, "direct"),
            (SMALL, "concise"),
            (SMALL, "self_check"),
        )
    )
    recorded(studied, *((one, notes_runs(notes, one, 25)) for one in (*others, best)))
    write_finetune(exported_of(notes, folder=studied), out)
    take, judge = card_in(out)["predictors"]
    assert take["sources"] == {"teacher local/large": 25, "teacher local/small": 25}
    assert judge["sources"] == {"teacher local/large": 25}
    assert judge["dropped"]["a repeat of another row"] == 75


def test_a_prompt_with_two_right_replies_is_on_one_side(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    records = distinct(60)
    for index, record in enumerate(records):
        record["sentiment"] = ("positive", "negative")[index % 2]
    notes = replace(with_train(task, records), program=dspy.Predict("note -> verdict"))
    best = teacher(LARGE, "self")
    runs = [
        run_of(best, e, [("self", {"note": f"on pair {index // 2}"}, {"verdict": e.sentiment})], 1.0)
        for index, e in enumerate(notes.dataset.train)
    ]
    recorded(studied, (best, runs))
    write_finetune(exported_of(notes, folder=studied), out)
    train, validation = ({prompt(row) for row in rows_in(out, parts=[p])} for p in ("train", "validation"))
    assert not train & validation
    assert card_in(out)["predictors"][0]["dropped"]["a row with the prompt of a validation row"] > 0


def test_a_reply_that_the_rendering_would_read_otherwise_is_not_learnt(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    free = replace(with_train(task, distinct(40)), program=dspy.Predict("review -> note"))
    best = teacher(LARGE, "self")
    runs = [
        run_of(
            best,
            e,
            [
                (
                    "self",
                    {"review": e.review},
                    {"note": "it says\nReview: fine" if index == 3 else e.review[:9]},
                )
            ],
            1.0,
        )
        for index, e in enumerate(free.dataset.train)
    ]
    recorded(studied, (best, runs))
    write_finetune(exported_of(free, folder=studied), out)
    assert len(rows_in(out)) == 39
    assert not any("it says" in reply(row) for row in rows_in(out))


def test_runs_scored_by_another_metric_teach_nothing(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    notes = replace(with_train(task, distinct(60)), program=Notes(), metric_hash="changed")
    best = teacher(LARGE, "take", "judge")
    recorded(studied, (best, notes_runs(notes, best, 30)))
    with pytest.raises(ExportError, match="a metric that has changed since: 30"):
        write_finetune(exported_of(notes, folder=studied), out)


def test_data_that_labels_a_predictor_comes_before_what_a_teacher_wrote(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    records = [record | {"note": f"known: {record['review'][:20]}"} for record in distinct(40)]
    del records[0]["note"]
    notes = replace(with_train(task, records), program=Notes())
    best = teacher(LARGE, "take", "judge")
    recorded(studied, (best, notes_runs(notes, best, 40)))
    write_finetune(exported_of(notes, folder=studied), out)
    for one in card_in(out)["predictors"]:
        assert one["sources"] == {"gold": 39, "teacher local/large": 1}
    assert sum("known: " in prompt(row) for row in rows_in(out, prefix="judge.")) == 39


def test_a_technique_that_reasons_learns_the_reasoning_of_runs_that_passed(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path, studied: StudyFolder
) -> None:
    plain = with_train(task, distinct(60))
    made = exported_of(plain, technique="chain_of_thought", folder=studied)
    with pytest.raises(ExportError, match=r"fix: .*larger budget(.|\n)*technique writes only"):
        write_finetune(made, out)

    def runs(of: Candidate, start: int, **thought: str) -> list[Rollout]:
        chosen = plain.dataset.train[start : start + 30]
        return [
            run_of(of, e, [("predict", {"review": e.review}, {**thought, "sentiment": e.sentiment})], 1.0)
            for e in chosen
        ]

    thinks = teacher(SMALL, "predict", technique="chain_of_thought", rendering="completion")
    direct = teacher(LARGE, "predict")
    thought = "It says so,\nplainly."
    recorded(studied, (thinks, runs(thinks, 0, reasoning=thought)), (direct, runs(direct, 10)))
    for rendering in ("turns", "json_object", "completion", "dspy_chat"):
        write_finetune(
            exported_of(plain, technique="chain_of_thought", rendering=rendering, folder=studied), out
        )
        (one,) = card_in(out)["predictors"]
        assert one["sources"] == {"teacher local/small": 30}
        assert (
            one["dropped"][
                "a teacher's call without all that the candidate's technique writes, such as reasoning"
            ]
            == 30
        )
        assert all("It says so," in reply(row) for row in rows_in(out))


def test_a_technique_of_several_calls_is_learnt_as_one_and_told_so(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    write_finetune(exported_of(with_train(task, distinct(30)), technique="self_consistency_3"), out)
    assert "3 calls" in card_in(out)["predictors"][0]["note"]
    assert {reply(row) for row in rows_in(out)} == {"positive", "negative"}


def test_a_predictor_served_in_its_own_way_is_written_in_its_own_rendering(
    task: LoadedTask, engines: dict[str, FakeEngine], out: Path
) -> None:
    own = Serving(model=SMALL.name, rendering="completion", technique="direct")
    write_finetune(exported_of(with_train(task, distinct(30)), rendering="json_object", serving=own), out)
    assert card_in(out)["predictors"][0]["format"] == "prompt-completion"
    assert {reply(row) for row in rows_in(out)} == {" positive", " negative"}


@pytest.mark.parametrize("program", ["extract", "pipeline", "rules"])
def test_the_example_programs_export_every_train_example_that_no_dev_or_test_prompt_equals(
    engines: dict[str, FakeEngine], out: Path, program: str
) -> None:
    loaded = load_task(PROGRAMS / f"{program}.py", models=(SMALL, LARGE))
    made = exported_of(loaded, rendering="compact")
    write_finetune(made, out)
    predictors = dict(made.compiled.module.named_predictors())
    for one in card_in(out)["predictors"]:
        rows = rows_in(out, prefix=f"{one['predictor']}." if len(predictors) > 1 else "")
        asked = predictors[one["predictor"]].signature
        sealed = {
            made.compiled.adapter().format(asked, [], {name: example[name] for name in asked.input_fields})[
                0
            ]["content"]
            for example in (*loaded.dataset.dev, *loaded.dataset.test)
        }
        assert not sealed & {prompt(row) for row in rows}
        alike = {"a repeat of another row", "a row with the prompt of a dev or test example"}
        assert one["dropped"].keys() <= alike
        assert len(rows) + sum(one["dropped"].values()) == len(loaded.dataset.train)
