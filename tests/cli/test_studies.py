"""Commands on what a study left behind: which study they take, and what they need of its folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import bound_by_permissions, manifest
from results.studies import usual
from typer.testing import CliRunner, Result

from optimizers.cli.app import app
from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder


def optimize(*arguments: str, runs: Path) -> Result:
    """Run a command on a folder of studies; what it raises is raised here."""
    return CliRunner().invoke(app, [*arguments, "--runs", str(runs)], catch_exceptions=False)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two finished studies and a newer one that was interrupted."""
    usual(tmp_path, "first", created=datetime(2026, 1, 1, tzinfo=UTC))
    usual(tmp_path, "second", created=datetime(2026, 1, 2, tzinfo=UTC))
    StudyFolder.create(tmp_path, manifest(name="third", created=datetime(2026, 1, 3, tzinfo=UTC)))
    return tmp_path


@pytest.mark.parametrize("command", ["frontier", "report", "advise"])
def test_the_newest_finished_study_is_taken_and_named(command: str, runs: Path) -> None:
    found = optimize(command, runs=runs)
    assert "study second: the newest finished one" in found.stderr
    assert found.stdout == optimize(command, "second", runs=runs).stdout


def test_json_of_the_newest_study_is_nothing_but_json(runs: Path) -> None:
    assert optimize("frontier", "--json", runs=runs).stdout.startswith("{")


def test_the_interrupted_study_is_the_one_resumed_and_a_finished_one_the_one_exported(runs: Path) -> None:
    # Neither has a program file here, so both end there, after the study was taken.
    for command, taken in (("resume", "third: the newest unfinished"), ("export", "second: the newest fin")):
        runner = CliRunner().invoke(app, [command, "--runs", str(runs)])
        assert f"study {taken}" in runner.stderr, command


def test_studies_are_listed_newest_first_with_state_answer_and_spend(runs: Path) -> None:
    broken = runs / "broken"
    broken.mkdir()
    (broken / "study.json").write_text("{")
    found = json.loads(optimize("list", "--json", runs=runs).stdout)
    assert [one["study"] for one in found] == ["third", "second", "first", "broken"]
    assert [one["state"] for one in found] == ["unfinished", "finished", "finished", "unreadable"]
    third, second, _, unreadable = found
    assert (second["task"], second["calls"], second["dollars"]) == ("reviews", 5, 2.5)
    assert second["answer"] in ("no", "not settled")
    assert (third["answer"], third["dollars"]) == (None, None)
    assert "cannot be read" in unreadable["answer"]
    lines = optimize("list", runs=runs).stdout.split("third")[1]
    assert "2026-01-02" in lines
    assert "$2.5000" in lines


def test_a_match_is_listed_as_yes_with_its_model(tmp_path: Path) -> None:
    usual(tmp_path, "same", small={0: "good", 4: "good"}, margin=0.5)
    (found,) = json.loads(optimize("list", "--json", runs=tmp_path).stdout)
    assert found["answer"] == "yes: small at 10% of the cost"


def test_where_there_is_nothing_to_list_it_says_what_to_do(tmp_path: Path) -> None:
    found = optimize("list", runs=tmp_path)
    assert found.exit_code == 0
    assert "optimize PROGRAM" in found.stderr
    assert json.loads(optimize("list", "--json", runs=tmp_path).stdout) == []


def test_quiet_shows_the_answer_alone(runs: Path) -> None:
    report = StudyFolder.load(runs, "second").read_report()
    found = optimize("frontier", "-q", runs=runs)
    assert found.stdout == f"{report.answer}\n"
    assert found.stderr == ""
    assert optimize("frontier", "-q", "--require-match", runs=runs).exit_code == 3


@pytest.mark.parametrize("command", ["frontier", "report", "advise", "resume", "export", "show", "dashboard"])
def test_where_there_is_no_study_the_error_says_so(command: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There is no study yet"):
        optimize(command, runs=tmp_path)


def test_records_alone_are_read_in_a_folder_that_nobody_may_write_in(runs: Path) -> None:
    commands = (["frontier"], ["report"], ["advise"], ["compare", "first", "second"], ["list"])
    allowed = [optimize(*arguments, runs=runs).stdout for arguments in commands]
    code = (
        "import sys; from optimizers.cli.app import main\n"
        "try: open(sys.argv[-1] + '/second/probe', 'w'); sys.exit('it can be written')\n"
        "except PermissionError: main()\n"
    )
    with read_only(runs):
        for arguments, said in zip(commands, allowed, strict=True):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments, "--runs", str(runs)],
                capture_output=True,
                text=True,
                timeout=120,
                preexec_fn=bound_by_permissions,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout == said


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write away from a folder and all in it, while the block runs."""
    inside = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in inside]
    for path, mode in zip(inside, modes, strict=True):
        path.chmod(mode & ~0o222)
    yield
    for path, mode in zip(inside, modes, strict=True):
        path.chmod(mode)
