"""``optimize transfer``: a study's prompts on other models."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizers.cli.options import INTERRUPTED, JsonOption, RunsOption, StudyArgument, study_folder
from optimizers.models.third_party import silence


def transfer(
    study: StudyArgument,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            envvar="OPTIMIZE_TRANSFER_MODEL",
            allow_from_autoenv=False,
            help="Model to run the study's prompts on: NAME[,kind=...,price=IN/OUT,...]. Repeatable; "
            "the study's own models are run anyway.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=10, metavar="N", help="Most dev examples to run them on.")] = 200,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="AMOUNT",
            envvar="OPTIMIZE_TRANSFER_BUDGET",
            allow_from_autoenv=False,
            help="What all transfers of the study may use together: 5usd, 2Mtok, 3000calls, 30min, "
            "or several; no limit if left out.",
        ),
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a study's prompts on other models, on dev. Shows the prompt of each model on each other."""
    from optimizers.records.budget import parse_budget

    limits = parse_budget(budget or ())
    silence()
    from optimizers.cli import console, transfer_view
    from optimizers.search.transfer import plan_transfer, run_transfer
    from optimizers.task.program_file import prints_on_stderr

    folder = study_folder(study, runs)
    plan = plan_transfer(folder, model or (), rows)
    console.pull_weights(plan.task.models)
    try:
        with prints_on_stderr(), transfer_view.watching(study) as watch:
            report = run_transfer(folder, plan, limits, watch=watch)
    except KeyboardInterrupt:
        console.say(f"\nInterrupted. {folder.path} keeps the measurements; the same command continues it.")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        transfer_view.show_transfer(report)
