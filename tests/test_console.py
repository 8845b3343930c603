"""What a person reads: the choices that mattered, or that none did."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import candidate, manifest, rollouts

from optimizers import console
from optimizers.frontier.build import build_report
from optimizers.frontier.report import Effect, FrontierReport, Importance


def choice(model: str | None, *, low: float, **changes: object) -> Importance:
    content = {
        "model": model,
        "dimension": "demos",
        "share": 0.6,
        "low": low,
        "high": 0.8,
        "baseline": "4 per label",
        "effects": (
            Effect(value="none", effect=-0.3, low=-0.4, high=-0.2, cost_ratio=0.5, candidates=4),
            Effect(value="4 per label", effect=0.0, low=0.0, high=0.0, cost_ratio=1.0, candidates=9),
            Effect(value="8 per label", effect=0.05, low=-0.1, high=0.2, cost_ratio=2.0, candidates=3),
        ),
    }
    return Importance.model_validate(content | changes)


def report(*importance: Importance) -> FrontierReport:
    of = candidate("local/small", "own")
    rows = rollouts(of, [1.0] * 20, cost=1e-6)
    made = build_report(manifest(), {of.id: of}, rows, roles={of.id: ("searched",)}, trials=1, seconds=1.0)
    return made.model_copy(update={"importance": importance})


def shown(made: FrontierReport, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(console.stdout, "_width", 120)
    console.show_report(made, Path("runs/study"))
    return capsys.readouterr().out


def test_a_choice_that_matters_shows_its_share_and_its_surest_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown(report(choice("local/small", low=0.4), choice("local/large", low=0)), capsys, monkeypatch)
    [row] = [line for line in said.splitlines() if "60% (40%-80%)" in line]
    # Four per label beat none for sure; that eight are better still is not.
    assert row.index("4 per label") < row.index("none")
    for part in ("small", "demos", "+0.30 (+0.20 to +0.40)", "x 2.00"):
        assert part in row
    assert "nothing: large" in said


def test_the_most_important_choices_are_shown_and_what_goes_with_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [choice(None, low=0.1, dimension=f"choice {number}", goes_with=("rival",)) for number in range(5)]
    said = shown(report(*many), capsys, monkeypatch)
    assert [number for number in range(5) if f"choice {number} (with rival)" in said] == [0, 1, 2]


def test_one_line_says_that_no_choice_mattered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown(report(choice(None, low=0), choice("local/small", low=0)), capsys, monkeypatch)
    assert "none is distinguishable on dev from one that does nothing: all models, small" in said
    assert "60%" not in said
