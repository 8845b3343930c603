"""Commands that run studies, and the one that says beforehand what a study will use."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from optimizers.cli.options import (
    DEFAULT_BUDGET,
    INTERRUPTED,
    BudgetOption,
    JsonOption,
    MarginOption,
    ModelOption,
    ObjectivesOption,
    ProgramArgument,
    QuietOption,
    ReferenceOption,
    RequireOption,
    RobustnessOption,
    RunsOption,
    VerboseOption,
    command_on,
    complete_study,
    runs_folder,
    set_volume,
    study_folder,
)
from optimizers.cli.studies import Shown, show_result
from optimizers.errors import UsageError
from optimizers.models.third_party import silence

if TYPE_CHECKING:
    from optimizers.records.budget import Budget
    from optimizers.records.folder import StudyFolder
    from optimizers.task.task import LoadedTask

STORAGE = "Database that several machines share: postgresql+psycopg://USER@HOST/DATABASE."


def run(
    program: ProgramArgument,
    budget: BudgetOption = None,
    model: ModelOption = None,
    reference: ReferenceOption = None,
    margin: MarginOption = None,
    proposer: Annotated[
        str | None,
        typer.Option(help="Model that writes instructions, in place of the task's: NAME[,price=IN/OUT,...]."),
    ] = None,
    started_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STUDY",
            envvar="OPTIMIZE_FROM",
            help="Finished study whose prompts this one begins with, on its own models and data.",
            autocompletion=complete_study,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of every random choice.")] = 0,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the study; an unfinished one is continued.",
            autocompletion=complete_study,
        ),
    ] = None,
    objectives: ObjectivesOption = "quality,cost",
    robustness: RobustnessOption = False,
    require_match: RequireOption = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=f"{STORAGE} Others join with optimize worker. If left out, SQLite in the study's folder.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes the study is planned for, where --storage lets others join; 1.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster to run the other workers on, with --storage: auto, HOST:PORT or ray://HOST:PORT.",
        ),
    ] = None,
    runs: RunsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for the best prompt of every model. `optimize PROGRAM` is short for `optimize run PROGRAM`."""
    from optimizers.records.budget import parse_budget
    from optimizers.records.rows import parse_objectives

    if ray is not None and (storage is None or workers is None or workers < 2):
        raise UsageError(
            "On a cluster, workers share a database.",
            where="--ray",
            fix="add --storage URL and --workers N, of which this process is one",
        )
    limits, goals = parse_budget(budget or [DEFAULT_BUDGET]), parse_objectives(objectives)
    set_volume(verbose, quiet)
    silence()
    from optimizers.cli import console
    from optimizers.models.resolve import parse_model
    from optimizers.records.folder import valid_name
    from optimizers.task.program_file import project_folder
    from optimizers.task.task import load_task

    if study is not None:
        valid_name(study)
    folder_of_runs = (runs or project_folder(program) / "runs").absolute()
    task = load_task(
        program,
        models=[parse_model(text) for text in model or ()],
        proposer=parse_model(proposer) if proposer else None,
        reference=reference,
        margin=margin,
    )
    console.pull_weights(task.served)
    from optimizers.search.manifest import default_name, open_folder

    name = study or default_name(task, seed, started_from)
    started: AbstractContextManager[None] = nullcontext()
    if storage is not None:
        from optimizers.records.folder import StudyFolder
        from optimizers.search.distributed.shared_study import starting

        started = starting(StudyFolder.at(folder_of_runs, name), storage)
    with started:
        folder = open_folder(
            task, folder_of_runs, name, seed, limits, goals, started_from, workers, robustness
        )
    others: AbstractContextManager[None] = nullcontext()
    if ray is not None and storage is not None and workers is not None:
        from optimizers.search.distributed.ray_workers import ray_workers

        project = project_folder(program).absolute()
        others = ray_workers(ray, folder.read_manifest(), project, storage, workers - 1, console.say)
    with others:
        _run(task, folder, storage, Shown(verbose, quiet, as_json, require_match))


def resume(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="Name of a study that was interrupted; the newest one if left out.",
            autocompletion=complete_study,
        ),
    ] = None,
    budget: BudgetOption = None,
    require_match: RequireOption = False,
    runs: RunsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with an interrupted study. Its budget is its own, or a new one."""
    from optimizers.records.budget import parse_budget

    given = parse_budget(budget) if budget else None
    set_volume(verbose, quiet)
    silence()
    folder = study_folder(study, runs, finished=False)
    _go_on(folder, None, given, Shown(verbose, quiet, as_json, require_match))


def worker(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Name of a study that was started with --storage.")
    ],
    storage: Annotated[str, typer.Option(metavar="URL", help=STORAGE)],
    require_match: RequireOption = False,
    runs: RunsOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Join a study that another process started with --storage. Run it in the same project."""
    set_volume(verbose, quiet)
    silence()
    from optimizers.search.distributed.shared_study import fetch

    folder = fetch(runs_folder(runs), study, storage)
    _go_on(folder, storage, None, Shown(verbose, quiet, as_json, require_match))


def estimate(
    program: ProgramArgument,
    budget: BudgetOption = None,
    model: ModelOption = None,
    reference: ReferenceOption = None,
    margin: MarginOption = None,
    objectives: ObjectivesOption = "quality,cost",
    robustness: RobustnessOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict what a study will use and what it can show. Nothing is spent."""
    from optimizers.records.budget import parse_budget
    from optimizers.records.rows import parse_objectives

    limits, goals = parse_budget(budget or [DEFAULT_BUDGET]), parse_objectives(objectives)
    silence()
    from optimizers.cli import console
    from optimizers.models.resolve import parse_model
    from optimizers.search.estimate import predict, shortage_note
    from optimizers.search.space.search_space import search_space
    from optimizers.task.task import load_task

    models = [parse_model(text) for text in model or ()]
    task = load_task(program, models=models, reference=reference, margin=margin)
    prediction = predict(
        task, search_space(task), limits, objectives=goals, robustness=robustness or "robustness" in goals
    )
    if as_json:
        print(prediction.model_dump_json(indent=2))
    else:
        console.show_prediction(prediction, task.name, str(limits), task.margin)
    for note in task.dataset.notes:
        console.say(f"note: {note}")
    if short := shortage_note(prediction):
        console.say(f"warning: {short}")


def _go_on(folder: StudyFolder, storage: str | None, given: Budget | None, shown: Shown) -> None:
    """Go on with a study that has been started, with its own budget or the one given."""
    from optimizers.cli import console
    from optimizers.task.program_file import find_program
    from optimizers.task.task import load_task

    known = folder.read_manifest()
    task = load_task(
        find_program(known.program, folder.path),
        models=known.models,
        proposer=known.proposer,
        reference=known.reference,
        margin=known.margin,
    )
    console.pull_weights(task.served)
    from optimizers.search.manifest import open_folder

    limits = given or known.budget
    open_folder(task, folder.path.parent, folder.path.name, known.seed, limits, known.objectives)
    _run(task, folder, storage, shown)


def _run(task: LoadedTask, folder: StudyFolder, storage: str | None, shown: Shown) -> None:
    from optimizers.cli.live import run_in_view

    interrupted = (
        f"{folder.path} keeps the measurements; the same command continues it, or: "
        f"{command_on(folder, 'resume')}"
        if storage is None
        else "The storage keeps the measurements. Other workers of the study go on; the same "
        f"command joins them again, or: {command_on(folder, 'worker')} --storage URL"
    )
    try:
        report = run_in_view(task, folder, storage, interrupted=interrupted)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    show_result(report, folder, shown)
