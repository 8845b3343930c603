"""Parity as a DSPy optimizer: the study of the command line, for a program and data handed over in code."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.errors import BudgetError, ModelError, TaskError, UsageError
from optimizers.export.parity_program import ParityProgram
from optimizers.export.point import Exported
from optimizers.export.targets.dspy_program import ExportedProgram
from optimizers.models.from_lm import model_of
from optimizers.models.model import Model
from optimizers.models.resolve import parse_model
from optimizers.prompting.compile import compile_candidate
from optimizers.records.budget import Budget, parse_budget
from optimizers.records.rows import OBJECTIVES, Objective
from optimizers.results.pick import Pick, picked
from optimizers.task.data.split import Dataset, make_dataset
from optimizers.task.data.user_splits import Columns, given_dataset, given_rows
from optimizers.task.hashing import metric_hash, program_hash, source_file
from optimizers.task.program_file import IN_CODE
from optimizers.task.signature_fields import fields_of
from optimizers.task.task import DEFAULT_MODELS, LoadedTask, Metric, Task, resolve

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import FrontierReport

__all__ = ["Parity", "ParityProgram"]

NAME = "Parity"
"""What errors call the place that the settings are from."""

AUTO = {"light": 50, "medium": 200, "heavy": 500}
"""``auto`` of DSPy's optimizers -> a budget in trials; ``medium`` is the default budget."""

SAME = {
    "auto": "budget",
    "max_metric_calls": "budget",
    "task_model": "models",
    "prompt_model": "proposer",
    "reflection_lm": "proposer",
    "log_dir": "runs",
}
"""Options of DSPy's optimizers -> ours that mean the same."""

DEMOS = "the search chooses how many examples each prompt shows"
NO_TEACHER = "labelled rows and right answers of the best candidates are the examples; there is no teacher"
OTHERS = {
    "max_bootstrapped_demos": DEMOS,
    "max_labeled_demos": DEMOS,
    "max_demos": DEMOS,
    "k": DEMOS,
    "teacher": NO_TEACHER,
    "teacher_settings": NO_TEACHER,
    "num_candidates": "budget=N is the number of trials, each of one candidate",
    "num_trials": "give Parity(budget=N), the number of trials",
    "max_full_evals": 'budget="Ncalls" limits the calls',
    "max_errors": "min_coverage is the share of rollouts that must get a score",
    "metric_threshold": "prompts learn from rows that score 1; there is no threshold",
    "verbose": "quiet=True shows nothing; the report of the compiled program has every detail",
    "track_stats": "every result is recorded: see the report of the compiled program",
    "use_mlflow": "every study is recorded in MLflow, in the folder of runs",
    "use_wandb": "studies are recorded in MLflow, in the folder of runs",
    "seed": "give Parity(seed=N)",
}
"""Options of DSPy's optimizers without an equal -> what does their work here. The search decides the rest."""


class Parity(Teleprompter):  # type: ignore[misc]
    """A DSPy optimizer that searches model and prompt together and tests the result on sealed rows.

    ``compile`` runs the study that ``optimize PROGRAM`` runs: the same search, budget, sealed test
    and records. After an interruption the same call continues the study; after its end the call
    returns the same result at once. ``optimize frontier``, ``show``, ``report`` and ``dashboard`` show
    the study. ``optimize resume`` and ``optimize export`` need a program file: call ``compile`` again,
    and :meth:`ParityProgram.export`.

    Args:
        metric: ``metric(example, prediction, trace=None)`` returning a score in [0, 1].
        models: Names, :func:`optimizers.model` declarations, or ``dspy.LM``s that one of the cost
            map's prices fits. A ``dspy.LM`` gives its name, address, timeout and backend; the search
            chooses how it samples. The two embedded models if left out.
        budget: A number of trials, or amounts as on the command line: ``"5usd,30min"``. 200 trials if
            left out.
        reference: Name of the model a smaller one must match; the most expensive one if left out.
        margin: Quality the user accepts to lose against the reference, in score units.
        seed: Seed of every random choice.
        objectives: ``("quality", "cost")``, or with ``"latency"`` or ``"robustness"`` as the third, or
            ``("quality",)`` alone.
        runs: Folder of studies; ``runs`` of the current folder if left out.
        study: Name of the study; made of program, data and metric if left out.
        group: Column that says which examples belong together.
        min_coverage: Share of a candidate's rollouts that must get a score for it to be judged.
        proposer: A model that writes and rewrites instructions, given like one of the models; without
            one they are composed.
        models_per_predictor: Whether candidates may serve each predictor with a model of its own.
        started_from: Name of a finished study under ``runs`` whose prompts this one begins with.
        pick: What is compiled. ``cheapest_match``: the cheapest of the reference's best and of the
            frontier points and other models' bests whose verdict against it is ``match``; the best
            where the budget ended before the reference was tested. ``best``: the frontier point that
            tested best, the cheapest among equals.
        quiet: Show nothing while it runs, the licences of pulled weights included.
        num_threads: Calls that may be in flight at once to each model, in place of the models' own
            ``concurrency``.
        dspy_options: What DSPy's optimizers call the same: ``auto`` (``light``, ``medium``, ``heavy``: a
            budget of 50, 200, 500 trials), ``max_metric_calls`` (a budget of as many calls),
            ``task_model`` (the one model), ``prompt_model`` and ``reflection_lm`` (the proposer),
            ``log_dir`` (``runs``). An error names what does the work of any other.

    Raises:
        UsageError: A setting has a value it does not take, is given twice, or is one of DSPy's that has
            no equal here.
        TypeError: A setting is unknown.
        BudgetError: The budget is no amount of a known unit.
        ModelError: A model is unknown, or a ``dspy.LM`` has settings that no model can carry.
        PriceError: A model has no known price.
    """

    def __init__(
        self,
        metric: Metric,
        models: Sequence[str | Model | dspy.LM] | None = None,
        *,
        budget: str | int | None = None,
        reference: str | None = None,
        margin: float = 0.02,
        seed: int = 0,
        objectives: Sequence[Objective] = ("quality", "cost"),
        runs: str | Path | None = None,
        study: str | None = None,
        group: str | None = None,
        min_coverage: float = 0.95,
        proposer: str | Model | dspy.LM | None = None,
        models_per_predictor: bool = False,
        started_from: str | None = None,
        pick: Pick = "cheapest_match",
        quiet: bool = False,
        num_threads: int | None = None,
        **dspy_options: Any,
    ) -> None:
        super().__init__()
        own = {"models": models, "budget": budget, "proposer": proposer, "runs": runs}
        models, budget, proposer, runs = _with_dspy_options(own, dspy_options).values()
        if tuple(objectives) not in OBJECTIVES:
            fix = " or ".join(map(str, OBJECTIVES))
            what = f"{objectives!r} is not a set of objectives."
            raise UsageError(what, where=f"{NAME}: objectives", fix=fix)
        if pick not in get_args(Pick):
            fix = f"one of {', '.join(get_args(Pick))}"
            raise UsageError(f"There is no pick {pick!r}.", where=f"{NAME}: pick", fix=fix)
        if isinstance(models, (str, Model, dspy.BaseLM)):
            what = f"The models are a single {type(models).__name__}."
            raise UsageError(what, where=f"{NAME}: models", fix="give a list: models=[...]")
        served = map(_model, DEFAULT_MODELS if models is None else models)
        self.metric, self.models = metric, tuple(_at_once(model, num_threads) for model in served)
        self.budget = _budget("200" if budget is None else budget)
        self.reference, self.margin, self.seed = reference, margin, seed
        self.objectives, self.study, self.group = tuple(objectives), study, group
        self.runs = Path("runs" if runs is None else runs)
        self.min_coverage, self.pick, self.quiet = min_coverage, pick, quiet
        self.proposer = None if proposer is None else _model(proposer)
        self.models_per_predictor, self.started_from = models_per_predictor, started_from

    def compile(
        self,
        student: dspy.Module,
        trainset: Sequence[dspy.Example],
        *,
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        teacher: None = None,
        **dspy_options: Any,
    ) -> ParityProgram:
        """Run the study, or continue it, and compile the picked point.

        Args:
            student: The program; it is not changed.
            trainset: Alone, it is split by content into train (demos), dev (search) and test
                (sealed), as the command line does it. Otherwise demos come from it.
            valset: Without a testset, about seven of twelve of its rows, by the hash of their content,
                become the sealed test and the others dev. With a testset: dev.
            testset: Sealed until the search is over.
            teacher: None; Parity has no teacher.
            dspy_options: None; an error names what does their work.

        Returns:
            A compiled copy of the student, with the report and the verdict.

        Raises:
            TaskError: The student, the metric or a setting cannot be used.
            DataError: A row, a label or a group cannot be used, or there are too few rows.
            StudyError: Another task has a study of this name, or another process runs it.
            BudgetError: The budget ends before anything is measured.
            UsageError: An option is one of DSPy's that has no equal here.
            TypeError: An option is unknown.
        """
        if teacher is not None:
            dspy_options["teacher"] = teacher
        for option in dspy_options:
            _refuse(option, "compile", self.compile)
        _check_student(student)
        task = self._task(student, self._data(student, trainset, valset, testset))
        from optimizers.search.manifest import default_name, open_folder

        name = self.study or default_name(task, self.seed, self.started_from)
        folder = open_folder(
            task, self.runs, name, self.seed, self.budget, self.objectives, self.started_from
        )
        report = self._run(task, folder)
        manifest, point = folder.read_manifest(), picked(report, self.pick)
        served = next(model for model in task.models if model.name == point.candidate.model)
        compiled = compile_candidate(student, point.candidate, task.models, measured=False)
        return ParityProgram(Exported(manifest, point, served, task, compiled, folder), report)

    def _data(
        self,
        student: dspy.Module,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None,
        testset: Sequence[dspy.Example] | None,
    ) -> Dataset:
        if testset is not None and valset is None:
            what = "A testset is given without a valset."
            raise UsageError(what, where="compile: testset", fix="give a valset too, or the trainset alone")
        train = given_rows(trainset, "trainset")
        inputs, outputs, labels = fields_of(student, train.rows)
        if valset is None:
            return make_dataset(
                train, inputs=inputs, outputs=outputs, labels=labels, group=self.group, margin=self.margin
            )
        val = given_rows(valset, "valset")
        test = None if testset is None else given_rows(testset, "testset")
        columns = Columns(inputs, outputs, labels, self.group)
        return given_dataset(train, val, test, columns, margin=self.margin)

    def _task(self, student: dspy.Module, dataset: Dataset) -> LoadedTask:
        """The student, data and settings as a task like one of a program file."""
        declared = Task(
            program=student,
            metric=self.metric,
            data=(),
            models=self.models,
            reference=self.reference,
            margin=self.margin,
            group=self.group,
            min_coverage=self.min_coverage,
            proposer=self.proposer,
            models_per_predictor=self.models_per_predictor,
            name=re.sub(r"[^A-Za-z0-9_-]", "_", type(student).__name__)[:60],
        )
        task = resolve(declared, base=Path(), source=Path(NAME), dataset=dataset)
        kind = type(student)
        file = None if kind.__module__.partition(".")[0] == "dspy" else source_file(kind)
        return replace(
            task,
            path=f"{file or ''}{IN_CODE}{kind.__qualname__}",
            program_hash=program_hash(student),
            metric_hash=metric_hash(self.metric),
        )

    def _run(self, task: LoadedTask, folder: StudyFolder) -> FrontierReport:
        from optimizers.cli import console
        from optimizers.cli.live import run_in_view
        from optimizers.cli.options import command_on
        from optimizers.models.third_party import silenced
        from optimizers.search.study import run_study

        interrupted = f"{folder.path} keeps the measurements; the same compile continues it."
        try:
            with silenced():
                if self.quiet:
                    return run_study(task, folder, watch=lambda progress: None)
                console.pull_weights(task.served)
                report = run_in_view(task, folder, interrupted=interrupted)
        except BudgetError as error:
            raise BudgetError(error.what, where=f"{NAME}: budget", fix="give a larger budget") from error
        console.say(f"{report.answer}\nStudy: {folder.path}\nMore:  {command_on(folder, 'frontier')}")
        return report


def _with_dspy_options(own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Our settings, with those that DSPy's optimizers have other names for.

    Args:
        own: Setting -> value, None where it is left out.
        options: DSPy's name -> value; one that is None is left out too.
    """
    found = dict(own)
    for option, value in options.items():
        if option not in SAME:
            _refuse(option, NAME, Parity)
        if value is None:
            continue
        if found[SAME[option]] is not None:
            what = f"{option} is given, and so is another setting that means {SAME[option]}."
            raise UsageError(what, where=f"{NAME}: {option}", fix=f"give {SAME[option]} alone")
        if option == "auto" and value not in AUTO:
            fix = f"one of {', '.join(AUTO)}"
            raise UsageError(f"There is no auto {value!r}.", where=f"{NAME}: auto", fix=fix)
        as_ours = {"auto": AUTO.get(value), "max_metric_calls": f"{value}calls", "task_model": [value]}
        found[SAME[option]] = as_ours.get(option, value)
    return found


def _refuse(option: str, place: str, called: Any) -> None:
    """Say what does the work of an option, where it is one of DSPy's.

    Raises:
        UsageError: It is.
        TypeError: It is unknown.
    """
    optimizers = [one for one in vars(dspy.teleprompt).values() if inspect.isclass(one)]
    calls = [call for one in optimizers for call in (one.__init__, getattr(one, "compile", None)) if call]
    if option in OTHERS or any(option in inspect.signature(call).parameters for call in calls):
        fix = OTHERS.get(option, "leave it out: the search decides it")
        raise UsageError(f"{place} takes no {option}.", where=f"{place}: {option}", fix=fix)
    known = [*inspect.signature(called).parameters, *SAME]
    close = difflib.get_close_matches(option, known, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    raise TypeError(f"{place} got an unexpected keyword argument {option!r}{meant}")


def _at_once(model: Model, calls: int | None) -> Model:
    """The model with as many calls in flight at once, where that is given."""
    if calls is None:
        return model
    if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
        what = f"{calls!r} is not a number of calls at once."
        raise UsageError(what, where=f"{NAME}: num_threads", fix="give 1 or more")
    return model.model_copy(update={"concurrency": calls})


def _model(entry: Any) -> Model:
    if isinstance(entry, Model):
        return entry
    if isinstance(entry, str):
        return parse_model(entry)
    if isinstance(entry, dspy.LM):
        return model_of(entry)
    raise ModelError(
        f"An entry of the models is a {type(entry).__name__}.",
        where=f"{NAME}: models",
        fix="give names, optimizers.model(...) declarations or dspy.LM instances",
    )


def _budget(given: str | int) -> Budget:
    try:
        return parse_budget([str(given)] if not isinstance(given, bool) else ["none"])
    except BudgetError as error:
        fix = 'for example budget=200, "5usd", "2Mtok", "30min" or "200,5usd"'
        raise BudgetError(error.what, where=f"{NAME}: budget", fix=fix) from None


def _check_student(student: Any) -> None:
    if isinstance(student, ExportedProgram):
        raise TaskError(
            "The student has been compiled already.",
            where="compile: student",
            fix="give the program that it was compiled from",
        )
    if not isinstance(student, dspy.Module) or not student.named_predictors():
        what = f"The student is a {type(student).__name__}, no DSPy module with a predictor."
        raise TaskError(what, where="compile: student", fix="give an instance of a dspy.Module")
