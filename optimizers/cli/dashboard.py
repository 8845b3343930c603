"""``optimize dashboard``: a study in MLflow."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizers.cli.options import RunsOption, complete_study, study_folder
from optimizers.models.third_party import silence


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY", help="Study to show; the newest if left out.", autocompletion=complete_study
        ),
    ] = None,
    runs: RunsOption = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="N", help="MLflow's port on this machine.")
    ] = 5000,
    in_browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            envvar="OPTIMIZE_OPEN",
            help="Open the browser; if left out, at a terminal with a display.",
        ),
    ] = None,
) -> None:
    """Show a study in MLflow until Ctrl-C. Optuna's dashboard opens too, where it is installed."""
    silence()
    from optimizers.records.tracking.dashboard import display_there, serve

    asked = display_there() if in_browser is None else in_browser
    raise typer.Exit(serve(study_folder(study, runs), port, in_browser=asked))
