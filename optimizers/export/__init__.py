"""Exports: a point of a frontier as something an app can use, behaving exactly as measured."""

from __future__ import annotations

from pathlib import Path

from optimizers.errors import UserError
from optimizers.export.dspy_program import load_program, write_dspy
from optimizers.export.openai_requests import write_openai
from optimizers.export.point import rebuild
from optimizers.records.folder import StudyFolder

__all__ = ["TARGETS", "export_point", "load_program"]

TARGETS = {"dspy": write_dspy, "openai": write_openai}
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
        UserError: No such target or point.
        ExportError: The export does not behave as the compiled program; nothing is written.
    """
    if target not in TARGETS:
        raise UserError(
            f"There is no export target {target!r}.", where="--to", fix=f"one of {', '.join(TARGETS)}"
        )
    exported = rebuild(folder, point)
    place = out or folder.exports / target
    place.mkdir(parents=True, exist_ok=True)
    return TARGETS[target](exported, place)
