"""The comparison with other optimizers: tables and readings of outcomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.peers_report import OURS, PLAIN, Outcome, cells, outcomes_of, reading, report, table

ORDER = [OURS, PLAIN, "MIPROv2", "GEPA"]
PAIR = ("classify", "smollm2")


def outcome(
    optimizer: str, right: int, *, how: str = "ours", seed: int = 0, model: str = "smollm2"
) -> Outcome:
    scores = (1.0,) * right + (0.0,) * (200 - right)
    return Outcome("classify", model, how, optimizer, seed, scores, 1000, 600.0)


def test_parity_is_compared_by_example_and_under_every_rendering() -> None:
    known = [outcome(OURS, 180), outcome("MIPROv2", 150), outcome("MIPROv2", 20, how="chat")]
    for how, theirs in (("ours", 150), ("chat", 20)):
        found = cells(known, how)
        assert found[OURS][PAIR].ours is None
        cell = found["MIPROv2"][PAIR]
        assert cell.interval[0] == theirs / 200
        assert cell.ours is not None
        difference, low, high = cell.ours
        assert abs(difference - (180 - theirs) / 200) < 1e-9
        assert 0 < low < difference < high


def test_seeds_are_averaged_and_counted() -> None:
    known = [outcome(OURS, 180), outcome("GEPA", 100), outcome("GEPA", 140, seed=1)]
    cell = cells(known, "ours")["GEPA"][PAIR]
    assert cell.seeds == (0.5, 0.7)
    assert abs(cell.interval[0] - 0.6) < 1e-9
    assert ", 2 seeds: 0.500 to 0.700)" in table(cells(known, "ours"), ORDER)


def test_a_search_that_an_error_ended_is_told(tmp_path: Path) -> None:
    known = [outcome(OURS, 180), replace(outcome("MIPROv2", 46), ended="AdapterParseError: no JSON")]
    for one in known:
        one.write(tmp_path / f"{one.optimizer}.json")
    lines = table(cells(outcomes_of(tmp_path), "ours"), ORDER).splitlines()
    assert "plain: an error ended the search" in next(line for line in lines if "MIPROv2" in line)
    assert "an error" not in next(line for line in lines if OURS in line)


def test_what_was_not_run_stays_empty_and_is_not_compared() -> None:
    known = [outcome(OURS, 180), outcome("GEPA", 100), outcome("MIPROv2", 190, model="gemma")]
    lines = table(cells(known, "ours"), ORDER).splitlines()
    (line,) = (line for line in lines if line.startswith("| MIPROv2"))
    assert line == "| MIPROv2 |  | 0.950 (0.91-0.97) | 1,000 | 10 |"
    assert reading(cells(known, "ours")).startswith("Of 1 comparisons")


def test_the_reading_names_where_parity_is_below() -> None:
    known = [outcome(OURS, 180), outcome(PLAIN, 199), outcome("MIPROv2", 184), outcome("GEPA", 100)]
    said = reading(cells(known, "ours"))
    assert said.startswith("Of 2 comparisons")
    assert "above in 1, clearly (the interval excludes 0) in 1; clearly below in 1." in said
    assert "Below: MIPROv2 on classify, smollm2 (-0.020)." in said
    assert "GEPA" not in said


def test_a_report_has_a_table_and_a_picture_of_each_rendering_that_was_run(tmp_path: Path) -> None:
    known = [outcome(OURS, 180), outcome("MIPROv2", 150), outcome("GEPA", 100)]
    said = report(known, ORDER, tmp_path)
    assert "![Peers under Parity's plainest rendering](peers-ours.png)" in said
    assert "ChatAdapter" not in said
    assert (tmp_path / "peers-ours.png").stat().st_size > 5_000
    assert not (tmp_path / "peers-chat.png").exists()


def test_a_kept_outcome_is_read_back_as_it_was(tmp_path: Path) -> None:
    known = outcome("GEPA", 3)
    known.write(tmp_path / "one.json")
    assert outcomes_of(tmp_path) == [known]
