"""What follows from the rollouts of a transfer: paired differences, the best prompt, no verdict by luck."""

from __future__ import annotations

import pytest
from fakes import candidate, rollouts
from hypothesis import given
from hypothesis import strategies as st

from optimizers.records.candidate import Candidate
from optimizers.records.report import Estimate
from optimizers.records.transfer_report import Cell, Difference, Prompt
from optimizers.results.transfer_matrix import (
    AdaptedPrompt,
    Measured,
    answer,
    best_per_model,
    best_transfer,
    fill_cell,
)

SCORES = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 4), min_size=2, max_size=40)

A = candidate("local/a", "of a")
B = candidate("local/b", "of b")
PROMPTS = (Prompt(number=1, candidate=A, best=True), Prompt(number=2, candidate=B, best=True))


def measured(**scores: list[float | None]) -> Measured:
    """Rollouts of candidates, by id."""
    rows = {
        identity: {f"dev{i}": r for i, r in enumerate(rollouts(A, values, cost=0.001))}
        for identity, values in scores.items()
    }
    examples = [f"dev{i}" for i in range(len(next(iter(scores.values()))))]
    return Measured(rows, examples, {}, 0.95)


@given(SCORES)
def test_a_difference_over_several_pairs_is_the_mean_of_theirs(rows: list[tuple[float, ...]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    found = measured(**dict(zip("abcd", columns, strict=True)))
    both = found.difference([("a", "b"), ("c", "d")])
    singles = [found.difference([pair]).mean for pair in (("a", "b"), ("c", "d"))]
    assert both.mean == pytest.approx(sum(singles) / 2)
    assert both.low <= both.mean <= both.high


@given(SCORES, st.integers(2, 10))
def test_an_interval_for_the_best_of_several_is_wider(rows: list[tuple[float, ...]], among: int) -> None:
    first, second = ([row[i] for row in rows] for i in range(2))
    found = measured(a=first, b=second)
    alone, chosen = found.difference([("a", "b")]), found.difference([("a", "b")], among=among)
    assert chosen.mean == alone.mean
    assert chosen.low < alone.low or alone.low == -1
    assert chosen.high > alone.high or alone.high == 1


def test_only_examples_that_both_sides_scored_are_paired() -> None:
    found = measured(a=[1, None, 1, 0], b=[0, 0, None, 0])
    difference = found.difference([("a", "b")])
    assert (difference.mean, difference.n) == (0.5, 2)
    assert (found.quality("a").n, found.quality("a").failures) == (3, 1)


def test_grouped_examples_widen_the_intervals() -> None:
    alone = measured(a=[1, 0] * 10, b=[0, 0] * 10)
    groups = {f"dev{i}": "odd" if i % 2 else f"even{i % 4}" for i in range(20)}
    grouped = Measured(alone.rollouts, alone.examples, groups, 0.95)
    assert width(grouped.quality("a")) > width(alone.quality("a"))
    assert width(grouped.difference([("a", "b")])) > width(alone.difference([("a", "b")]))


def width(interval: Estimate | Difference) -> float:
    return interval.high - interval.low


def moved(prompt: Candidate, model: str) -> Candidate:
    return Candidate.model_validate({**prompt.model_dump(), "model": model})


def matrix(
    scores: dict[tuple[str, str], list[float | None]], default: list[float | None]
) -> tuple[list[Cell], dict[str, str], Measured]:
    """The cells of prompts A and B on the models a, b and new, from scores by (prompt's model, model)."""
    new = moved(candidate("local/new", "plain"), "local/new")
    placed = [
        AdaptedPrompt(p.id, m, moved(p, m))
        if (p.model, m) in scores
        else AdaptedPrompt(p.id, m, None, reason="no way")
        for p in (A, B)
        for m in ("local/a", "local/b", "local/new")
    ]
    owner = {p.id: p.model for p in (A, B)}
    content = {
        one.candidate.id: scores[owner[one.prompt], one.model] for one in placed if one.candidate is not None
    }
    found = measured(**content, **{new.id: default})
    return [fill_cell(one, found) for one in placed], {"local/new": new.id}, found


def test_the_best_prompt_for_a_new_model_is_held_against_its_default() -> None:
    good, poor = [1.0] * 18 + [0.0] * 2, [1.0] * 8 + [0.0] * 12
    scores: dict[tuple[str, str], list[float | None]] = {
        ("local/a", "local/a"): list(good),
        ("local/a", "local/new"): list(poor),
        ("local/b", "local/b"): list(good),
        ("local/b", "local/new"): list(good),
    }
    cells, defaults, found = matrix(scores, list(poor))
    landed = best_per_model(PROMPTS, cells, defaults, found)
    assert [landing.model for landing in landed] == ["local/new"]
    assert landed[0].prompt == B.id
    assert (landed[0].gain.mean, landed[0].compared) == (0.5, 2)
    best = best_transfer(PROMPTS, cells, defaults, found)
    assert best is not None
    assert best.prompt == B.id
    said = answer(PROMPTS, landed, best, tuple(defaults))
    assert said.startswith("On new, prompt 2 (of b) is the best of 2 transferred: 0.900 against 0.400")
    assert said.endswith("at 100% of its cost: better.")


def test_a_prompt_that_mostly_failed_is_not_called_the_best() -> None:
    scores: dict[tuple[str, str], list[float | None]] = {
        ("local/a", "local/a"): [1.0] * 20,
        ("local/a", "local/new"): [0.0] * 10 + [1.0] * 10,
        ("local/b", "local/b"): [1.0] * 20,
        ("local/b", "local/new"): [1.0] * 5 + [None] * 15,
    }
    cells, defaults, found = matrix(scores, [0.0] * 10 + [1.0] * 10)
    landed = best_per_model(PROMPTS, cells, defaults, found)
    assert [(landing.prompt, landing.compared) for landing in landed] == [(A.id, 1)]
    assert "not told apart" in answer(PROMPTS, landed, None, tuple(defaults))


def test_nothing_is_claimed_where_nothing_can_be_compared() -> None:
    scores: dict[tuple[str, str], list[float | None]] = {("local/a", "local/a"): [1.0] * 4}
    cells, defaults, found = matrix(scores, [1.0] * 4)
    assert best_per_model(PROMPTS, cells, defaults, found) == ()
    assert best_transfer(PROMPTS, cells, defaults, found) is None
    assert "No prompt" in answer(PROMPTS, (), None, tuple(defaults))
    empty = next(cell for cell in cells if cell.model == "local/new")
    assert (empty.quality, empty.reason) == (None, "no way")
