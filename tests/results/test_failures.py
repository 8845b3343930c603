"""What went wrong on dev: labels, answers, unreadable replies, and whose errors they are."""

from __future__ import annotations

from pathlib import Path

from results.studies import DEV, LARGE_BEST, SMALL_BEST, begin, usual

from optimizers.records.rows import ExampleRow
from optimizers.results.failures import closed_fields
from optimizers.results.render.report_sections import to_markdown
from optimizers.results.study_report import study_report


def example(number: int, **gold: object) -> ExampleRow:
    return ExampleRow(id=str(number), split="dev", inputs={}, gold=gold)


def test_answers_are_counted_by_declared_label_and_by_what_was_said(tmp_path: Path) -> None:
    said = {0: "good", 2: "good", 4: "meh", 1: "bad", 3: ValueError("??"), 5: None, 6: "BAD"}
    small, _ = study_report(usual(tmp_path, small=said)).failures
    assert (small.n, small.wrong, small.unreadable) == (DEV - 1, 6, 1)
    assert small.failed == {"timeout": 1}
    (confusion,) = small.confusions
    bad, good = confusion.rows
    assert (bad.right, bad.n, bad.said) == ("bad", 20, (("good", 2), ("meh", 1)))
    # What differs in letter case alone is no confusion of labels, whatever the metric says.
    assert bad.hits == 17
    assert (good.right, good.n, good.said) == ("good", 19, (("bad", 1), ("(unreadable)", 1)))
    commonest = small.answers[0]
    assert (commonest.said, commonest.right, commonest.count) == ("good", "bad", 2)
    assert small.garbled == ("unparsed reply: ??",)


def test_errors_all_models_share_are_told_from_those_of_one(tmp_path: Path) -> None:
    # The large model is wrong on 0 and 4.
    found = study_report(usual(tmp_path, small={0: "good", 2: "good", 6: "good", 8: None})).shared
    (versus,) = found.versus
    assert (versus.model, versus.n) == ("small", DEV - 1)
    assert (versus.both_wrong, versus.only_it_wrong, versus.only_reference_wrong) == (1, 2, 1)
    assert versus.both_right == DEV - 1 - 4
    assert (found.n, found.by_all) == (DEV - 1, 1)
    assert [one.inputs["review"] for one in found.samples] == ["review of dev 0"]
    assert [name for name, _ in found.samples[0].said] == ["small", "large"]
    assert [one.inputs["review"] for one in found.alone] == ["review of dev 2", "review of dev 6"]


def test_a_single_model_shares_its_errors_with_nobody(tmp_path: Path) -> None:
    made = begin(tmp_path)
    made.write_examples()
    made.measure(LARGE_BEST, {2: "good"}, cost=1e-5)
    found = study_report(made.finish({LARGE_BEST.id: ("frontier", "best", "reference")}))
    markdown = to_markdown(found)
    assert "review of dev 2" in markdown
    assert "Shared errors" not in markdown
    assert "every model" not in markdown


def test_free_answers_have_no_confusion_of_labels() -> None:
    free = {str(n): example(n, answer=f"it is {n}", kind=n % 3, always="yes") for n in range(30)}
    assert closed_fields(free) == ["kind"]


def test_a_model_right_everywhere_has_no_errors_to_show(tmp_path: Path) -> None:
    made = begin(tmp_path)
    made.write_examples()
    for one, cost in ((SMALL_BEST, 1e-6), (LARGE_BEST, 1e-5)):
        made.measure(one, {}, cost=cost)
    roles = {SMALL_BEST.id: ("frontier", "best"), LARGE_BEST.id: ("best", "reference")}
    found = study_report(made.finish(roles))  # type: ignore[arg-type]
    assert [one.wrong for one in found.failures] == [0, 0]
    assert "Commonest wrong" not in to_markdown(found)
