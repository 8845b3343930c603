"""The page's curve of quality against what was spent, from the records."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from fakes import candidate

from optimizers.records.ledger import Ledger
from optimizers.records.rows import Call, TrialRow
from optimizers.results.render.study_page import anytime

ONE = candidate("local/small", "one")


def trial(number: int, ended: float, quality: float | None) -> TrialRow:
    return TrialRow(
        number=number,
        round=1,
        candidate=ONE.id,
        choices={},
        values=() if quality is None else (quality, 0.001),
        ran=(),
        began=datetime.fromtimestamp(ended - 1),
        ended=datetime.fromtimestamp(ended),
    )


def test_each_rise_of_quality_stands_at_what_was_spent_and_the_curve_ends_at_all_that_was(
    tmp_path: Path,
) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for ended, cost in ((1.0, 0.1), (2.0, 0.2), (5.0, 0.4), (9.0, 0.8)):
            call = Call(
                phase="search",
                candidate=ONE.id,
                model="local/small",
                prompt_tokens=1,
                completion_tokens=1,
                cost=cost,
                started=ended - 0.5,
            )
            ledger.end_call(ledger.start_call(call), ended, state="finished")
        ledger.add_trials(
            [
                trial(0, 1.5, 0.5),
                trial(1, 2.5, 0.4),
                trial(2, 3.0, None),
                trial(3, 6.0, 0.7),
                trial(4, 7.0, 0.7),
            ]
        )
        found = anytime(ledger)
    assert [quality for _, quality in found] == [0.5, 0.7, 0.7]
    assert [round(spent, 9) for spent, _ in found] == [0.1, 0.7, 1.5]
