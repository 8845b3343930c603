"""Running studies from the command line: reference, margin, environment, how much is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main
from fakes import FakeEngine, interrupt
from typer.testing import CliRunner, Result

from optimizers.cli.app import app
from optimizers.errors import TaskError, UsageError
from optimizers.records.folder import StudyFolder, list_studies

PROGRAM = """
from fakes import LARGE, SMALL, Classify, reviews, sentiment_matches
from optimizers import Task

task = Task(program=Classify(), metric=sentiment_matches, data=reviews(240), models=[SMALL, LARGE])
"""


@pytest.fixture
def program(tmp_path: Path, engines: dict[str, FakeEngine]) -> Path:
    (tmp_path / "mine.py").write_text(PROGRAM)
    return tmp_path / "mine.py"


def optimize(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False, env=env)


def only_study(program: Path) -> StudyFolder:
    (name,) = list_studies(program.parent / "runs")
    return StudyFolder.load(program.parent / "runs", name)


def test_reference_and_margin_of_the_command_line_hold_for_the_whole_study(
    program: Path, engines: dict[str, FakeEngine]
) -> None:
    interrupt(engines, at=60)
    asked = (program, "--budget", "6", "--reference", "small", "--margin", "0.1")
    stopped = optimize(*asked)
    folder = only_study(program)
    assert stopped.exit_code == 130
    assert f"optimize resume {folder.path.name} --runs {folder.path.parent}" in stopped.stderr
    assert optimize("resume", folder.path.name, "--runs", folder.path.parent, "--quiet").exit_code == 0
    known, report = folder.read_manifest(), folder.read_report()
    assert (known.reference, known.margin) == (report.reference, report.margin) == ("local/small", 0.1)
    # The same command shows the finished study.
    assert optimize(*asked, "-q").stdout == f"{report.answer}\n"
    assert len(list_studies(folder.path.parent)) == 1


@pytest.mark.parametrize("command", ["run", "estimate"])
def test_a_reference_that_is_no_model_of_the_study_is_refused_with_those_there_are(
    program: Path, command: str
) -> None:
    with pytest.raises(UsageError, match="--reference") as caught:
        optimize(command, program, "--reference", "local/huge")
    assert "local/small, local/large" in str(caught.value)
    assert not (program.parent / "runs").exists()


def test_a_reference_of_the_task_is_added_to_the_models_of_the_command_line(
    program: Path, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    weights = tmp_path / "other-instruct-1b.gguf"
    weights.touch()
    engines[f"local/{weights}"] = FakeEngine()
    done = optimize("estimate", program, "--model", f"local/{weights},price=9/9", "--reference", "large")
    assert done.exit_code == 0
    with pytest.raises(UsageError, match="none of the models"):
        optimize("estimate", program, "--model", f"local/{weights}", "--reference", "huge")


@pytest.mark.parametrize("margin", ["2", "-0.1", "much"])
def test_a_margin_out_of_range_is_refused(program: Path, margin: str) -> None:
    refused = optimize("estimate", program, f"--margin={margin}")
    assert refused.exit_code == 2
    assert "--margin" in refused.stderr
    with pytest.raises(TaskError, match="margin"):
        optimize("estimate", program, "--margin", "1")


def test_the_command_line_comes_before_the_environment_and_that_before_the_task(program: Path) -> None:
    environment = {"OPTIMIZE_MARGIN": "0.3", "OPTIMIZE_BUDGET": "7"}

    def shown(*arguments: str, **env: str) -> str:
        return optimize("estimate", program, *arguments, env=env).stdout

    assert "you allow 2." in shown()
    assert "you allow 30." in shown(**environment)
    assert "budget 7 trials" in shown(**environment)
    assert "you allow 40." in shown("--margin", "0.4", **environment)


def test_every_option_has_the_variable_of_its_name() -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert command.context_settings["auto_envvar_prefix"] == "OPTIMIZE"
        for option in (one for one in command.params if one.param_type_name == "option"):
            (flag,) = [one for one in option.opts if one.startswith("--")]
            variable = option.envvar or f"OPTIMIZE_{option.name.upper()}"
            plain = f"OPTIMIZE_{flag[2:].upper().replace('-', '_')}"
            assert variable in (plain, plain.replace("_", "_TRANSFER_", 1)), (name, flag)


def test_quiet_shows_the_answer_alone_and_verbose_contradicts_it(program: Path) -> None:
    done = optimize(program, "--budget", "6", "-q")
    assert done.stderr == ""
    assert done.stdout == f"{only_study(program).read_report().answer}\n"
    with pytest.raises(UsageError, match="contradict"):
        optimize(program, "-q", "-v")
