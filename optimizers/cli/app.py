"""The command ``optimize``. Thin: each command loads what it needs and hands over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from optimizers.cli import run as run_commands
from optimizers.cli import studies as study_commands
from optimizers.cli.run import INTERRUPTED, quiet
from optimizers.cli.studies import (
    FinishedArgument,
    JsonOption,
    RunsOption,
    runs_folder,
    study_folder,
)
from optimizers.errors import ParityError, UserError

app = typer.Typer(
    help="Find the cheapest model and prompt that does your task well enough, and prove it.\n\n"
    "`optimize PROGRAM --budget N` searches; the commands below work on what it leaves behind.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

app.command("run")(run_commands.run)
for command in (run_commands.resume, run_commands.worker, run_commands.estimate):
    app.command()(command)
app.command()(study_commands.frontier)
app.command()(study_commands.report)
app.command()(study_commands.compare)
app.command()(study_commands.advise)


@app.command()
def export(
    study: FinishedArgument = None,
    to: Annotated[
        str,
        typer.Option(
            help="What to: dspy, openai, python, promptfoo, inspect, prompty, litellm, mlflow or finetune."
        ),
    ] = "dspy",
    point: Annotated[
        str | None, typer.Option(help="Candidate id of a frontier point; the best one if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; runs/STUDY/exports/TARGET if left out.")
    ] = None,
    runs: RunsOption = None,
) -> None:
    """Write a point of the frontier for an app to use. It is verified against the compiled program."""
    quiet()
    from optimizers.export import export_point

    folder = study_folder(study, runs, finished=True)
    for path in export_point(folder, target=to, point=point, out=out):
        print(path)


@app.command()
def transfer(
    study: Annotated[str, typer.Argument(help="Name of a finished study.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Model to run the study's prompts on: NAME[,kind=...,price=IN/OUT,...]. Repeatable; "
            "the study's own models are run anyway.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=10, help="Most dev examples to run them on.")] = 200,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            help="What all transfers of the study may use together: 5usd, 2Mtok, 3000calls, 30min, "
            "or several; no limit if left out.",
        ),
    ] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a study's prompts on other models, on dev. Shows "prompt of x run on y", and what that is worth."""
    from optimizers.records.budget import parse_budget

    limits = parse_budget(budget or ())
    quiet()
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
        console.say(
            f"\nInterrupted. What was measured is kept in {folder.path}; the same command continues it."
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        transfer_view.show_transfer(report)


@app.command()
def models(
    pull: Annotated[list[str] | None, typer.Option(help="Pull this model's weights now. Repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that run in this process. Pulls their weights where asked."""
    from optimizers.cli import console
    from optimizers.models.catalogue import CATALOGUE, pulled
    from optimizers.models.resolve import model as resolve_model

    if pull:
        console.pull_weights([resolve_model(name) for name in pull])
    rows = [
        {
            "name": name,
            "kind": entry.kind,
            "billions": entry.size,
            "megabytes": round(entry.asset.bytes / 1e6),
            "licence": entry.asset.licence,
            "pulled": pulled(name),
        }
        for name, entry in CATALOGUE.items()
    ]
    if as_json:
        kinds = [{"quantization": entry.quantization} for entry in CATALOGUE.values()]
        print(json.dumps([row | kind for row, kind in zip(rows, kinds, strict=True)], indent=2))
    else:
        console.show_rows(rows)


@app.command()
def doctor(
    program: Annotated[Path | None, typer.Argument(help="Program file to check too.")] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what would stop or spoil a study. Nothing is pulled or billed."""
    quiet()
    from dataclasses import asdict

    from optimizers.cli.doctor import diagnose, show
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


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder to make.")] = Path(".")) -> None:
    """Start a workspace. It has programs, metrics and data cards to run and to change."""
    from optimizers.cli.init import write_workspace

    written = write_workspace(folder)
    for path in written:
        print(path)
    print(f"\nNext: cd {folder} && optimize programs/classify.py --budget 50", file=sys.stderr)


@app.command()
def dashboard(
    study: Annotated[str | None, typer.Argument(help="Study to show; the newest if left out.")] = None,
    runs: RunsOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="MLflow's port on this machine.")] = 5000,
    in_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the browser; if left out, at a terminal with a display."),
    ] = None,
) -> None:
    """Show a study in MLflow until Ctrl-C. Optuna's dashboard is beside it where it is installed."""
    quiet()
    from optimizers.records.tracking.dashboard import display_there, serve

    asked = display_there() if in_browser is None else in_browser
    raise typer.Exit(serve(study_folder(study, runs), port, in_browser=asked))


@app.command("help")
def manual(
    topic: Annotated[str | None, typer.Argument(help="What about; topics are listed if left out.")] = None,
) -> None:
    """Show a page of the manual, or list its topics."""
    from optimizers.cli.manual import show_page, show_topics

    show_topics() if topic is None else show_page(topic)


def main() -> None:
    """Entry point: a first argument that is no command is a program to run."""
    arguments = sys.argv[1:]
    commands = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        arguments = ["run", *arguments]
    try:
        app(args=arguments)
    except ParityError as error:
        kind = "error" if isinstance(error, UserError) else "failed"
        print(f"{kind}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception:
        # A mistake of ours or of a library: its message may repeat what a server or an address held.
        import traceback

        from optimizers.errors import scrubbed

        print(scrubbed(traceback.format_exc()), end="", file=sys.stderr)
        sys.exit(ParityError.exit_code)


if __name__ == "__main__":
    main()
