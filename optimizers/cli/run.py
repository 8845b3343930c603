"""Commands that run studies, and the one that says beforehand what a study will use."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizers.cli.studies import (
    JsonOption,
    RequireOption,
    RunsOption,
    runs_folder,
    show_result,
    study_folder,
)
from optimizers.errors import UsageError

if TYPE_CHECKING:
    from optimizers.records.budget import Budget
    from optimizers.records.folder import StudyFolder
    from optimizers.task.task import LoadedTask

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

STORAGE = "Database that several machines share: postgresql+psycopg://USER@HOST/DATABASE."
StorageOption = Annotated[
    str | None,
    typer.Option(
        envvar="OPTIMIZE_STORAGE",
        help=f"{STORAGE} Others join with optimize worker. If left out, SQLite in the study's folder.",
    ),
]

ObjectivesOption = Annotated[
    str,
    typer.Option(help="What to seek: quality,cost and perhaps latency or robustness; or quality alone."),
]

RobustnessOption = Annotated[
    bool,
    typer.Option(
        "--robustness",
        help="Run the frontier on perturbed inputs and prompt injections too, within the budget.",
    ),
]

DEFAULT_BUDGET = "200"
INTERRUPTED = 130


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
    objectives: ObjectivesOption = "quality,cost",
    robustness: RobustnessOption = False,
    require_match: RequireOption = False,
    storage: StorageOption = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes the study is planned for, where --storage lets others join; 1."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            envvar="OPTIMIZE_RAY",
            help="Ray cluster to run the other workers on, with --storage: auto, HOST:PORT or ray://HOST:PORT.",
        ),
    ] = None,
    runs: RunsOption = None,
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
    quiet()
    from optimizers.cli import console
    from optimizers.models.resolve import parse_model
    from optimizers.records.folder import valid_name
    from optimizers.task.program_file import project_folder
    from optimizers.task.task import load_task

    if study is not None:
        valid_name(study)
    writer = parse_model(proposer) if proposer else None
    folder_of_runs = (runs or project_folder(program) / "runs").absolute()
    task = load_task(program, models=[parse_model(text) for text in model or ()], proposer=writer)
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
    beside: AbstractContextManager[None] = nullcontext()
    if ray is not None and storage is not None and workers is not None:
        from optimizers.search.distributed.ray_workers import ray_workers

        project = project_folder(program).absolute()
        beside = ray_workers(ray, folder.read_manifest(), project, storage, workers - 1, console.say)
    with beside:
        _run(task, folder, storage, as_json=as_json, require_match=require_match)


def resume(
    study: Annotated[
        str | None, typer.Argument(help="Name of a study that was interrupted; the newest one if left out.")
    ] = None,
    budget: BudgetOption = None,
    require_match: RequireOption = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with an interrupted study. Its budget is its own, or a new one."""
    from optimizers.records.budget import parse_budget

    given = parse_budget(budget) if budget else None
    quiet()
    folder = study_folder(study, runs, finished=False)
    _go_on(folder, None, given, as_json=as_json, require_match=require_match)


def worker(
    study: Annotated[str, typer.Argument(help="Name of a study that was started with --storage.")],
    storage: Annotated[str, typer.Option(envvar="OPTIMIZE_STORAGE", help=STORAGE)],
    require_match: RequireOption = False,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Work on a study that was started elsewhere, beside whoever else does. Run it in the same project."""
    quiet()
    from optimizers.search.distributed.shared_study import fetch

    folder = fetch(runs_folder(runs), study, storage)
    _go_on(folder, storage, None, as_json=as_json, require_match=require_match)


def estimate(
    program: ProgramArgument,
    budget: BudgetOption = None,
    model: ModelOption = None,
    objectives: ObjectivesOption = "quality,cost",
    robustness: RobustnessOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a study will use and what it can show. Nothing is spent."""
    from optimizers.records.budget import parse_budget
    from optimizers.records.rows import parse_objectives

    limits, goals = parse_budget(budget or [DEFAULT_BUDGET]), parse_objectives(objectives)
    quiet()
    from optimizers.cli import console
    from optimizers.models.resolve import parse_model
    from optimizers.search.estimate import predict, shortage_note
    from optimizers.search.space.search_space import search_space
    from optimizers.task.task import load_task

    task = load_task(program, models=[parse_model(text) for text in model or ()])
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


def quiet() -> None:
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


def _go_on(
    folder: StudyFolder, storage: str | None, given: Budget | None, *, as_json: bool, require_match: bool
) -> None:
    """Go on with a study that has been started, with its own budget or the one given."""
    from optimizers.cli import console
    from optimizers.task.program_file import find_program
    from optimizers.task.task import load_task

    known = folder.read_manifest()
    program = find_program(known.program, folder.path)
    task = load_task(program, models=known.models, proposer=known.proposer)
    console.pull_weights(task.served)
    from optimizers.search.manifest import open_folder

    limits = given or known.budget
    open_folder(task, folder.path.parent, folder.path.name, known.seed, limits, known.objectives)
    _run(task, folder, storage, as_json=as_json, require_match=require_match)


def _run(
    task: LoadedTask, folder: StudyFolder, storage: str | None, *, as_json: bool, require_match: bool
) -> None:
    from optimizers.cli.live import run_in_view

    interrupted = (
        f"What was measured is kept in {folder.path}; "
        f"the same command, or optimize resume {folder.path.name}, continues it."
        if storage is None
        else "What was measured is kept in the storage. Whoever else works on the study goes on; the same "
        f"command, or optimize worker {folder.path.name}, joins it again."
    )
    try:
        report = run_in_view(task, folder, storage, interrupted=interrupted)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    show_result(report, folder, as_json, require_match)
