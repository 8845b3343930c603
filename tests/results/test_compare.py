"""Two studies held against each other: paired where they may be, and never where they may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import LARGE, SMALL, candidate
from results.studies import LARGE_BEST, SMALL_BEST, TEST, begin, usual

from optimizers.errors import StudyError
from optimizers.models.model import Price
from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.folder import StudyFolder
from optimizers.results.compare import Contest, StudyComparison, choice_differences, compare_studies
from optimizers.results.render.compare_sections import to_markdown

OTHER = candidate(SMALL.name, "another")


def study(
    runs: Path,
    name: str,
    best: Candidate,
    wrong: Mapping[int, Any],
    *,
    tests: Sequence[int] = range(TEST),
    cost: float = 1e-6,
    **changes: Any,
) -> StudyFolder:
    made = begin(runs, name, **changes)
    made.tests = tests
    made.write_examples()
    made.measure(best, wrong, cost=cost)
    made.measure(LARGE_BEST, dict.fromkeys(range(1, 9), "?"), cost=1e-5)
    return made.finish({best.id: ("frontier", "best"), LARGE_BEST.id: ("best", "reference")})


def of(model: str, found: StudyComparison) -> Contest:
    (contest,) = [contest for contest in found.contests if contest.of == model]
    return contest


def test_the_second_is_paired_with_the_first_on_the_test_examples_of_both(tmp_path: Path) -> None:
    a = study(tmp_path, "a", SMALL_BEST, dict.fromkeys(range(20), "?"))
    b = study(tmp_path, "b", OTHER, {0: "?"}, cost=2e-6)
    found = compare_studies(a, b)
    of_small = of("small", found)
    assert of_small.gap is not None
    assert (of_small.gap.paired, of_small.gap.n, found.shared) == (True, TEST, TEST)
    assert of_small.gap.difference == pytest.approx(19 / TEST)
    assert of_small.gap.low > 0
    assert of_small.comparison is not None
    assert of_small.comparison.verdict == "match"
    assert of_small.cost_ratio == pytest.approx(2.0)
    assert found.differences == ()
    assert "B's is better" in to_markdown(found)


def test_the_other_way_round_the_loss_is_shown(tmp_path: Path) -> None:
    a = study(tmp_path, "a", SMALL_BEST, dict.fromkeys(range(20), "?"))
    b = study(tmp_path, "b", OTHER, {0: "?"})
    (contest,) = [
        one for one in compare_studies(b, a).contests if one.a.candidate == OTHER.id and one.of == "small"
    ]
    assert contest.comparison is not None
    assert contest.comparison.verdict == "no match"


@pytest.mark.parametrize("first", [TEST, TEST - 20])
def test_too_few_shared_examples_are_never_paired(tmp_path: Path, first: int) -> None:
    a = study(tmp_path, "a", SMALL_BEST, dict.fromkeys(range(20), "?"))
    b = study(tmp_path, "b", OTHER, {}, tests=range(first, first + TEST), data_hash="2" * 16)
    found = compare_studies(a, b)
    assert found.shared == TEST - first
    for contest in found.contests:
        assert contest.comparison is None
        assert contest.gap is not None
        assert not contest.gap.paired
    said = to_markdown(found)
    assert "unpaired" in said
    assert "none: not paired" in said
    assert "The data differ" in said


def test_an_unpaired_interval_is_of_both_means(tmp_path: Path) -> None:
    a = study(tmp_path, "a", SMALL_BEST, dict.fromkeys(range(20), "?"))
    b = study(tmp_path, "b", OTHER, {}, tests=range(TEST, 2 * TEST))
    contest = of("small", compare_studies(a, b))
    assert contest.gap is not None
    assert contest.gap.difference == pytest.approx(20 / TEST)
    assert 0.2 < contest.gap.low < 20 / TEST < contest.gap.high < 0.47


@pytest.mark.parametrize("changes", [{"metric": "f1"}, {"metric_hash": "changed"}])
def test_scores_of_two_metrics_are_not_compared(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(StudyError, match="cannot be compared"):
        compare_studies(usual(tmp_path, "a"), usual(tmp_path, "b", **changes))


def test_an_unfinished_study_is_refused(tmp_path: Path) -> None:
    made = begin(tmp_path, "unfinished")
    made.ledger.close()
    with pytest.raises(StudyError, match="not finished"):
        compare_studies(usual(tmp_path, "a"), made.folder)


def test_what_differs_between_the_studies_is_named_and_the_stricter_margin_holds(tmp_path: Path) -> None:
    dearer = SMALL.model_copy(update={"price": Price(input=1, output=2, source="test")})
    b = usual(tmp_path, "b", margin=0.1, program_hash="9" * 16, seed=1, models=(dearer, LARGE))
    found = compare_studies(usual(tmp_path, "a"), b)
    named = {one.what: (one.a, one.b) for one in found.differences}
    assert set(named) == {"program file (hash)", "price of local/small", "margin", "seed"}
    assert named["margin"] == ("0.02", "0.1")
    assert found.margin == 0.02
    assert "programs differ" in to_markdown(found)


def test_frontiers_are_measured_on_common_bounds(tmp_path: Path) -> None:
    a = study(tmp_path, "a", SMALL_BEST, dict.fromkeys(range(20), "?"), cost=5e-6)
    b = study(tmp_path, "b", OTHER, {}, cost=1e-6)
    one, other = compare_studies(a, b), compare_studies(b, a)
    assert one.covered is not None
    assert one.covered[0] < one.covered[1]
    assert other.covered == (one.covered[1], one.covered[0])
    same = compare_studies(b, b)
    assert same.covered is not None
    assert same.covered[0] == same.covered[1]
    assert all(contest.same for contest in same.contests)


def test_prompts_that_differ_are_told_choice_by_choice() -> None:
    base = Candidate(
        model="m",
        rendering="completion",
        technique="direct",
        predictors={"p": PredictorPrompt(instruction="Do.", demos=({"a": 1}, {"a": 2}), demos_name="2")},
    )
    prompt = PredictorPrompt(instruction="Do it.", demos=({"a": 1}, {"a": 3}), demos_name="2")
    other = base.model_copy(update={"predictors": {"p": prompt}, "sampling": Sampling(temperature=0.7)})
    found = {one.what: (one.a, one.b) for one in choice_differences(base, other)}
    assert found == {
        "sampling": ("greedy", "t=0.7 top_p=1"),
        "its text": ("Do.", "Do it."),
        "the demos themselves, 1 in common": ("2", "2"),
    }
    two = base.model_copy(update={"predictors": {"p": prompt, "q": prompt}})
    assert [one.what for one in choice_differences(base, two)] == ["predictors"]
