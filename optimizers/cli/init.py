"""`optimize init`: a workspace to start from, copied out of the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from optimizers.errors import UserError

PARTS = ("programs", "metrics", "data")
SUFFIXES = frozenset({".py", ".toml"})

PYPROJECT = """\
[project]
name = "prompts"
version = "0.1.0"
dependencies = ["prompt-parity"]
"""


def scaffold_folder() -> Path:
    """Where the package keeps its scaffold: inside the wheel, or the checkout it was installed from."""
    package = Path(__file__).parent
    shipped = package / "scaffold"
    return shipped if shipped.is_dir() else package.parents[1]


def write_workspace(folder: Path) -> list[Path]:
    """Copy the example programs, metrics and data cards into a folder, and give it a pyproject.toml.

    Args:
        folder: The workspace; made when missing.

    Returns:
        The files written.

    Raises:
        UserError: A file of the same name is there already, and nothing is written; or it cannot be written.
    """
    source = scaffold_folder()
    wanted = {
        folder / file.relative_to(source): file
        for part in PARTS
        for file in sorted((source / part).rglob("*"))
        if file.suffix in SUFFIXES and "__pycache__" not in file.parts
    }
    taken = [path for path in wanted if path.exists()]
    if taken:
        raise UserError(
            f"{len(taken)} files of the workspace are here already, {taken[0].name} among them.",
            where=str(folder),
            fix="give another folder: optimize init FOLDER",
        )
    written = list(wanted)
    pyproject = folder / "pyproject.toml"
    try:
        for target, file in wanted.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        if not pyproject.exists():
            pyproject.write_text(PYPROJECT, encoding="utf-8")
            written.append(pyproject)
    except OSError as error:
        raise UserError(
            f"The workspace cannot be written: {error.strerror}.",
            where=str(folder),
            fix="give a folder that can be written to: optimize init FOLDER",
        ) from error
    return written
