"""`optimize init --csv`: a program for a table, which runs as it is written; bad tables are refused."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, reviews
from typer.testing import CliRunner, Result

from optimizers.cli.app import app
from optimizers.errors import DataError, ParityError, UsageError, UserError
from optimizers.task.task import LoadedTask, load_task


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def optimize(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


def write(path: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def written(path: str, *arguments: str) -> tuple[str, LoadedTask]:
    """The program that the command writes for a table, and its task."""
    done = optimize("init", "--csv", path, *arguments)
    assert done.exit_code == 0
    program = Path(done.stdout.splitlines()[0])
    return program.read_text(encoding="utf-8"), load_task(program)


def test_the_printed_commands_run(
    here: Path, monkeypatch: pytest.MonkeyPatch, engines: dict[str, FakeEngine]
) -> None:
    write("my reviews.csv", ["review", "sentiment"], [list(row.values()) for row in reviews(120)])
    done = optimize("init", "--csv", "my reviews.csv", "--label", "sentiment", "new")
    assert done.stdout.splitlines() == ["new/my_reviews.py", "new/pyproject.toml"]
    change, *commands = [line.split("Next:")[-1].strip() for line in done.stderr.strip().splitlines()]
    assert change == "cd new"
    assert [shlex.split(command)[1] for command in commands] == ["doctor", "estimate", "my_reviews.py"]
    monkeypatch.chdir("new")
    monkeypatch.setattr("optimizers.cli.console.pull_weights", lambda models: None)
    for name, engine in (("smollm2-135m-instruct", "local/small"), ("gemma-3-270m", "local/large")):
        engines[f"local/{name}"] = engines[engine]
    for command in commands:
        words = shlex.split(command)[1:]
        done = optimize(*words[:-1], "5") if "--budget" in words else optimize(*words)
        assert done.exit_code == 0, done.stderr
    assert "my_reviews" in optimize("list").stdout


def test_few_answers_that_repeat_are_labels_in_their_most_common_spelling(here: Path) -> None:
    labels = ["fire", "Fire", "fire", 'the "flood"']
    write("claims.csv", ["text", "Class"], [[f"claim {n * 7919} of one", labels[n % 4]] for n in range(120)])
    program, task = written("claims.csv", "--label", "Class")
    assert 'Class: Literal["fire", "the \\"flood\\""] = dspy.OutputField()' in program
    assert 'data="claims.csv"' in program
    assert {example["Class"] for example in task.dataset.dev} == {"fire", 'the "flood"'}


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([1, 2, 3], "Literal[1, 2, 3]"),
        ([1.5, 2.5], "float"),
        (list(range(60)), "int"),
        ([f"a text {n}" for n in range(60)], "str"),
        (["x" * 100, "y"], "str"),
        ([True, False], "bool"),
        ([["a"], ["b", "c"]], "list[str]"),
    ],
)
def test_other_answers_have_the_type_of_their_values(here: Path, answers: list[Any], kind: str) -> None:
    rows = [{"text": f"row {n * 7919} here", "answer": answers[n % len(answers)]} for n in range(120)]
    Path("rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert f"answer: {kind} = " in written("rows.jsonl", "--label", "answer")[0]


def test_columns_that_python_cannot_name_are_renamed_in_a_copy(here: Path) -> None:
    columns = ["Claim Text", "from", "demos", "amount", "empty", "Class"]
    rows = [[f"claim {n * 7919}", f"x{n}", "a, b", n, "", "ab"[n % 2]] for n in range(120)]
    write("2024 claims.csv", columns, rows)
    program, task = written("2024 claims.csv", "--label", "Class", "sub")
    assert 'Claim_Text: str = dspy.InputField(desc="Claim Text")' in program
    assert 'data="column_2024_claims.jsonl"' in program
    example = task.dataset.dev[0]
    assert set(example.keys()) == {"Claim_Text", "from_", "demos_", "amount", "Class"}
    assert isinstance(example["amount"], int)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--csv", "rows.csv"], DataError, "--label with one of text, label"),
        (["--csv", "rows.csv", "--label", "labl"], DataError, "--label label"),
        (["--csv", "rows.csv", "--label", "text"], DataError, "too few|rows"),
        (["--csv", "one.csv", "--label", "label"], DataError, "'yes' in every row"),
        (["--csv", "few.csv", "--label", "label"], DataError, "rows"),
        (["--csv", "alone.csv", "--label", "label"], DataError, "one column"),
        (["--csv", "broken.csv", "--label", "label"], DataError, "quoting"),
        (["--csv", "nowhere.csv", "--label", "label"], DataError, "no data file"),
        (["--csv", "rows.xlsx", "--label", "label"], DataError, "CSV"),
        (["--label", "label"], UsageError, "--csv"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_and_nothing_written(
    here: Path, arguments: list[str], kind: type[ParityError], message: str
) -> None:
    texts = [f"text {n * 7919}" for n in range(60)]
    write("rows.csv", ["text", "label"], [[text, "ab"[n % 2]] for n, text in enumerate(texts[:30])])
    write("one.csv", ["text", "label"], [[text, "yes"] for text in texts])
    write("few.csv", ["text", "label"], [[text, "ab"[n % 2]] for n, text in enumerate(texts[:8])])
    write("alone.csv", ["label"], [["ab"[n % 2]] for n in range(60)])
    Path("broken.csv").write_text('text,label\n"a,b\n')
    before = sorted(here.rglob("*"))
    with pytest.raises(kind, match=message) as caught:
        optimize("init", *arguments, "new")
    assert caught.value.exit_code == 2
    assert caught.value.fix
    assert sorted(here.rglob("*")) == before


def test_a_program_of_the_same_name_is_left_alone(here: Path) -> None:
    write("rows.csv", ["text", "label"], [[f"text {n * 7919}", "ab"[n % 2]] for n in range(120)])
    Path("rows.py").write_text("mine")
    with pytest.raises(UserError, match=r"rows\.py exists"):
        optimize("init", "--csv", "rows.csv", "--label", "label")
    assert Path("rows.py").read_text() == "mine"
    assert not Path("pyproject.toml").exists()
