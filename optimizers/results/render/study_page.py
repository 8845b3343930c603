"""A study's page from its records: no model is loaded, no network is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optimizers.results.render.page import detail_of, write_page

if TYPE_CHECKING:
    from optimizers.records.folder import StudyFolder
    from optimizers.records.ledger import Ledger
    from optimizers.records.report import FrontierReport
    from optimizers.records.rows import Rollout
    from optimizers.results.render.page import Sent


def write_study_page(
    folder: StudyFolder,
    ledger: Ledger,
    known: Sequence[Rollout],
    report: FrontierReport,
    sent: Mapping[str, Sequence[Sent]],
) -> None:
    """Write the page of a study's frontier.

    Args:
        folder: The study's folder.
        ledger: Its ledger.
        known: All its rollouts.
        report: Its result.
        sent: Candidate id -> what its predictors are sent for a sample input.
    """
    rollouts: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in known:
        rollouts[rollout.candidate].append(rollout)
    examples = ledger.examples()
    details = {
        identity: detail_of(rows, examples, sent.get(identity, ())) for identity, rows in rollouts.items()
    }
    write_page(report, folder.page, details, anytime(ledger))


def anytime(ledger: Ledger) -> list[tuple[float, float]]:
    """US dollars that were spent, and the best quality on dev by then: at each rise, and in the end."""
    ends = [(call.ended, call.cost) for call in ledger.calls() if call.ended is not None]
    ends.sort()
    found: list[tuple[float, float]] = []
    spent, place = 0.0, 0
    for trial in ledger.trials():
        while place < len(ends) and ends[place][0] <= trial.ended.timestamp():
            spent += ends[place][1]
            place += 1
        if trial.values and (not found or trial.values[0] > found[-1][1]):
            found.append((spent, trial.values[0]))
    if found and (total := ledger.used().dollars) > found[-1][0]:
        found.append((total, found[-1][1]))
    return found
