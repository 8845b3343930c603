"""What ``Parity.compile`` returns: a DSPy module that behaves as the picked point was measured to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.errors import ExportError
from optimizers.export import writer
from optimizers.export.targets.dspy_program import ExportedProgram
from optimizers.prompting.compile import compile_candidate

if TYPE_CHECKING:
    from optimizers.export.point import Exported
    from optimizers.records.candidate import Candidate
    from optimizers.records.report import FrontierReport, Point, Verdict


class ParityProgram(ExportedProgram):
    """A copy of the student that behaves as the picked point was measured to.

    An ordinary DSPy module that brings its language model and its rendering. Predictors have the
    student's names; attributes that it lacks are read from the student.

    To keep it, use :meth:`export` and :func:`optimizers.export.load_program`. ``save("x.json")``
    writes the student's state alone: without the rendering and the fields that a technique adds, a
    program that loads it does not behave as measured. Loading a state with a model that runs in the
    process, or with an ``api_base``, needs DSPy's ``allow_unsafe_lm_state=True``;
    ``save(folder, save_program=True)`` needs a model over HTTP.

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
