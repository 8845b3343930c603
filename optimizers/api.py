"""Parity as a DSPy optimizer: the study of the command line, for a program and data handed over in code."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import dspy
from dspy.teleprompt import Teleprompter

from optimizers.errors import BudgetError, ExportError, ModelError, TaskError, UsageError
from optimizers.export import writer
from optimizers.export.point import Exported, choose
from optimizers.export.targets.dspy_program import ExportedProgram
from optimizers.models.from_lm import model_of
from optimizers.models.model import Model
from optimizers.models.resolve import parse_model
from optimizers.prompting.compile import compile_candidate
from optimizers.records.budget import Budget, parse_budget
from optimizers.records.rows import OBJECTIVES, Objective
from optimizers.task.data.split import Dataset, make_dataset
from optimizers.task.data.user_splits import Columns, given_dataset, given_rows
from optimizers.task.fields import fields_of
from optimizers.task.hashing import metric_hash, program_hash, source_file
from optimizers.task.program_file import IN_CODE
from optimizers.task.task import DEFAULT_MODELS, LoadedTask, Metric, Task, resolve

if TYPE_CHECKING:
    from optimizers.records.candidate import Candidate
    from optimizers.records.folder import StudyFolder
    from optimizers.records.report import FrontierReport, Point, Verdict

Pick = Literal["cheapest_match", "best"]


NAME = "Parity"
"""What errors call the place that the settings are from."""

LOUD = ("dspy.clients.lm", "dspy.predict.predict", "LiteLLM", "alembic", "mlflow")
"""Loggers that would bury the progress of a study."""


class ParityProgram(ExportedProgram):
    """What :meth:`Parity.compile` returns: a copy of the student that behaves as the picked point did.

    An ordinary DSPy module that brings its language model and its rendering. Predictors have the
    student's names, and attributes it has not itself are the student's. ``save("x.json")``
    writes the student's state; loaded into a plain instance of the student's class that state
    lacks the rendering and the fields a technique adds, so such a program does not behave as
    measured. What does is :meth:`export` and :func:`optimizers.export.load_program`. Loading
    state with a model that runs in the process, or with an ``api_base``, needs DSPy's
    ``allow_unsafe_lm_state=True``; ``save(folder, save_program=True)`` needs a model over HTTP.

    Args:
        exported: The point, with what it was measured on.
        report: The study's report.

    Attributes:
        report: Everything the study found.
        point: The picked point, as measured.
    """

    def __init__(self, exported: Exported, report: FrontierReport) -> None:
        task, candidate = exported.task, exported.point.candidate
        own = compile_candidate(task.program, candidate, task.models, measured=False)
        super().__init__(own.module, own.adapter())
        self.report, self.point = report, exported.point
        self._exported: Exported | None = exported
        self._compiled = True

    @property
    def frontier(self) -> tuple[Point, ...]:
        """The frontier's points, cheapest first."""
        return self.report.with_role("frontier")

    @property
    def candidate(self) -> Candidate:
        """What was compiled."""
        return self.point.candidate

    @property
    def verdict(self) -> Verdict | None:
        """The picked point against the reference's best; None where it is that best, or was not tested."""
        return self.point.comparison.verdict if self.point.comparison else None

    def export(self, folder: str | Path, target: str = "dspy") -> list[Path]:
        """Write the picked point for use elsewhere, verified, as ``optimize export`` does for program files.

        Args:
            folder: Folder to write to, made when missing.
            target: ``dspy`` (read it back with ``load_program(folder, program)``) or ``openai``.

        Returns:
            The files written.

        Raises:
            UsageError: There is no such target.
            ExportError: The export would not behave as measured, or this is a copy, which has no
                data to verify an export on.
        """
        write = writer(target, where="export: target")
        if self._exported is None:
            raise ExportError(
                "A copy of a compiled program cannot be exported: it has no data to verify that on.",
                fix="export the program that compile returned",
            )
        return write(self._exported, Path(folder))

    def named_parameters(self) -> list[tuple[str, Any]]:
        """The student's parameters under the student's names, so that saved state fits both."""
        found: list[tuple[str, Any]] = self.program.named_parameters()
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "program" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.program, name)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | {"_exported": None}


class Parity(Teleprompter):  # type: ignore[misc]
    """A DSPy optimizer that searches model and prompt together and proves what it found.

    ``compile`` runs the study that ``optimize PROGRAM`` runs: the same search, budget, sealed test
    and records, resumable in the same way: after an interruption the same call goes on, and
    after the end it returns the same result at once. ``optimize frontier`` and ``dashboard`` show
    its study; ``optimize resume`` and ``optimize export`` need a program file and do not apply.

    Args:
        metric: ``metric(example, prediction, trace=None)`` returning a score in [0, 1].
        models: Names, :func:`optimizers.model` declarations, or ``dspy.LM``s that one of the cost
            map's prices fits. Of a ``dspy.LM`` the name, address, timeout and backend count; how
            it samples is the search's to choose.
        budget: A number of trials, or amounts as on the command line: ``"5usd,30min"``.
        reference: Name of the model a smaller one must match; the dearest one if left out.
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
        pick: What is compiled. ``cheapest_match``: the cheapest of the reference's best, and of the
            frontier points and other models' bests whose verdict against it is ``match``; should the
            budget have ended before the reference was measured, the best. ``best``: the frontier point
            that tested best, the cheapest among equals.
        quiet: Show nothing while it runs, the licences of pulled weights included.

    Raises:
        UsageError: A setting has a value it does not take.
        BudgetError: The budget is no amount of a known unit.
        ModelError: A model is unknown, or a ``dspy.LM`` does what no model can carry.
        PriceError: A model has no known price.
    """

    def __init__(
        self,
        metric: Metric,
        models: Sequence[str | Model | dspy.LM] = DEFAULT_MODELS,
        *,
        budget: str | int = "200",
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
    ) -> None:
        super().__init__()
        if tuple(objectives) not in OBJECTIVES:
            fix = " or ".join(map(str, OBJECTIVES))
            raise UsageError(f"{objectives!r} is no set of objectives.", where=f"{NAME}: objectives", fix=fix)
        if pick not in get_args(Pick):
            fix = f"one of {', '.join(get_args(Pick))}"
            raise UsageError(f"There is no pick {pick!r}.", where=f"{NAME}: pick", fix=fix)
        if isinstance(models, (str, Model, dspy.BaseLM)):
            what = f"The models are a single {type(models).__name__}."
            raise UsageError(what, where=f"{NAME}: models", fix="give a list: models=[...]")
        self.metric, self.models = metric, tuple(_model(entry) for entry in models)
        self.budget, self.reference, self.margin, self.seed = _budget(budget), reference, margin, seed
        self.objectives, self.study, self.group = tuple(objectives), study, group
        self.runs = Path("runs" if runs is None else runs)
        self.min_coverage, self.pick, self.quiet = min_coverage, pick, quiet
        self.proposer = None if proposer is None else _model(proposer)
        self.models_per_predictor, self.started_from = models_per_predictor, started_from

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
    ) -> ParityProgram:
        """Run the study, or what is left of it, and compile the picked point.

        Args:
            student: The program, left as it is.
            trainset: Alone, it is split by content into train (demos), dev (search) and test
                (sealed), as the command line does it. Otherwise demos come from it.
            valset: With no testset, the hash of their content puts some seven of twelve of its rows
                into the sealed test and the rest into dev. Otherwise dev.
            testset: Sealed until the search is over.
            teacher: None: Parity has no use for one.

        Returns:
            A compiled copy of the student, with the report and the verdict.

        Raises:
            TaskError: The student, the metric or a setting cannot be used.
            DataError: A row, a label or a group is amiss, or there are too few rows.
            StudyError: The study's name is taken by another task, or another process runs it.
            BudgetError: The budget ends before anything is measured.
        """
        _check_student(student, teacher)
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
        from optimizers.search.study import run_study

        with _calm():
            if self.quiet:
                return run_study(task, folder, watch=lambda progress: None)
            console.pull_weights(task.served)
            interrupted = f"The same compile goes on from what is kept in {folder.path}."
            report = run_in_view(task, folder, interrupted=interrupted)
        console.say(f"{report.answer}\nStudy: {folder.path}")
        return report


def picked(report: FrontierReport, pick: Pick) -> Point:
    """The point to compile; see :class:`Parity` for the rule."""
    matching = [p for p in report.eligible() if p.comparison is not None and p.comparison.verdict == "match"]
    enough = [*matching, *report.with_role("reference")]
    if pick == "best" or not enough:
        return choose(report, None)
    return min(enough, key=lambda point: point.cost)


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


def _check_student(student: Any, teacher: Any) -> None:
    if teacher is not None:
        raise UsageError("Parity has no use for a teacher.", where="compile: teacher", fix="leave it out")
    if isinstance(student, ExportedProgram):
        raise TaskError(
            "The student is what a study has compiled already.",
            where="compile: student",
            fix="give the program that it was compiled from",
        )
    if not isinstance(student, dspy.Module) or not student.named_predictors():
        what = f"The student is a {type(student).__name__}, no DSPy module with a predictor."
        raise TaskError(what, where="compile: student", fix="give an instance of a dspy.Module")


@contextmanager
def _calm() -> Iterator[None]:
    """Keep third parties' chatter off the terminal while a study runs."""
    levels = {name: logging.getLogger(name).level for name in LOUD}
    # MLflow sets its own level when it is first imported, which is after this.
    asked = os.environ.get("MLFLOW_LOGGING_LEVEL")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        if asked is None:
            del os.environ["MLFLOW_LOGGING_LEVEL"]
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
