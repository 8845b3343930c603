"""Options that several commands share, each declared once, and how a command finds its study.

Every option is an environment variable too: ``OPTIMIZE_`` and its name, as :mod:`optimizers.cli.app` has it.
What is given on the command line comes first, then the environment, then the program file.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from optimizers.errors import UsageError

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder

DEFAULT_BUDGET = "200"
INTERRUPTED, NO_MATCH = 130, 3
"""Exit codes: Ctrl-C, as shells have it; ``--require-match`` without a match."""


def complete_study(context: typer.Context, incomplete: str) -> list[str]:
    """Names of studies that begin like a word, for the shell's completion."""
    from optimizers.records.folder import list_studies

    found = list_studies(runs_folder(context.params.get("runs")))
    return [name for name in found if name.startswith(incomplete)]


ProgramArgument = Annotated[
    Path, typer.Argument(metavar="PROGRAM", help="Python file that ends with `task = Task(...)`.")
]
StudyArgument = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="Name of a finished study.", autocompletion=complete_study),
]
NewestArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="STUDY",
        help="Name of a finished study; the newest one if left out.",
        autocompletion=complete_study,
    ),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="AMOUNT",
        help="What the study may use, the sealed test included: 200 (trials), 5usd, 2Mtok, 3000calls, 30min, "
        f"or several, by comma or by repeating. {DEFAULT_BUDGET} trials if left out.",
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Model to search in place of the task's: NAME[,kind=...,price=IN/OUT,...]. Repeatable.",
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Model that a cheaper one must match, in place of the task's: the name of one of the models.",
    ),
]
MarginOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SCORE",
        help="Quality you accept to lose against the reference, in place of the task's: 0.02.",
    ),
]
ObjectivesOption = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="What to seek: quality,cost and optionally latency or robustness; or quality alone.",
    ),
]
RobustnessOption = Annotated[
    bool,
    typer.Option(
        "--robustness",
        help="Run the frontier on perturbed inputs and prompt injections too, within the budget.",
    ),
]
RequireOption = Annotated[
    bool,
    typer.Option(
        "--require-match",
        help=f"Exit with {NO_MATCH} unless a model other than the reference is shown to match it.",
    ),
]
RunsOption = Annotated[
    Path | None,
    typer.Option("--runs", metavar="FOLDER", help="Folder of studies; runs/ of the project if left out."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", envvar="OPTIMIZE_JSON", help="Print the result as JSON on stdout.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show every detail of the result.")]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show no progress and no notes, and only the answer."),
]


def set_volume(verbose: bool, quiet: bool) -> None:
    """Silence what is no result, where that is asked for.

    Raises:
        UsageError: Both more and less are asked for.
    """
    if verbose and quiet:
        raise UsageError("--verbose and --quiet contradict each other.", where="--quiet", fix="give one")
    from optimizers.cli import console

    console.stderr.quiet = quiet


def runs_folder(runs: Path | None) -> Path:
    """The folder of studies: as given, else ``runs/`` of the project around the working folder."""
    if runs is not None:
        return runs.absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            return folder / "runs"
    return here / "runs"


def study_folder(name: str | None, runs: Path | None, *, finished: bool | None = None) -> StudyFolder:
    """The folder of a study that exists.

    Args:
        name: The study's name; None for the one that was begun last, which the person is told of.
        runs: Folder of studies; that of the project if None.
        finished: Where no name is given, look only among those with a result, or without; None for all.

    Raises:
        StudyError: There is no such study.
    """
    from optimizers.records.folder import StudyFolder, newest_study

    there = runs_folder(runs)
    if name is not None:
        return StudyFolder.load(there, name)
    from optimizers.cli import console

    folder = newest_study(there, finished=finished)
    kind = {None: "", True: "finished ", False: "unfinished "}[finished]
    console.say(f"study {folder.path.name}: the newest {kind}one in {there}")
    return folder


def command_on(folder: StudyFolder, command: str) -> str:
    """A command that works on a study from the working folder, to be copied and run."""
    there = folder.path.parent.absolute()
    runs = "" if there == runs_folder(None) else f" --runs {quote(str(there))}"
    return f"optimize {command} {folder.path.name}{runs}"
