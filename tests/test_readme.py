"""The README's commands are the ones that are checked."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from optimizers.cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readmes_test_command() -> None:
    if not (ROOT / ".ci" / "run").exists():
        pytest.skip("the checkout's own check, not shipped")
    (command,) = re.findall(r"^python3 -m venv .*pytest -n 2 --dist loadfile$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_command_in_the_table_exists() -> None:
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    named = [shlex.split(found)[0] for found in re.findall(r"^\| `optimize ([a-z]+)", README, re.MULTILINE)]
    assert len(named) >= 5
    assert set(named) <= known


def test_the_example_program_is_a_task(tmp_path: Path) -> None:
    from optimizers.task.task import declared_task

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "weights-instruct-1b.gguf").touch()
    path = tmp_path / "route.py"
    path.write_text(code.replace("local//path/to/weights.gguf", f"local/{tmp_path}/weights-instruct-1b.gguf"))
    task = declared_task(path)
    assert task.reference == "openai/NAME"
    assert len(task.models) == 3
