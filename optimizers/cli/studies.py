"""Commands that read finished studies' records alone, and how a command finds its study.

They load no model and no DSPy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from optimizers.errors import UsageError

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import FrontierReport

FinishedArgument = Annotated[
    str | None, typer.Argument(help="Name of a finished study; the newest one if left out.")
]
RunsOption = Annotated[
    Path | None,
    typer.Option(
        "--runs", envvar="OPTIMIZE_RUNS", help="Folder of studies; runs/ of the project if left out."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
RequireOption = Annotated[
    bool,
    typer.Option(
        "--require-match", help="Exit with 3 unless a model other than the reference is shown to match it."
    ),
]

Format = Literal["terminal", "markdown", "html"]

UNMET = 3

BY_SUFFIX: dict[str, Format] = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}


def frontier(
    study: FinishedArgument = None,
    require_match: RequireOption = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a finished study's frontier. Loads no model."""
    folder = study_folder(study, runs, finished=True)
    show_result(folder.read_report(), folder, as_json, require_match)


def report(
    study: FinishedArgument = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="How it is written; by the name of --out, else for the terminal."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, in place of the terminal.")
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report on a finished study. Says what it asked, tried, found, missed and cost, and what to do next."""
    if as_json and form is not None:
        raise UsageError(
            f"--json and --format {form} are two forms of one report.",
            where="--format",
            fix="give one of them",
        )
    from optimizers.results.study_report import study_report

    found = study_report(study_folder(study, runs, finished=True))
    if as_json:
        _write(found.model_dump_json(indent=2) + "\n", out)
        return
    from optimizers.results.render.markdown import to_markdown

    markdown = to_markdown(found)
    chosen = form or (BY_SUFFIX.get(out.suffix.lower(), "terminal") if out else "terminal")
    if chosen == "markdown":
        _write(markdown, out)
    elif chosen == "html":
        from optimizers.results.render.html import to_html

        _write(to_html(markdown, f"{found.manifest.task}: {found.manifest.name}"), out)
    elif out is not None:
        from optimizers.results.render.terminal import to_text

        _write(to_text(markdown), out)
    else:
        _print(markdown)


def compare(
    a: Annotated[str, typer.Argument(help="Name of a finished study.")],
    b: Annotated[str, typer.Argument(help="Name of another one, held against the first.")],
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the best of one finished study against another's. Test examples that both ran are paired."""
    from optimizers.results.compare import compare_studies

    found = compare_studies(study_folder(a, runs), study_folder(b, runs))
    if as_json:
        _write(found.model_dump_json(indent=2) + "\n", None)
        return
    from optimizers.results.render.compare_sections import to_markdown

    _print(to_markdown(found))


def advise(
    study: FinishedArgument = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what to do after a finished study. Search on, ship a point, or fine-tune a small model?"""
    from optimizers.results.advice import advice_of
    from optimizers.results.finished_study import open_study

    folder = study_folder(study, runs, finished=True)
    with open_study(folder) as known:
        found = advice_of(known.manifest, known.report, known.ledger)
    if as_json:
        _write(found.model_dump_json(indent=2) + "\n", None)
        return
    from optimizers.results.render.markdown import advice_to_markdown

    _print(advice_to_markdown(found, folder.path.name))


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
    folder = newest_study(there, finished=finished)
    kind = {None: "", True: "finished ", False: "unfinished "}[finished]
    print(f"study {folder.path.name}: the newest {kind}one in {there}", file=sys.stderr)
    return folder


def show_result(report: FrontierReport, folder: StudyFolder, as_json: bool, require_match: bool) -> None:
    """Print a study's result.

    Raises:
        typer.Exit: With 3, where a match is required that the result does not show.
    """
    from optimizers.cli import console

    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        console.show_report(report, folder.path)
    if require_match and not report.matched():
        console.say("No model other than the reference is shown to match it.")
        raise typer.Exit(UNMET)


def _print(markdown: str) -> None:
    from rich.console import Console

    from optimizers.results.render.terminal import show

    show(markdown, Console())


def _write(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"The file cannot be written: {error.strerror}",
            where=str(out),
            fix="name a file in a folder there is",
        ) from error
    print(out)
