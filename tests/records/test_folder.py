"""A study's folder: names that stay inside runs/, files that are whole or not there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import manifest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder, list_studies, newest_study, plain_name, valid_name


@given(st.text(max_size=100))
def test_a_valid_name_is_one_path_component_that_shows(name: str) -> None:
    try:
        valid_name(name)
    except StudyError:
        return
    assert Path(name).name == name
    assert not name.startswith(".")


def test_a_study_is_found_again(tmp_path: Path) -> None:
    made = manifest(name="reviews-1")
    StudyFolder.create(tmp_path, made)
    assert list_studies(tmp_path) == ["reviews-1"]
    assert StudyFolder.load(tmp_path, "reviews-1").read_manifest() == made


def test_the_newest_study_is_the_one_begun_last(tmp_path: Path) -> None:
    for name, year in (("b", 2026), ("c", 2028), ("a", 2027)):
        StudyFolder.create(tmp_path, manifest(name=name, created=datetime(year, 1, 1, tzinfo=UTC)))
    assert newest_study(tmp_path).path.name == "c"


def test_the_newest_study_may_be_one_with_a_result_or_one_without(tmp_path: Path) -> None:
    for name, year in (("old", 2026), ("new", 2027)):
        StudyFolder.create(tmp_path, manifest(name=name, created=datetime(year, 1, 1, tzinfo=UTC)))
    with pytest.raises(StudyError, match="resume STUDY goes on with one of new, old"):
        newest_study(tmp_path, finished=True)
    StudyFolder.at(tmp_path, "old").report.write_text("{}")
    assert newest_study(tmp_path, finished=True).path.name == "old"
    assert newest_study(tmp_path, finished=False).path.name == "new"
    StudyFolder.at(tmp_path, "new").report.write_text("{}")
    with pytest.raises(StudyError, match="Every study has finished"):
        newest_study(tmp_path, finished=False)


def test_a_missing_study_names_those_there_are(tmp_path: Path) -> None:
    StudyFolder.create(tmp_path, manifest(name="reviews-1"))
    with pytest.raises(StudyError, match="reviews-1"):
        StudyFolder.load(tmp_path, "reviews-2")


def test_an_unfinished_study_has_no_report_yet(tmp_path: Path) -> None:
    folder = StudyFolder.create(tmp_path, manifest())
    with pytest.raises(StudyError, match="not finished"):
        folder.read_report()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = StudyFolder.create(tmp_path, manifest())
    folder.manifest.write_text("{}")
    with pytest.raises(StudyError, match=r"study\.json"):
        folder.read_manifest()


BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "/x",
    "~",
    "~/x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\n",
    "\x1b[2J",
    "é",
    "x" * 300,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_study_is_neither_begun_nor_read_outside_its_runs(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError, match="cannot name a study"):
        StudyFolder.create(tmp_path / "runs", manifest(name=name))
    with pytest.raises(StudyError, match="cannot name a study"):
        StudyFolder.load(tmp_path / "runs", name)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=300))
def test_any_text_gives_a_name_that_is_one(text: str) -> None:
    assert valid_name(f"{plain_name(text)}-123456-seed1")


def test_no_study_is_begun_through_a_link_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("")
    for name in ("link", "dangling", "file"):
        with pytest.raises(StudyError, match="cannot be made"):
            StudyFolder.create(tmp_path, manifest(name=name))
    assert list((tmp_path / "elsewhere").iterdir()) == []
