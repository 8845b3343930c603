"""The advice on a study, from what its ledger holds."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from results.studies import usual

from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder
from optimizers.results.advice import Advice
from optimizers.results.statistics.forecast import LEVELS, Forecast
from optimizers.results.study_advice import advice_of
from optimizers.results.study_report import open_study


def advised(folder: StudyFolder) -> Advice:
    with open_study(folder) as study:
        return advice_of(study.manifest, study.report, study.ledger)


def test_a_finished_study_is_advised_on_from_its_records(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    said = advised(folder)
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
        advised(folder)


def test_a_command_to_search_on_survives_a_path_with_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "optimizers.results.study_advice.forecast", lambda *known: Forecast(np.full(len(LEVELS), 0.1))
    )
    monkeypatch.setattr("optimizers.results.advice._is_match", lambda point: False)
    folder = usual(tmp_path, program="my programs/a.py")
    said = advised(folder)
    assert said.word == "keep prompting"
    assert shlex.split(said.command)[:2] == ["optimize", "my programs/a.py"]
