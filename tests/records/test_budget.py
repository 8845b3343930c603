from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import BudgetError
from optimizers.records.budget import Budget, Use, parse_budget

amounts = st.floats(min_value=0, max_value=1e6)
uses = st.builds(Use, amounts, amounts, amounts, amounts)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("200", {"trials": 200}),
        ("5usd", {"dollars": 5.0}),
        ("$5", {"dollars": 5.0}),
        ("50cents", {"dollars": 0.5}),
        ("2Mtok", {"tokens": 2_000_000}),
        ("1.5ktok", {"tokens": 1500}),
        ("3000calls", {"calls": 3000}),
        ("30min", {"seconds": 1800.0}),
        ("2h", {"seconds": 7200.0}),
        ("10minutes", {"seconds": 600.0}),
        ("5 dollars", {"dollars": 5.0}),
        ("200,5usd, 30 min", {"trials": 200, "dollars": 5.0, "seconds": 1800.0}),
    ],
)
def test_every_unit_is_read(text: str, limits: dict[str, float]) -> None:
    assert parse_budget([text]) == Budget(**limits)


def test_several_options_are_one_budget() -> None:
    assert parse_budget(["200", "5usd"]) == Budget(trials=200, dollars=5.0)


@pytest.mark.parametrize(
    "text", ["0", "-5", "1.5", "many", "5eur", "", "200,", "0usd", "3.5calls", "nan", "1e3"]
)
def test_garbage_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BudgetError, match="for example"):
        parse_budget([text])


def test_a_unit_given_twice_is_refused() -> None:
    with pytest.raises(BudgetError, match="twice"):
        parse_budget(["200", "300"])


def test_a_budget_reads_back_as_it_is_written() -> None:
    budget = parse_budget(["2000,0.5usd,30min"])
    assert str(budget) == "2,000 trials, 0.5 usd, 1,800 s"
    assert parse_budget([budget.option]) == budget


@given(uses, uses)
def test_a_sum_is_over_a_budget_whenever_a_part_is(one: Use, other: Use) -> None:
    budget = Budget(calls=1000, tokens=1000, dollars=1000.0, seconds=1000.0)
    if one.beyond(budget.most) is not None:
        assert (one + other).beyond(budget.most) is not None


@given(uses)
def test_what_is_over_a_budget_is_more_than_all_of_it(use: Use) -> None:
    budget = Budget(calls=500, dollars=2.0)
    assert (use.beyond(budget.most) is not None) == (use.share_of(budget) > 1 + 1e-9)


def test_very_small_and_very_large_limits_are_written_out() -> None:
    budget = Budget(dollars=0.00005, tokens=20_000_000_000)
    assert str(budget) == "20,000,000,000 tok, 0.00005 usd"
    assert parse_budget([budget.option]) == budget
