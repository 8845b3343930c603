"""Commands that read the records of studies alone. They load no model and no DSPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from optimizers.cli.options import (
    NO_MATCH,
    JsonOption,
    NewestArgument,
    QuietOption,
    RequireOption,
    RunsOption,
    VerboseOption,
    complete_study,
    runs_folder,
    set_volume,
    study_folder,
)
from optimizers.errors import StudyError, UsageError

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import FrontierReport

Format = Literal["terminal", "markdown", "html"]

BY_SUFFIX: dict[str, Format] = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}


@dataclass(frozen=True)
class Shown:
    """How a result is to be shown.

    Attributes:
        verbose: With every detail.
        quiet: The answer alone.
        as_json: As JSON.
        require_match: A result without a match is a failure.
    """

    verbose: bool
    quiet: bool
    as_json: bool
    require_match: bool


def list_studies(runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """List the studies: task, when, state, answer, spend. The newest comes first."""
    from optimizers.records import folder as folders

    there = runs_folder(runs)
    found = [_listed(folders.StudyFolder.at(there, name)) for name in folders.list_studies(there)]
    found.sort(key=lambda row: row["created"] or "", reverse=True)
    if as_json:
        import json

        print(json.dumps(found, indent=2))
        return
    from optimizers.cli import console

    if not found:
        console.say(f"There is no study in {there}.\n  fix:   {folders.NO_STUDY}")
        return
    console.show_rows([_cells(row) for row in found])


def frontier(
    study: NewestArgument = None,
    require_match: RequireOption = False,
    runs: RunsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a finished study's result. Loads no model."""
    set_volume(verbose, quiet)
    folder = study_folder(study, runs, finished=True)
    show_result(folder.read_report(), folder, Shown(verbose, quiet, as_json, require_match))


def report(
    study: NewestArgument = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            envvar="OPTIMIZE_FORMAT",
            metavar="terminal|markdown|html",
            help="How it is written; by the name of --out, else for the terminal.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write, in place of the terminal.")
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a full report of a finished study. What was asked, tried, found, missed and spent; what to do."""
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
    a: Annotated[
        str, typer.Argument(metavar="A", help="Name of a finished study.", autocompletion=complete_study)
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="Name of another one.", autocompletion=complete_study)
    ],
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the best of two finished studies. Test examples that both ran are paired."""
    from optimizers.results.compare import compare_studies

    found = compare_studies(study_folder(a, runs), study_folder(b, runs))
    if as_json:
        _write(found.model_dump_json(indent=2) + "\n", None)
        return
    from optimizers.results.render.compare_sections import to_markdown

    _print(to_markdown(found))


def advise(
    study: NewestArgument = None,
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


def show_result(report: FrontierReport, folder: StudyFolder, shown: Shown) -> None:
    """Print a study's result.

    Raises:
        typer.Exit: With 3, where a match is required that the result does not show.
    """
    from optimizers.cli import console

    if shown.as_json:
        print(report.model_dump_json(indent=2))
    elif shown.quiet:
        print(report.answer)
    else:
        console.show_report(report, folder.path, verbose=shown.verbose)
    if shown.require_match and not report.matched():
        console.say("No model other than the reference is shown to match it.")
        raise typer.Exit(NO_MATCH)


def _listed(folder: StudyFolder) -> dict[str, Any]:
    """A study as ``optimize list --json`` has it; of a broken record, what is wrong with it."""
    from optimizers.records.read_only import reading

    row: dict[str, Any] = dict.fromkeys(("task", "created", "state", "answer", "dollars", "calls", "trials"))
    row = {"study": folder.path.name, **row}
    try:
        known = folder.read_manifest()
        row |= {"task": known.task, "created": known.created.isoformat(), "state": "unfinished"}
        if folder.report.is_file():
            found = folder.read_report()
            spent = found.spend.total if found.spend else None
            row |= {"state": "finished", "answer": _short_answer(found), "trials": found.trials}
            row |= {"dollars": spent and spent.dollars, "calls": spent and round(spent.calls)}
        elif folder.ledger.is_file():
            with reading(folder.ledger) as ledger:
                used = ledger.used()
                row |= {"trials": len(ledger.trials())}
                row |= {"dollars": used.dollars, "calls": round(used.calls)}
    except StudyError as error:
        row |= {"state": "unreadable", "answer": error.what}
    return row


def _short_answer(report: FrontierReport) -> str:
    """The headline's answer, with the model that matches; its sentence where nothing was compared."""
    from optimizers.results.headline import headline

    found = headline(report)
    if found.answer is None:
        return found.short
    about = next(point for point in report.points if point.candidate.id == found.point)
    ratio = about.comparison and about.comparison.cost_ratio
    share = "" if ratio is None else f" at {ratio:.0%} of the cost"
    return f"yes: {about.candidate.label}{share}" if found.answer == "YES" else found.answer.lower()


def _cells(row: dict[str, Any]) -> dict[str, object]:
    """A study as a line of the table."""
    from datetime import datetime

    created = row["created"] and f"{datetime.fromisoformat(row['created']).astimezone():%Y-%m-%d %H:%M}"
    spent = "" if row["dollars"] is None else f"${row['dollars']:.4f}"
    return {
        "study": row["study"],
        "task": row["task"] or "",
        "began": created or "",
        "state": row["state"],
        "answer": row["answer"] or "",
        "spent": spent,
    }


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
            fix="name a file in an existing folder",
        ) from error
    print(out)
