"""``optimize init``: a workspace to start from, or a program for a table of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from optimizers.errors import UsageError, UserError

PARTS = ("programs", "metrics", "data")
SUFFIXES = frozenset({".py", ".toml"})

PYPROJECT = "pyproject.toml"
PROJECT = b"""\
[project]
name = "prompts"
version = "0.1.0"
dependencies = ["prompt-parity"]
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to make.")] = Path("."),
    csv: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write a program for this data instead: CSV, TSV, JSON, JSONL, Parquet or hf://OWNER/NAME.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of --csv that holds the answers; the others are inputs."),
    ] = None,
) -> None:
    """Start a workspace of examples, or write a program for a table."""
    if csv is None:
        if label is not None:
            raise UsageError("--label names a column of --csv.", where="--label", fix="give --csv FILE too")
        written = write_workspace(folder)
        commands = ["optimize programs/classify.py --budget 50"]
    else:
        from optimizers.models.third_party import silence

        silence()
        from optimizers.cli.table_program import write_program

        written = write_program(csv, label, folder)
        name = quote(written[0].name)
        commands = [f"optimize doctor {name}", f"optimize estimate {name}", f"optimize {name} --budget 50"]
    for path in written:
        print(path)
    if folder.resolve() != Path.cwd():
        commands = [f"cd {quote(str(folder))}", *commands]
    print("\nNext: " + "\n      ".join(commands), file=sys.stderr)


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
        UserError: A file of the same name exists, and nothing is written; or it cannot be written.
    """
    source = scaffold_folder()
    wanted = {
        folder / file.relative_to(source): file.read_bytes()
        for part in PARTS
        for file in sorted((source / part).rglob("*"))
        if file.suffix in SUFFIXES and "__pycache__" not in file.parts
    }
    if not (folder / PYPROJECT).exists():
        wanted[folder / PYPROJECT] = PROJECT
    return write_new(folder, wanted)


def write_new(folder: Path, wanted: dict[Path, bytes]) -> list[Path]:
    """Write files, none of which may exist.

    Args:
        folder: Their folder, for messages.
        wanted: Path -> content.

    Returns:
        The files written, in the order given.

    Raises:
        UserError: A file exists already, and nothing is written; or it cannot be written.
    """
    taken = [path for path in wanted if path.exists()]
    if taken:
        raise UserError(
            f"{taken[0].name} exists already" + (f", as {len(taken) - 1} others do." if taken[1:] else "."),
            where=str(taken[0].parent),
            fix="give another folder: optimize init FOLDER",
        )
    try:
        for target, content in wanted.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"The files cannot be written: {error.strerror}.",
            where=str(folder),
            fix="give a folder that can be written to: optimize init FOLDER",
        ) from error
    return list(wanted)
