"""What of a project travels with a program file."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from optimizers.export.program_sources import pinned_requirements, sources_of


def write(project: Path, **files: str) -> Path:
    for name, text in files.items():
        path = project / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return project


def test_the_modules_a_program_imports_travel_and_no_others(tmp_path: Path) -> None:
    project = write(
        tmp_path,
        programs__route="import json, yaml\nfrom rules import words\nfrom optimizers import Task\n",
        programs__other="import rules.unused\n",
        rules__words="from . import lists\nfrom ..shared.text import lower\n",
        rules__lists="def late():\n    import deep.inner\n",
        rules__unused="",
        shared__text="import datasets.features",
        deep__inner="",
        optimizers__task="",
    )
    (project / "rules" / "__init__.py").write_text("from rules.lists import *\n")
    (project / "datasets").mkdir()
    (project / "datasets" / "rows.csv").write_text("private\n")
    found = sources_of(project / "programs" / "route.py", project)
    assert {file.relative_to(project).as_posix() for file in found.files} == {
        "programs/route.py",
        "rules/__init__.py",
        "rules/words.py",
        "rules/lists.py",
        "shared/text.py",
        "deep/inner.py",
    }
    # A folder of data is no package, whatever it is called.
    assert found.packages == {"yaml", "datasets"}


def test_requirements_are_what_is_installed_here() -> None:
    pinned = pinned_requirements(["yaml", "pytest", "nothing_of_this_name"])
    assert {f"{name}=={version(name)}" for name in ("dspy", "mlflow", "PyYAML", "pytest")} <= set(pinned)
    assert all("==" in requirement for requirement in pinned)
    assert not any(requirement.startswith(("prompt-parity", "mypy", "hypothesis")) for requirement in pinned)
