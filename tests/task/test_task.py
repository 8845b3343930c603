"""Program files: what DSPy users have already, and what they get wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest

from optimizers import Task
from optimizers.errors import DataError, TaskError
from optimizers.task.program_file import project_folder
from optimizers.task.task import load_task

PROGRAM = '''
import dspy
from typing import Literal
from optimizers import Task, model

class Sentiment(dspy.Signature):
    """Say whether a review is positive or negative."""
    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()

class Program(dspy.Module):
    def __init__(self):
        super().__init__()
        self.classify = dspy.ChainOfThought(Sentiment)
    def forward(self, review: str):
        return self.classify(review=review)

def metric(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)

rows = [dspy.Example(review=f"number {i} is {w}", sentiment=s).with_inputs("review")
        for i in range(40) for w, s in (("good", "positive"), ("poor", "negative"))]
'''

TASK = """
task = Task(program=Program(), metric=metric, data=rows,
            models=["local/smollm2-135m-instruct", model("openai/mine", price=(1, 2), size=7)])
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_a_task_is_resolved_whole(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, PROGRAM + TASK))
    assert (task.name, task.metric_name, task.margin) == ("mine", "metric", 0.02)
    assert [model.name for model in task.models] == ["local/smollm2-135m-instruct", "openai/mine"]
    assert task.reference.name == "openai/mine"
    example = task.dataset.dev[0]
    assert set(example.inputs().keys()) == {"review"}
    assert example.sentiment in ("positive", "negative")


def test_a_plain_dspy_file_works(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, PROGRAM + "\nprogram, trainset = Program(), rows\n"))
    assert [model.name for model in task.models] == ["local/smollm2-135m-instruct", "local/gemma-3-270m"]


def test_the_fingerprint_changes_with_the_program_and_the_models(tmp_path: Path) -> None:
    first = load_task(write(tmp_path, PROGRAM + TASK))
    assert load_task(tmp_path / "mine.py").fingerprint == first.fingerprint
    assert load_task(tmp_path / "mine.py", margin=0.3).fingerprint != first.fingerprint
    other = next(model for model in first.models if model != first.reference)
    assert load_task(tmp_path / "mine.py", reference=other.name).fingerprint != first.fingerprint
    assert load_task(tmp_path / "mine.py", reference=first.reference.name).fingerprint == first.fingerprint
    assert load_task(write(tmp_path, PROGRAM + TASK + "\n# changed\n")).fingerprint != first.fingerprint
    assert replace(first, models=first.models[:1]).fingerprint != first.fingerprint


def test_the_projects_own_modules_win(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "programs").mkdir()
    (tmp_path / "house_metrics.py").write_text("def metric(example, pred, trace=None):\n    return 1.0\n")
    program = write(tmp_path / "programs", PROGRAM + "\nfrom house_metrics import metric\n" + TASK)
    assert project_folder(program) == tmp_path.resolve()
    assert load_task(program).metric(None, None) == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = Task(program=None, metric=metric, data=rows)", "program is a NoneType"),
        ("task = Task(program=Program(), metric=3, data=rows)", "metric cannot be called"),
        ("task = Task(program=Program(), metric=metric, data=rows, models=[])", "names no model"),
        ("task = Task(program=Program(), metric=metric, data=rows, margin=1.5)", "margin"),
        (
            'task = Task(program=Program(), metric=metric, data=rows, reference="openai/x")',
            "not among the models",
        ),
        (
            'task = Task(program=Program(), metric=metric, data=rows, models=["local/gemma-3-270m"] * 2)',
            "twice",
        ),
        ("task = 7", "`task` is a int"),
        (
            'task = Task(program=Program(), metric=metric, data=rows, models="local/gemma-3-270m")',
            r"models are no list(.|\n)*line 24(.|\n)*models=\[\"local/gemma-3-270m\"\]",
        ),
        (
            'task = Task(program=Program(), metric=metric, data=rows, models=model("local/gemma-3-270m"))',
            r"models are no list(.|\n)*models=\[\"local/gemma-3-270m\"\]",
        ),
        ('model("local/gemma-3-270")', r"^There is no local model(.|\n)*line 24(.|\n)*did you mean"),
        ("task = Task(program=Program(), metric=lambda pred: 1.0, data=rows)", "an example and a prediction"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        load_task(write(tmp_path, PROGRAM + "\n" + text + "\n"))
    assert "mine.py" in str(caught.value)


def test_typed_labels_reach_the_metric_as_their_type(tmp_path: Path) -> None:
    text = PROGRAM.replace('Literal["positive", "negative"]', "bool").replace('"positive"', "True")
    task = load_task(write(tmp_path, text.replace('"negative"', '"false"') + TASK))
    values: set[Any] = {example.sentiment for example in task.dataset.train}
    assert values == {True, False}


@pytest.mark.parametrize("name", ["a\\0b", "a\\nb", "\\x1b[2J", "half \\ud83d", "x" * 300])
def test_a_name_that_nothing_could_show_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TaskError, match="The task's name"):
        load_task(write(tmp_path, PROGRAM + TASK.replace("Task(", f'Task(name="{name}", ')))


@pytest.mark.parametrize("place", ["Say whether", "dspy.InputField("])
def test_half_a_character_in_what_a_model_is_told_is_refused(tmp_path: Path, place: str) -> None:
    half = "\\ud83d Say whether" if place == "Say whether" else 'dspy.InputField(desc="\\ud83d"'
    with pytest.raises(TaskError, match=r"half a character|surrogates not allowed"):
        load_task(write(tmp_path, PROGRAM.replace(place, half) + TASK))


def test_a_dspy_lm_is_a_model_too(tmp_path: Path) -> None:
    text = """
task = Task(program=Program(), metric=metric, data=rows,
            models=["local/smollm2-135m-instruct", dspy.LM("openai/gpt-4o-mini")],
            proposer=dspy.LM("openai/gpt-4o-mini"))
"""
    task = load_task(write(tmp_path, PROGRAM + text))
    assert [model.name for model in task.models] == ["local/smollm2-135m-instruct", "openai/gpt-4o-mini"]
    assert task.proposer is not None
    with pytest.raises(TaskError, match="no list"):
        Task(program=task.program, metric=task.metric, data=(), models=dspy.LM("openai/gpt-4o-mini"))


STRUCTURED = PROGRAM.replace('sentiment: Literal["positive", "negative"]', "tags: list[str]").replace(
    "example.sentiment == pred.sentiment", "example.tags == pred.tags"
)


def test_cells_of_a_text_file_are_read_as_the_lists_they_spell(tmp_path: Path) -> None:
    lines = ["review,tags", *(f'number {n},"[""a"", ""b{n % 2}""]"' for n in range(60))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    text = STRUCTURED + "\ntask = Task(program=Program(), metric=metric, data='rows.csv')\n"
    task = load_task(write(tmp_path, text))
    assert {tuple(example.tags) for example in task.dataset.dev} <= {("a", "b0"), ("a", "b1")}
    (tmp_path / "rows.csv").write_text("\n".join([*lines, "number 60,a; b"]))
    with pytest.raises(DataError, match="no value of its type") as error:
        load_task(write(tmp_path, text))
    assert "row 61" in str(error.value.where)


def test_a_closed_output_that_may_be_none_has_labels(tmp_path: Path) -> None:
    own = PROGRAM.replace('Literal["positive", "negative"]', 'Literal["positive", "negative"] | None')
    lines = ["review,sentiment", *(f"number {n},{('POSITIVE', 'negative', '')[n % 3]}" for n in range(90))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    text = own + "\ntask = Task(program=Program(), metric=metric, data='rows.csv')\n"
    task = load_task(write(tmp_path, text))
    assert {example.sentiment for example in task.dataset.train} == {"positive", "negative", None}
    (tmp_path / "rows.csv").write_text("\n".join([*lines, "number 90,typo"]))
    with pytest.raises(DataError, match="typo"):
        load_task(write(tmp_path, text))


def test_a_column_that_the_program_declares_as_text_stays_as_it_is_written(tmp_path: Path) -> None:
    sized = "review: str = dspy.InputField()\n    size: int = dspy.InputField()"
    own = PROGRAM.replace("review: str = dspy.InputField()", sized).replace(
        "review: str):", "review: str, size: int):"
    )
    own = own.replace('Literal["positive", "negative"]', 'Literal["0.5", "1.0"]')
    lines = ["review,size,sentiment", *(f"{n}.50,{n},{('0.5', '1.0')[n % 2]}" for n in range(60))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    text = own + "\ntask = Task(program=Program(), metric=metric, data='rows.csv')\n"
    example = load_task(write(tmp_path, text)).dataset.dev[0]
    assert example.review == f"{example.size}.50"
    assert example.sentiment in ("0.5", "1.0")
    assert isinstance(example.size, int)
