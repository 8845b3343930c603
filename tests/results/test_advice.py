"""What to do next follows from what was shown, what more search promises, and what can be learnt."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from fakes import LARGE, SMALL, candidate, manifest, rollouts
from results.studies import usual

from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder
from optimizers.records.report import FrontierReport, Role
from optimizers.results.advice import FEWEST_ROWS, Advice, advice_of, advise
from optimizers.results.finished_study import open_study
from optimizers.results.frontier import build_report
from optimizers.results.statistics.forecast import LEVELS, NOTHING, Forecast

MUCH = Forecast(np.linspace(0.0, 0.1, len(LEVELS)))
AGAIN = "optimize reviews.py --from study --budget 40trials"


def report(
    small: float,
    large: float = 0.9,
    n: int = 400,
    cost: float = 1e-6,
    own: tuple[Role, ...] = ("frontier", "best"),
) -> FrontierReport:
    """A finished study: the small model's best and the reference's, tested on the same examples."""
    mine, best = candidate(SMALL.name, "own"), candidate(LARGE.name, "own")
    scores = {}
    for one, level in ((mine, small), (best, large)):
        right = round(level * n)
        scores[one.id] = [1.0] * right + [0.0] * (n - right)
    roles: dict[str, tuple[Role, ...]] = {
        mine.id: own,
        best.id: ("frontier", "best", "reference"),
    }
    rows = [
        row
        for one, price in ((mine, cost), (best, 1e-5))
        for split in ("dev", "test")
        for row in rollouts(one, scores[one.id], cost=price, split=split)
    ]
    return build_report(manifest(), {mine.id: mine, best.id: best}, rows, roles=roles, trials=2, seconds=1.0)


def advised(found: FrontierReport, more: Forecast = NOTHING, rows: int = 500) -> Advice:
    return advise(found, dict.fromkeys((SMALL.name, LARGE.name), more), rows=rows, again=AGAIN)


def of(found: FrontierReport, model: str) -> str:
    return next(point.candidate.id for point in found.points if point.candidate.model == model)


def test_a_small_model_that_matches_is_shipped_whatever_more_search_promises() -> None:
    found = report(0.9)
    said = advised(found, MUCH)
    assert (said.word, said.point) == ("ship", of(found, SMALL.name))
    assert "match" in said.sentence
    assert "10%" in said.sentence
    assert said.command == f"optimize export study --point {said.point} --to dspy"


def test_a_match_beside_the_frontier_is_shipped_too() -> None:
    found = report(0.9, own=("best",))
    assert advised(found).point == of(found, SMALL.name)


def test_a_dearer_model_is_neither_shipped_for_a_match_nor_trained() -> None:
    for level in (0.9, 0.8):
        found = report(level, cost=3e-5)
        said = advised(found)
        assert (said.word, said.point) == ("ship", of(found, LARGE.name))


def test_where_more_search_is_expected_to_gain_it_goes_on() -> None:
    said = advised(report(0.8), MUCH)
    assert said.word == "keep prompting"
    assert said.model == SMALL.name
    assert said.command == AGAIN
    assert "5.0 points" in said.sentence


def test_a_gap_that_more_search_will_not_close_is_left_to_fine_tuning() -> None:
    found = report(0.8)
    said = advised(found)
    assert (said.word, said.model) == ("fine-tune", SMALL.name)
    assert said.command == f"optimize export study --to finetune --point {of(found, SMALL.name)}"
    assert said.point == of(found, LARGE.name)
    assert "500 examples" in said.sentence
    assert any("10.0 points" in reason for reason in said.reasons)


def test_with_too_little_to_learn_from_the_large_model_is_shipped_and_it_says_why() -> None:
    found = report(0.8)
    said = advised(found, rows=FEWEST_ROWS - 1)
    assert (said.word, said.point) == ("ship", of(found, LARGE.name))
    assert any(str(FEWEST_ROWS) in reason for reason in said.reasons)


def test_a_small_model_that_may_well_match_needs_examples_not_fine_tuning() -> None:
    found = report(0.895, n=60)
    small = next(point for point in found.points if point.candidate.model == SMALL.name)
    assert small.comparison is not None
    assert small.comparison.verdict == "indecisive"
    said = advised(found)
    assert (said.word, said.point) == ("ship", of(found, LARGE.name))
    assert any("more test rows" in reason for reason in said.reasons)


def test_a_study_of_one_model_is_advised_too() -> None:
    both = report(0.8)
    alone = both.model_copy(update={"points": tuple(p for p in both.points if "reference" in p.roles)})
    assert advised(alone).word == "ship"
    assert advised(alone, MUCH).word == "keep prompting"


@pytest.mark.parametrize("level", [0.5, 0.85, 0.88, 0.9, 0.95])
def test_more_search_never_makes_a_match_less_likely(level: float) -> None:
    for one in advised(report(level), MUCH).model_forecasts:
        if one.matches is not None and one.will_match is not None:
            assert one.matches <= one.will_match


def advised_on(folder: StudyFolder) -> Advice:
    with open_study(folder) as study:
        return advice_of(study.manifest, study.report, study.ledger)


def test_a_finished_study_is_advised_on_from_its_records(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    said = advised_on(folder)
    report = folder.read_report()
    assert said.point in {point.candidate.id for point in report.points if point.test}
    assert {one.model for one in said.model_forecasts} == {
        point.candidate.model for point in report.with_role("best")
    }
    assert all(one.low <= one.gain for one in said.model_forecasts)


def test_a_study_whose_test_was_never_run_is_no_ground_for_advice(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    report = folder.read_report()
    untested = tuple(point.model_copy(update={"test": None}) for point in report.points)
    folder.write_report(report.model_copy(update={"points": untested}))
    with pytest.raises(StudyError, match="larger budget"):
        advised_on(folder)


def test_a_command_to_search_on_survives_a_path_with_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "optimizers.results.advice.forecast", lambda *known: Forecast(np.full(len(LEVELS), 0.1))
    )
    monkeypatch.setattr("optimizers.results.advice._is_match", lambda point: False)
    folder = usual(tmp_path, program="my programs/a.py")
    said = advised_on(folder)
    assert said.word == "keep prompting"
    assert shlex.split(said.command)[:2] == ["optimize", "my programs/a.py"]


def test_a_study_of_code_is_advised_on_without_a_command_that_cannot_run(tmp_path: Path) -> None:
    assert advised_on(usual(tmp_path, program="app.py::Router")).command == ""
