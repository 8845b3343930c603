"""What a person reads of a result and of a running study."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import candidate, manifest, rollouts
from results.studies import LARGE_BEST, SMALL_BEST, SMALL_START, begin

from optimizers.cli import console
from optimizers.cli import live as live_view
from optimizers.export.point import choose
from optimizers.records.budget import Budget, Use
from optimizers.records.prediction import Amount, Prediction
from optimizers.records.report import Effect, FrontierReport, Importance
from optimizers.records.rows import Phase
from optimizers.results.frontier import build_report
from optimizers.search.progress import Progress


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
    assert "contributed" not in capsys.readouterr().out
    console.show_report(made, Path("runs/study"), verbose=True)
    return capsys.readouterr().out


def test_a_choice_that_matters_shows_its_share_and_its_surest_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown(report(choice("local/small", low=0.4), choice("local/large", low=0)), capsys, monkeypatch)
    [row] = [line for line in said.splitlines() if "60% (40% to 80%)" in line]
    # Four per label beat none for sure; that eight are better still is not.
    assert row.index("4 per label") < row.index("none")
    for part in ("small", "demos", "+30.0 (+20.0 to +40.0)", "x 2.00"):
        assert part in row
    assert "No single choice made a measurable difference on dev for large." in said


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
    assert "No single choice made a measurable difference on dev." in said
    assert "60%" not in said


def progress(phase: Phase, *, share: float, phase_seconds: float = 60.0) -> Progress:
    return Progress(
        phase=phase,
        trials=3,
        budget=Budget(trials=10),
        used=Use(calls=30, tokens=900, dollars=0.01, seconds=120.0),
        rollouts=30,
        seconds=120.0,
        phase_seconds=phase_seconds,
        share=share,
        points=(),
    )


def test_a_running_study_says_which_step_of_how_many_it_is_at_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with live_view.watching("s") as watch:
        watch(progress("search", share=0.25))
        watch(progress("refine", share=0.5))
        watch(progress("test", share=0.5))
    search, settle, test = capsys.readouterr().err.splitlines()
    assert "step 1 of 3" in search
    assert "about 6m00s of this step left" in search
    assert "step 2 of 3" in settle
    assert "left" not in settle
    assert "step 3 of 3" in test
    assert "about 1m00s of this step left" in test


@pytest.mark.parametrize(("tested", "said"), [(76, "has 76 rows"), (37, "room for about 37 of the 76")])
def test_an_estimate_says_when_a_part_of_the_test_alone_fits(
    capsys: pytest.CaptureFixture[str], tested: int, said: str
) -> None:
    use = Amount(calls=600, tokens=1000, dollars=0.1, seconds=60)
    predicted = Prediction(trials=9, total=use, test=use, test_rows=76, tested=tested, detectable=0.183)
    console.show_prediction(predicted, "route", "600 calls", 0.02)
    assert said in capsys.readouterr().out


def test_names_are_never_cut_in_a_list_of_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.stdout, "_width", 80)
    name = "local/qwen2.5-coder-0.5b-instruct"
    row = {
        "name": name,
        "kind": "instruct",
        "billions": 0.5,
        "megabytes": 1117,
        "licence": "Gemma Terms of Use",
    }
    console.show_rows([{**row, "pulled": True}])
    [line] = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert "instruct " in line
    assert "1117" in line
    assert "yes" in line


def test_the_point_the_answer_is_about_can_be_exported_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.stdout, "_width", 120)
    # The small model's best was best on dev; the frontier has the cheaper start alone.
    made = begin(tmp_path)
    made.write_examples()
    made.measure(LARGE_BEST, {}, cost=1e-5)
    made.measure(SMALL_START, {0: "good"}, cost=1e-6)
    made.measure(SMALL_BEST, {2: "good", 4: "good"}, cost=2e-6)
    report = made.finish(
        {
            SMALL_START.id: ("frontier",),
            SMALL_BEST.id: ("best",),
            LARGE_BEST.id: ("frontier", "best", "reference"),
        }
    ).read_report()
    console.show_report(report, tmp_path / "study", verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert "58 of 60 right against 60" in report.answer
    (line,) = [line for line in lines if SMALL_BEST.id in line and SMALL_BEST.summary in line]
    for part in ("-", "small", "completion, direct", "38 of 40"):
        assert part in line
    assert choose(report, SMALL_BEST.id).candidate == SMALL_BEST
