"""What the verdict means for the person who asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes import candidate
from report.studies import LARGE_BEST, SMALL_BEST, begin

from optimizers.frontier.report import Role
from optimizers.report.build import study_report
from optimizers.report.findings import Step

CHEAPER = candidate("local/small", "cheaper")


def steps(
    runs: Path, small: Mapping[int, Any], margin: float, cheaper: Mapping[int, Any] | None = None
) -> tuple[Step, ...]:
    made = begin(runs, margin=margin)
    made.write_examples()
    made.measure(LARGE_BEST, {0: "good"}, cost=1e-5)
    made.measure(SMALL_BEST, small, cost=1e-6)
    roles: dict[str, tuple[Role, ...]] = {
        SMALL_BEST.id: ("frontier", "best"),
        LARGE_BEST.id: ("frontier", "best", "reference"),
    }
    if cheaper is not None:
        made.measure(CHEAPER, cheaper, cost=1e-7)
        roles[CHEAPER.id] = ("frontier",)
    return study_report(made.finish(roles)).steps


def test_a_match_is_to_be_shipped_the_cheapest_of_them(tmp_path: Path) -> None:
    (step,) = steps(tmp_path, {0: "good"}, 0.2, cheaper={0: "good"})
    assert "Ship" in step.said
    assert step.command == f"optimize export study --to dspy --point {CHEAPER.id}"


def test_an_open_verdict_asks_for_examples_and_keeps_the_reference_meanwhile(tmp_path: Path) -> None:
    first, second = steps(tmp_path, {2: "good"}, 0.02)
    assert "more test examples would settle it" in first.said
    assert "as a match" in first.said
    assert second.command == f"optimize export study --to dspy --point {LARGE_BEST.id}"


def test_the_nearest_open_point_speaks_for_its_model_not_a_refused_best(tmp_path: Path) -> None:
    first, *_ = steps(tmp_path, dict.fromkeys(range(0, 40, 2), "good"), 0.02, cheaper={2: "good"})
    assert "Nothing is shown to match" in first.said
    assert "(+0.000)" in first.said


def test_a_refused_model_is_not_shipped_and_may_be_trained(tmp_path: Path) -> None:
    first, second, third = steps(tmp_path, dict.fromkeys(range(0, 40, 2), "good"), 0.02)
    assert "keep the reference" in first.said
    assert LARGE_BEST.id in (second.command or "")
    assert "finetune" in (third.command or "")


def test_failed_rollouts_ask_for_mending_not_for_labels(tmp_path: Path) -> None:
    first, *_ = steps(tmp_path, dict.fromkeys(range(30)), 0.02)
    assert "30 of its rollouts on test got no score" in first.said


def test_a_lone_model_is_exported(tmp_path: Path) -> None:
    made = begin(tmp_path)
    made.write_examples()
    made.measure(LARGE_BEST, {}, cost=1e-5)
    (step,) = study_report(made.finish({LARGE_BEST.id: ("frontier", "best", "reference")})).steps
    assert LARGE_BEST.id in (step.command or "")
