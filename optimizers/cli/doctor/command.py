"""``optimize doctor``: would a study run here?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from optimizers.cli.options import JsonOption, RunsOption, runs_folder
from optimizers.models.third_party import silence


def doctor(
    program: Annotated[
        Path | None, typer.Argument(metavar="PROGRAM", help="Program file to check too.")
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what would stop or spoil a study. Pulls nothing, and costs nothing."""
    silence()
    from dataclasses import asdict

    from optimizers.cli.doctor.diagnose import diagnose, show
    from optimizers.task.program_file import project_folder

    findings = diagnose(
        program, runs or (runs_folder(None) if program is None else project_folder(program) / "runs")
    )
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from optimizers.cli import console

        show(findings, console.stdout)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)
