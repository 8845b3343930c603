"""Records that are damaged in any way: read as far as they can be, or refused with the file named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from fakes import candidate
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from results.studies import usual

from optimizers.errors import StudyError
from optimizers.records.candidate import Candidate
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.rows import Call
from optimizers.results.study_report import study_report

CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=30), st.integers(0, 30)),
    min_size=1,
    max_size=8,
)
"""Places in a file as shares of its length, what is written there, and how many bytes that replaces."""

Kept = tuple[StudyFolder, Mapping[str, bytes]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A finished study, and its files as they were written."""
    folder = usual(tmp_path_factory.mktemp("runs"))
    with closing(sqlite3.connect(folder.ledger)) as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder, {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}


def damage(study: Kept, name: str, changes: list[tuple[float, bytes, int]], length: float = 1.0) -> None:
    """Put a study's files back as they were, but one."""
    folder, whole = study
    for path in folder.path.iterdir():
        path.unlink()
    for known, content in whole.items():
        (folder.path / known).write_bytes(content)
    damaged = bytearray(whole[name])
    for place, written, replaced in changes:
        at = int(place * len(damaged))
        damaged[at : at + replaced] = written
    (folder.path / name).write_bytes(damaged[: max(1, round(length * len(damaged)))])


def refusal(reading: Callable[[], object]) -> str | None:
    """What a reading is refused with; None where it is not."""
    try:
        reading()
    except StudyError as error:
        return str(error)
    return None


def read_all(path: Path) -> None:
    with Ledger.open(path) as ledger:
        for reading in (
            ledger.rollouts, ledger.trials, ledger.candidates, ledger.examples, ledger.calls, ledger.used,
            ledger.test_opening, lambda: ledger.get("round 1"), lambda: ledger.count_calls("state"),
            lambda: ledger.begin_session(0.0),
        ):  # fmt: skip
            reading()


@pytest.mark.fuzz
@given(changes=CHANGES, length=st.just(1.0) | st.floats(0, 1))
def test_any_damage_to_a_ledger_is_a_study_error(
    study: Kept, changes: list[tuple[float, bytes, int]], length: float
) -> None:
    # Bytes are replaced, none moved: else SQLite sees at once that this is no database.
    damage(study, "ledger.db", [(at, written, len(written)) for at, written, _ in changes], length)
    assert "ledger.db" in (refusal(lambda: read_all(study[0].ledger)) or "ledger.db")


@pytest.mark.fuzz
@given(name=st.sampled_from(["frontier.json", "study.json"]), changes=CHANGES)
def test_any_damage_to_what_a_study_is_and_found_is_a_study_error(
    study: Kept, name: str, changes: list[tuple[float, bytes, int]]
) -> None:
    damage(study, name, changes)
    folder, _ = study
    assert name in (refusal(lambda: (folder.read_manifest(), folder.read_report())) or name)


@settings(max_examples=20)  # each takes a tenth of a second
@given(name=st.sampled_from(["ledger.db", "frontier.json"]), changes=CHANGES)
def test_a_report_on_damaged_records_is_made_or_refused(
    study: Kept, name: str, changes: list[tuple[float, bytes, int]]
) -> None:
    damage(study, name, [(at, b"7" * len(written), len(written)) for at, written, _ in changes])
    refusal(lambda: study_report(study[0]))


WHOLE = candidate("local/small", "one").model_dump_json().encode()


@pytest.mark.fuzz
@given(changes=CHANGES)
def test_any_text_is_a_candidate_that_comes_back_or_none(changes: list[tuple[float, bytes, int]]) -> None:
    damaged = bytearray(WHOLE)
    for place, written, replaced in changes:
        at = int(place * len(damaged))
        damaged[at : at + replaced] = written
    try:
        found = Candidate.model_validate_json(bytes(damaged))
    except ValidationError:
        return
    again = Candidate.model_validate_json(found.model_dump_json())
    assert (again, again.id) == (found, found.id)


def test_a_ledger_that_cannot_be_written_is_a_study_error(tmp_path: Path) -> None:
    call = Call(phase="search", model="m", prompt_tokens=1, completion_tokens=1, cost=0, started=0)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
            other.execute("DROP TABLE calls")
        with pytest.raises(StudyError, match="cannot be written"):
            ledger.start_call(call)
