"""Bootstrapped demos: each predictor's own reads and writes, of runs that were right, and no others."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from optimizers.prompting.proposals.bootstrap import bootstrapped, steps_by
from optimizers.records.rows import Rollout, Step, Trace


def step(predictor: str, read: str, wrote: str) -> Step:
    return Step(predictor=predictor, inputs={"text": read}, outputs={"note": wrote})


def run(number: int, score: float | None, *steps: Step, **changes: Any) -> Rollout:
    return Rollout(
        candidate="c" * 12,
        example=f"{number:016x}",
        split="train",
        score=score,
        failure="timeout" if score is None else None,
        calls=len(steps),
        prompt_tokens=1,
        completion_tokens=1,
        cost=0.0,
        latency=0.1,
        created=datetime.now(UTC),
        **{"trace": Trace(steps=steps), **changes},
    )


def teacher(count: int = 20) -> list[Rollout]:
    """Every other run is right; the note taker is called twice in each, the grader once."""
    return [
        run(
            n,
            float(n % 2),
            step("take", f"{n} long", f"{n}"),
            step("take", f"{n}", "."),
            step("grade", ".", "ok"),
        )
        for n in range(count)
    ]


def test_each_predictor_gets_its_own_calls_of_the_runs_that_passed() -> None:
    found = bootstrapped(teacher(), "take", threshold=1.0, seed=0)
    assert [int(demo["text"].split()[0]) for demo in found] == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert all(demo.keys() == {"text", "note"} for demo in found)
    # Of the two calls in a run, now the one and now the other.
    assert 0 < sum("long" in demo["text"] for demo in found) < len(found)
    assert bootstrapped(teacher(), "unused", threshold=1.0, seed=0) == ()


def test_the_same_call_of_two_runs_is_shown_once() -> None:
    assert bootstrapped(teacher(), "grade", threshold=1.0, seed=0) == ({"text": ".", "note": "ok"},)


@given(seed=st.integers(0, 99), order=st.randoms())
def test_a_seed_repeats_whatever_the_order_of_the_runs(seed: int, order: random.Random) -> None:
    rows = teacher()
    shuffled = order.sample(rows, len(rows))
    found = bootstrapped(rows, "take", threshold=1.0, seed=seed)
    assert bootstrapped(shuffled, "take", threshold=1.0, seed=seed) == found
    assert json.loads(json.dumps(found)) == list(found)


def test_the_threshold_decides_which_runs_pass_and_failures_never_do() -> None:
    rows = [run(n, score, step("take", str(n), "x")) for n, score in enumerate([0.0, 0.4, 0.5, 1.0, None])]
    assert [demo["text"] for demo in bootstrapped(rows, "take", threshold=0.5, seed=0)] == ["2", "3"]
    assert len(bootstrapped(rows, "take", threshold=0.0, seed=0)) == 4


def test_a_run_without_a_trace_gives_nothing() -> None:
    row = run(1, 1.0, trace=None)
    assert steps_by(row, "take") == []
    assert bootstrapped([row], "take", threshold=1.0, seed=0) == ()


def test_reasoning_is_part_of_the_demo() -> None:
    wrote = {"reasoning": "it says so", "note": "x"}
    row = run(1, 1.0, Step(predictor="take", inputs={"text": "a"}, outputs=wrote))
    assert bootstrapped([row], "take", threshold=1.0, seed=0) == ({"text": "a", **wrote},)
