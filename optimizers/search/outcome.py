"""What shows a study's result, written into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizers.evaluation.rendered_prompts import sent
from optimizers.records.folder import write_record
from optimizers.records.prompts import StudyPrompts
from optimizers.results.render.page import write_study_page
from optimizers.results.render.plot import draw_frontier

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.ledger import Ledger
    from optimizers.records.report import FrontierReport
    from optimizers.records.rows import Rollout
    from optimizers.task.task import LoadedTask


def write_outcome(
    task: LoadedTask,
    folder: StudyFolder,
    ledger: Ledger,
    rollouts: Sequence[Rollout],
    report: FrontierReport,
) -> None:
    """Write what shows a study's result into its folder: the picture, the prompts as sent, the page."""
    draw_frontier(report, folder.picture)
    shown = [point.candidate for point in report.points if point.roles != ("searched",)]
    prompts = {one.id: sent(task, one) for one in shown}
    write_record(folder.prompts, StudyPrompts(prompts=prompts))
    write_study_page(folder, ledger, rollouts, report, prompts)
