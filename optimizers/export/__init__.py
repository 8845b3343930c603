"""Exports: a point of a frontier as something an app can use, behaving exactly as measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from optimizers.errors import UsageError
from optimizers.export.files import install_files
from optimizers.export.point import Exported, rebuild
from optimizers.export.targets.dspy_program import load_program, write_dspy
from optimizers.export.targets.finetune import write_finetune
from optimizers.export.targets.inspect_task import write_inspect
from optimizers.export.targets.litellm_proxy import write_litellm
from optimizers.export.targets.mlflow_registry import write_mlflow
from optimizers.export.targets.openai_requests import write_openai
from optimizers.export.targets.promptfoo import write_promptfoo
from optimizers.export.targets.prompty import write_prompty
from optimizers.export.targets.python_module import write_python
from optimizers.records.folder import StudyFolder
from optimizers.task.program_file import prints_on_stderr

__all__ = ["TARGETS", "export_point", "load_program", "writer"]

TARGETS = {
    "dspy": write_dspy,
    "openai": write_openai,
    "python": write_python,
    "promptfoo": write_promptfoo,
    "inspect": write_inspect,
    "prompty": write_prompty,
    "litellm": write_litellm,
    "mlflow": write_mlflow,
    "finetune": write_finetune,
}
"""Target -> ``write(exported, folder) -> paths``, which verifies before it writes."""


def export_point(
    folder: StudyFolder, *, target: str, point: str | None = None, out: Path | None = None
) -> list[Path]:
    """Export one point of a study's frontier. Loads no model.

    Args:
        folder: The study.
        target: One of :data:`TARGETS`.
        point: Candidate id; the point that tested best if left out.
        out: Folder to write to; ``exports/TARGET`` of the study if left out.

    Returns:
        The files written.

    Raises:
        UsageError: The target is unknown, or a file of the user's is where one of the export would go.
        UserError: The study lacks the point.
        ExportError: The export does not behave as the compiled program; nothing is written.
    """
    write = writer(target, where="--to")
    there = (out or folder.exports / target).absolute()  # a program may change the working folder
    with prints_on_stderr():
        return write(rebuild(folder, point), there)


def writer(target: str, *, where: str) -> Callable[[Exported, Path], list[Path]]:
    """The function that exports to a target. It makes the folder when missing.

    Args:
        target: One of :data:`TARGETS`.
        where: What the person calls this setting.

    Raises:
        UsageError: The target is unknown.
    """
    if target not in TARGETS:
        fix = f"one of {', '.join(TARGETS)}"
        raise UsageError(f"There is no export target {target!r}.", where=where, fix=fix)

    def write(exported: Exported, folder: Path) -> list[Path]:
        with TemporaryDirectory() as work:
            written = TARGETS[target](replace(exported, out=folder), Path(work))
            return install_files(written, folder, exported.folder.exports if exported.folder else None)

    return write
