"""The command ``optimize``. Thin: each command loads what it needs and hands over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizers import study_commands
from optimizers.errors import ParityError, UsageError, UserError
from optimizers.study_commands import JsonOption, RunsOption, runs_folder, study_folder

if TYPE_CHECKING:
    from optimizers.frontier.report import FrontierReport
    from optimizers.records.folder import StudyFolder
    from optimizers.records.rows import Objective
    from optimizers.task import LoadedTask

app = typer.Typer(
    help="Find the cheapest model and prompt that does your task well enough, and prove it.\n\n"
    "`optimize PROGRAM --budget N` searches; the commands below work on what it leaves behind.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

ProgramArgument = Annotated[Path, typer.Argument(help="Python file that ends with `task = Task(...)`.")]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        envvar="OPTIMIZE_BUDGET",
        help="What the study may use, confirmation included: 200 (trials), 5usd, 2Mtok, 3000calls, 30min, "
        "or several, by comma or by repeating.",
    ),
]
RequireOption = Annotated[
    bool,
    typer.Option(
        "--require-match", help="Exit with 3 unless a model other than the reference is shown to match it."
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Model to search in place of the task's: NAME[,kind=...,price=IN/OUT,...]. Repeatable.",
    ),
]

ProposerOption = Annotated[
    str | None,
    typer.Option(
        "--proposer",
        help="Model that writes and rewrites instructions, in place of the task's: NAME[,price=IN/OUT,...].",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", help="Finished study whose prompts this one begins with, on its own models and data."
    ),
]

DEFAULT_BUDGET = "200"
UNMET = 3
INTERRUPTED = 130


@app.command("run")
def run(
    program: ProgramArgument,
    budget: BudgetOption = None,
    model: ModelOption = None,
    proposer: ProposerOption = None,
    started_from: FromOption = None,
    seed: Annotated[int, typer.Option(envvar="OPTIMIZE_SEED", help="Seed of every random choice.")] = 0,
    study: Annotated[
        str | None, typer.Option(help="Name of the study; an unfinished one is continued.")
    ] = None,
    objectives: Annotated[
        str, typer.Option(help="What to trade off: quality,cost or quality,cost,latency.")
    ] = "quality,cost",
    require_match: RequireOption = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for the best prompt of every model. `optimize PROGRAM` is short for `optimize run PROGRAM`."""
    from optimizers.budget import parse_budget

    limits, goals = parse_budget(budget or [DEFAULT_BUDGET]), parse_objectives(objectives)
    _quiet()
    from optimizers import console
    from optimizers.models.resolve import parse_model
    from optimizers.program_file import project_folder
    from optimizers.records.folder import valid_name
    from optimizers.task import load_task

    if study is not None:
        valid_name(study)
    writer = parse_model(proposer) if proposer else None
    folder_of_runs = (runs or project_folder(program) / "runs").absolute()
    task = load_task(program, models=[parse_model(text) for text in model or ()], proposer=writer)
    console.pull_weights(task.served)
    from optimizers.search.manifest import default_name, open_folder

    name = study or default_name(task, seed, started_from)
    folder = open_folder(task, folder_of_runs, name, seed, limits, goals, started_from)
    _run(task, folder, as_json=as_json, require_match=require_match)


@app.command()
def resume(
    study: Annotated[str, typer.Argument(help="Name of a study that was interrupted.")],
    budget: BudgetOption = None,
    require_match: RequireOption = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with an interrupted study. Its budget is its own, or a new one."""
    from optimizers.budget import parse_budget

    given = parse_budget(budget) if budget else None
    _quiet()
    from optimizers import console
    from optimizers.program_file import find_program
    from optimizers.task import load_task

    folder = study_folder(study, runs)
    known = folder.read_manifest()
    program = find_program(known.program, folder.path)
    task = load_task(program, models=known.models, proposer=known.proposer)
    console.pull_weights(task.served)
    from optimizers.search.manifest import open_folder

    open_folder(task, folder.path.parent, study, known.seed, given or known.budget, known.objectives)
    _run(task, folder, as_json=as_json, require_match=require_match)


@app.command()
def estimate(
    program: ProgramArgument,
    budget: BudgetOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a study will use and what it can show. Nothing is spent."""
    from optimizers.budget import parse_budget

    limits = parse_budget(budget or [DEFAULT_BUDGET])
    _quiet()
    from optimizers import console
    from optimizers.models.resolve import parse_model
    from optimizers.search.estimate import predict
    from optimizers.space import search_space
    from optimizers.task import load_task

    task = load_task(program, models=[parse_model(text) for text in model or ()])
    prediction = predict(task, search_space(task), limits)
    if as_json:
        print(prediction.model_dump_json(indent=2))
    else:
        console.show_prediction(prediction, task.name, str(limits), task.margin)
    for note in task.dataset.notes:
        console.say(f"note: {note}")


@app.command()
def frontier(
    study: Annotated[str, typer.Argument(help="Name of a study.")],
    require_match: RequireOption = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a finished study's frontier. Loads no model."""
    folder = study_folder(study, runs)
    _show(folder.read_report(), folder, as_json, require_match)


app.command()(study_commands.report)
app.command()(study_commands.compare)
app.command()(study_commands.advise)


@app.command()
def export(
    study: Annotated[str, typer.Argument(help="Name of a study.")],
    to: Annotated[
        str,
        typer.Option(help="What to: dspy, openai, python, promptfoo, prompty, litellm, mlflow or finetune."),
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
    _quiet()
    from optimizers.export import export_point

    folder = study_folder(study, runs)
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
    from optimizers.budget import parse_budget

    limits = parse_budget(budget or ())
    _quiet()
    from optimizers import console, transfer_view
    from optimizers.program_file import prints_on_stderr
    from optimizers.search.transfer import plan_transfer, run_transfer

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
    from optimizers import console
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
        print(json.dumps(rows, indent=2))
    else:
        console.show_rows(rows)


@app.command()
def doctor(
    program: Annotated[Path | None, typer.Argument(help="Program file to check too.")] = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what would stop or spoil a study. Nothing is pulled or billed."""
    _quiet()
    from dataclasses import asdict

    from optimizers.doctor import diagnose, show
    from optimizers.program_file import project_folder

    findings = diagnose(
        program, runs or (runs_folder(None) if program is None else project_folder(program) / "runs")
    )
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from optimizers import console

        show(findings, console.stdout)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder to make.")] = Path(".")) -> None:
    """Start a workspace. It has programs, metrics and data cards to run and to change."""
    from optimizers.workspace import write_workspace

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
    _quiet()
    from optimizers.tracking.dashboard import display_there, serve

    asked = display_there() if in_browser is None else in_browser
    raise typer.Exit(serve(runs_folder(runs), study, port, in_browser=asked))


@app.command("help")
def manual(
    topic: Annotated[str | None, typer.Argument(help="What about; topics are listed if left out.")] = None,
) -> None:
    """Show a page of the manual, or list its topics."""
    from optimizers.help import show_page, show_topics

    show_topics() if topic is None else show_page(topic)


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """What a study trades off, as written on the command line.

    Raises:
        UsageError: It is neither quality,cost nor quality,cost,latency.
    """
    known: dict[str, tuple[Objective, ...]] = {
        "quality,cost": ("quality", "cost"),
        "quality,cost,latency": ("quality", "cost", "latency"),
    }
    objectives = known.get(text.replace(" ", ""))
    if objectives is None:
        raise UsageError(
            f"{text!r} is no set of objectives.", where="--objectives", fix=f"one of {' or '.join(known)}"
        )
    return objectives


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

        from optimizers.secrets import scrubbed

        print(scrubbed(traceback.format_exc()), end="", file=sys.stderr)
        sys.exit(ParityError.exit_code)


def _quiet() -> None:
    """Keep third-party chatter off the terminal and the network: errors still reach the person."""
    import logging
    import os

    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # A cut reply is counted by its rollout; a warning for each would bury the view.
    for name in ("dspy.clients.lm", "dspy.predict.predict", "LiteLLM", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _run(task: LoadedTask, folder: StudyFolder, *, as_json: bool, require_match: bool) -> None:
    from optimizers import console

    interrupted = (
        f"What was measured is kept in {folder.path}; "
        f"the same command, or optimize resume {folder.path.name}, continues it."
    )
    try:
        report = console.run_in_view(task, folder, interrupted=interrupted)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    _show(report, folder, as_json, require_match)


def _show(report: FrontierReport, folder: StudyFolder, as_json: bool, require_match: bool) -> None:
    from optimizers import console

    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        console.show_report(report, folder.path)
    if require_match and not report.matched():
        console.say("No model other than the reference is shown to match it.")
        raise typer.Exit(UNMET)


if __name__ == "__main__":
    main()
