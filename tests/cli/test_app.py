"""The command line: bad input gets one clear message and exit code 2, and writes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from results.studies import usual

import optimizers
from optimizers.cli.app import COMMANDS, app

PROGRAM = '''
import dspy
from typing import Literal
from optimizers import Task

class Sentiment(dspy.Signature):
    """Say whether a review is positive or negative."""
    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()

def metric(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)

task = Task(program=dspy.Predict(Sentiment), metric=metric, data="rows.csv", models=[MODELS])
'''


def optimize(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "optimizers.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '0'\n")
    rows = [
        f"the item {i} is {'good' if i % 2 else 'bad'},{'positive' if i % 2 else 'negative'}"
        for i in range(120)
    ]
    (tmp_path / "rows.csv").write_text("review,sentiment\n" + "\n".join(rows) + "\n")
    write_program(tmp_path, '"local/smollm2-135m-instruct"')
    return tmp_path


def write_program(project: Path, models: str) -> None:
    (project / "task.py").write_text(PROGRAM.replace("MODELS", models))


def refused(project: Path, *arguments: str) -> str:
    """Run a command that must be refused; returns its message."""
    before = sorted(path.name for path in project.iterdir())
    done = optimize(*arguments, cwd=project)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert [name for name in sorted(p.name for p in project.iterdir()) if name != "__pycache__"] == before
    return done.stderr


@pytest.mark.parametrize("budget", ["0", "-5", "lots", "1.5", ""])
def test_a_budget_that_is_no_number_of_trials(project: Path, budget: str) -> None:
    assert "--budget" in refused(project, "task.py", f"--budget={budget}")


def test_a_missing_program(project: Path) -> None:
    assert "nowhere.py" in refused(project, "nowhere.py", "--budget", "5")


def test_a_program_that_raises_names_its_line(project: Path) -> None:
    (project / "task.py").write_text("x = 1\ny = x / 0\n")
    message = refused(project, "task.py")
    assert "ZeroDivisionError" in message
    assert "line 2" in message


def test_a_program_without_a_task(project: Path) -> None:
    (project / "task.py").write_text("x = 1\n")
    assert "declares no task" in refused(project, "task.py")


def test_an_unknown_model(project: Path) -> None:
    write_program(project, '"local/smollm2-135m-instrukt"')
    assert "local/smollm2-135m-instruct" in refused(project, "task.py")


def test_an_unpriced_api_model_says_how_to_price_it(project: Path) -> None:
    write_program(project, '"openai/my-own-model"')
    message = refused(project, "task.py")
    assert "price" in message
    assert "openai/my-own-model" in message


def test_a_missing_data_file(project: Path) -> None:
    (project / "rows.csv").unlink()
    assert "rows.csv" in refused(project, "task.py")


def test_an_empty_data_file(project: Path) -> None:
    (project / "rows.csv").write_text("")
    assert "rows.csv" in refused(project, "task.py")


def test_a_column_the_program_needs_is_lacking(project: Path) -> None:
    text = (project / "rows.csv").read_text().replace("review,", "text,")
    (project / "rows.csv").write_text(text)
    message = refused(project, "task.py")
    assert "review" in message
    assert "text" in message


def test_a_label_outside_the_declared_set_is_named_with_its_row(project: Path) -> None:
    with (project / "rows.csv").open("a") as file:
        file.write("an odd one,neutral\n")
    message = refused(project, "task.py")
    assert "neutral" in message
    assert "121" in message or "122" in message


def test_too_few_rows_to_split(project: Path) -> None:
    lines = (project / "rows.csv").read_text().splitlines()[:12]
    (project / "rows.csv").write_text("\n".join(lines))
    assert "rows" in refused(project, "task.py")


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "x" * 200])
def test_a_study_name_that_is_no_folder_name(project: Path, name: str) -> None:
    assert "study" in refused(project, "task.py", "--study", name).lower()


def test_a_study_that_does_not_exist(project: Path) -> None:
    assert "nothing-here" in refused(project, "frontier", "nothing-here")


def test_help_loads_nothing_heavy(project: Path) -> None:
    code = "import sys; sys.argv = ['optimize', '--help']\nfrom optimizers.cli.app import main\n" + (
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'dspy', 'optuna', 'mlflow', 'litellm', 'datasets', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "frontier" in done.stdout


def test_the_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    done = optimize("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(r"prompt-parity \d+\.\d+\S*\n", done.stdout)


def completed(words: str, cwd: Path) -> list[str]:
    """What the shell offers for the last of some words, which may be empty."""
    done = subprocess.run(
        [sys.executable, "-m", "optimizers.cli"],
        cwd=cwd,
        env={
            **os.environ,
            "_OPTIMIZE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual(tmp_path / "runs", "first")
    usual(tmp_path / "runs", "fine")
    usual(tmp_path / "elsewhere", "far")
    assert completed("optimize fron", tmp_path) == ["frontier"]
    assert completed("optimize prog.py --mar", tmp_path) == ["--margin"]
    assert completed("optimize show fi", tmp_path) == ["fine", "first"]
    assert completed("optimize show --runs elsewhere f", tmp_path) == ["far"]
    assert completed("optimize run prog.py --from fir", tmp_path) == ["first"]
    assert completed("optimize help fro", tmp_path) == ["frontier"]
    # Which shell runs the tests is not Parity's: Typer then takes its name.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "complete" in optimize("--show-completion", "bash", cwd=tmp_path).stdout


def test_every_command_that_is_printed_somewhere_is_one_there_is() -> None:
    """Commands in messages and docstrings: their names and options are known."""
    commands: Any = typer.main.get_command(app)
    found = 0
    for path in Path(optimizers.__file__).parent.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            for name, rest in re.findall(r"(?<!to )optimize ([a-z]+)(?![\w/.-])([^;`'\"(]*)", line):
                if "import" in line:
                    continue
                assert name in COMMANDS, (path.name, line)
                options = {option for one in commands.commands[name].params for option in one.opts}
                assert set(re.findall(r"(?<![\w-])--[a-z-]+", rest)) <= options, (path.name, line)
                found += 1
    assert found > 20


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    whole = optimize("doctor", "--json", "--runs", str(runs), cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert {finding["level"] for finding in json.loads(whole.stdout)} <= {"ok", "warning"}
    runs.write_text("no folder")
    broken = optimize("doctor", "--runs", str(runs), cwd=tmp_path)
    assert broken.returncode == 1
    assert "--runs" in broken.stdout


def test_reports_and_comparisons_read_records_alone_and_name_what_is_lacking(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    usual(runs, "first")
    usual(runs, "second", metric="f1")
    code = (
        "import sys; sys.argv = ['optimize', 'report', 'first', '--runs', 'runs', '--out', 'report.html']\n"
        "from optimizers.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'dspy', 'optuna', 'mlflow', 'litellm', 'xllamacpp', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    for arguments, said in (
        (("report", "third"), "There is no study third"),
        (("report", "first", "--json", "--format", "html"), "--format"),
        (("compare", "first", "second"), "cannot be compared"),
    ):
        refusal = optimize(*arguments, "--runs", str(runs), cwd=tmp_path)
        assert refusal.returncode == 2
        assert said in refusal.stderr
        assert "Traceback" not in refusal.stderr
