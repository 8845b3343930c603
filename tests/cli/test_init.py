"""`optimize init`: a workspace that runs, and never overwrites one."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizers.cli.init import write_workspace
from optimizers.errors import UserError
from optimizers.task.program_file import project_folder


def test_a_workspace_holds_what_its_programs_need(tmp_path: Path) -> None:
    written = {path.relative_to(tmp_path).as_posix() for path in write_workspace(tmp_path)}
    expected = {
        "programs/classify.py",
        "programs/categorize.py",
        "metrics/exact.py",
        "data/reviews.toml",
        "pyproject.toml",
    }
    assert expected <= written
    assert project_folder(tmp_path / "programs" / "classify.py") == tmp_path.resolve()


def test_a_workspace_inside_another_project_is_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '0'\n")
    write_workspace(tmp_path / "mine")
    assert project_folder(tmp_path / "mine" / "programs" / "classify.py") == (tmp_path / "mine").resolve()


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UserError, match="cannot be written"):
        write_workspace(tmp_path / "taken")


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    mine = tmp_path / "programs" / "classify.py"
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"classify\.py"):
        write_workspace(tmp_path)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "metrics").exists()
