"""``optimize export``: a point of a frontier as something an app can use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizers.cli.options import NewestArgument, RunsOption, study_folder
from optimizers.models.third_party import silence


def export(
    study: NewestArgument = None,
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="dspy, openai, python, promptfoo, inspect, prompty, litellm, mlflow or finetune.",
        ),
    ] = "dspy",
    point: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Candidate id of a frontier point; the best one if left out."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder to write; runs/STUDY/exports/TARGET if left out."),
    ] = None,
    runs: RunsOption = None,
) -> None:
    """Write a point of the frontier for an app to use. It is verified against the compiled program."""
    silence()
    from optimizers.export import export_point

    folder = study_folder(study, runs, finished=True)
    for path in export_point(folder, target=to, point=point, out=out):
        print(path)
