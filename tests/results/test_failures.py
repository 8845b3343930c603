"""What went wrong on dev: labels, answers, unreadable replies, and whose errors they are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results.studies import DEV, LARGE_BEST, SMALL_BEST, begin, usual

from optimizers.records.rows import ExampleRow, Rollout
from optimizers.results.failures import closed_fields, errors_of
from optimizers.results.render.markdown import to_markdown
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
    assert [one.by for one in found.samples[0].said] == ["small", "large"]
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


def rollout(example: str, split: Any, score: float | None, **changes: Any) -> Rollout:
    made = {
        "candidate": "c",
        "example": example,
        "split": split,
        "score": score,
        "failure": "timeout" if score is None else None,
        "output": {"label": "said"},
        "calls": 1,
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "cost": 0.0,
        "latency": 0.0,
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Rollout(**made | changes)


def examples(count: int) -> dict[str, ExampleRow]:
    return {
        f"{split}{n}": ExampleRow(
            id=f"{split}{n}", split=split, inputs={"text": f"{split} {n}"}, gold={"label": "ab"[n % 2]}
        )
        for split in ("dev", "test")
        for n in range(count)
    }


def test_errors_shown_are_of_dev_and_the_sealed_test_stays_unseen() -> None:
    rows = [rollout(f"dev{n}", "dev", score) for n, score in enumerate((1.0, 0.0, None, 0.5))]
    rows += [rollout("dev0", "dev", 0.0, number=1), rollout("gone", "train", 0.0)]
    rows += [rollout(f"test{n}", "test", 0.0) for n in range(4)]
    found = errors_of(rows, examples(4))
    assert [(error.inputs["text"], error.said[0].score) for error in found.errors] == [
        ("dev 1", 0.0),
        ("dev 3", 0.5),
    ]
    assert found.errors[0].said[0].output == {"label": "said"}
    assert found.errors[0].right == {"label": "b"}


def test_scores_by_label_are_of_the_test_where_there_is_one() -> None:
    rows = [rollout(f"dev{n}", "dev", 1.0) for n in range(4)]
    assert [(one.label, one.mean, one.n) for one in errors_of(rows, examples(4)).labels] == [
        ("a", 1.0, 2),
        ("b", 1.0, 2),
    ]
    rows += [rollout(f"test{n}", "test", float(n < 3)) for n in range(4)]
    found = errors_of(rows, examples(4))
    assert found.labels_on == "test"
    assert [(one.label, one.mean) for one in found.labels] == [("a", 1.0), ("b", 0.5)]


def test_answers_that_occur_once_each_are_no_labels() -> None:
    rows = [rollout(f"dev{n}", "dev", 1.0) for n in range(6)]
    free = {
        identity: row.model_copy(update={"gold": {"answer": identity}})
        for identity, row in examples(6).items()
    }
    assert errors_of(rows, free).labels == ()
