"""The report of a study from its records: what is in it, and what must not be."""

from __future__ import annotations

from pathlib import Path

import pytest
from results.studies import (
    DEV,
    LARGE_BEST,
    ROLES,
    SMALL_BEST,
    SMALL_PLAIN,
    SMALL_START,
    TEST,
    begin,
    usual,
)

from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder
from optimizers.records.report import Suspect
from optimizers.results.render.html import to_html
from optimizers.results.render.markdown import to_markdown
from optimizers.results.study_report import study_report


def suspect(split: str, number: int) -> Suspect:
    return Suspect(
        example=f"{split}{number}",
        inputs={"review": f"review of {split} {number}"},
        gold={"sentiment": "good"},
        said={"sentiment": "bad"},
        share=0.9,
        candidates=5,
        models=("local/small",),
    )


def test_each_model_has_its_default_its_best_start_and_its_best(tmp_path: Path) -> None:
    small, large = study_report(usual(tmp_path)).results
    assert small.default is not None
    assert small.start is not None
    assert small.best is not None
    found = (small.default.candidate, small.start.candidate, small.best.candidate)
    assert found == (SMALL_PLAIN.id, SMALL_START.id, SMALL_BEST.id)
    assert small.starts == 2
    # The start was never tested, so the gain over it is of dev; one rollout of the best failed there.
    assert small.over_start is not None
    assert (small.over_start.split, small.over_start.n) == ("dev", DEV - 1)
    assert small.over_default is not None
    assert (small.over_default.split, small.over_default.n) == ("test", TEST - 1)
    assert small.over_default.low > 0
    assert large.start is not None
    assert large.best is not None
    assert large.start.candidate == large.best.candidate == LARGE_BEST.id
    assert large.over_start is None


def test_a_start_that_ran_little_is_not_the_best_for_its_luck(tmp_path: Path) -> None:
    made = begin(tmp_path)
    made.write_examples()
    made.measure(LARGE_BEST, {}, cost=1e-5)
    made.measure(SMALL_BEST, {0: "good"}, cost=1e-6)
    made.measure(SMALL_START, {0: "good", 2: "good"}, cost=1e-6, splits=["dev"])
    lucky = made.numbers
    made.numbers = lambda split: range(2, 4)  # type: ignore[method-assign]
    made.measure(SMALL_PLAIN, {}, cost=1e-6, splits=["dev"])
    made.numbers = lucky  # type: ignore[method-assign]
    made.begun_with(SMALL_START, SMALL_PLAIN)
    made.tried(SMALL_START, SMALL_PLAIN)
    small, _ = study_report(made.finish(ROLES)).results
    assert small.start is not None
    assert small.start.candidate == SMALL_START.id


def test_what_a_study_began_with_may_not_be_on_record(tmp_path: Path) -> None:
    made = begin(tmp_path)
    made.write_examples()
    made.measure(LARGE_BEST, {}, cost=1e-5)
    made.measure(SMALL_BEST, {}, cost=1e-6)
    found = study_report(made.finish(ROLES))
    assert [result.starts for result in found.results] == [None, None]
    assert "not on record" in to_markdown(found)


def test_spend_is_told_by_phase(tmp_path: Path) -> None:
    found = study_report(usual(tmp_path))
    assert [(one.phase, one.calls, one.tokens, one.dollars) for one in found.phases] == [
        ("search", 3, 33, 1.5),
        ("test", 2, 22, 1.0),
    ]


def test_a_dev_score_that_did_not_hold_shows_as_shrinkage(tmp_path: Path) -> None:
    made = begin(tmp_path)
    made.write_examples()
    made.measure(LARGE_BEST, dict.fromkeys(range(0, TEST, 2), "good"), cost=1e-5, splits=["test"])
    made.measure(LARGE_BEST, {}, cost=1e-5, splits=["dev"])
    (only,) = study_report(made.finish(ROLES)).shrinkage
    assert only.gap.difference == 0.5
    assert 0.3 < only.gap.low < only.gap.difference < only.gap.high < 0.7


def test_nothing_of_the_sealed_test_is_shown_in_any_form(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    report = folder.read_report()
    folder.write_report(report.model_copy(update={"suspects": (suspect("test", 1), suspect("dev", 3))}))
    found = study_report(folder)
    markdown = to_markdown(found)
    for shown in (markdown, to_html(markdown, "title"), found.model_dump_json()):
        assert "review of dev 0" in shown
        assert "review of dev 3" in shown
        assert "review of test" not in shown
    assert len(found.suspects) == 1


def test_a_study_without_a_result_or_a_ledger_is_refused(tmp_path: Path) -> None:
    unfinished = begin(tmp_path, "unfinished")
    unfinished.ledger.close()
    with pytest.raises(StudyError, match="not finished"):
        study_report(unfinished.folder)
    folder = usual(tmp_path, "whole")
    folder.ledger.unlink()
    with pytest.raises(StudyError, match="ledger"):
        study_report(folder)
    assert not folder.ledger.exists()


def test_a_report_changes_nothing_that_was_found(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    before = folder.read_report()
    assert study_report(folder) == study_report(StudyFolder(folder.path))
    assert folder.read_report() == before
