"""Prices: declared, listed, by size, and never unknown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import PriceError
from optimizers.models.model import Price
from optimizers.models.pricing import BY_SIZE, price_of


def test_a_declared_price_wins_over_the_list() -> None:
    assert price_of("openai/gpt-4o-mini", size=None, declared=(1.0, 2.0)).input == 1.0


def test_a_listed_price_names_its_source() -> None:
    found = price_of("openai/gpt-4o-mini", size=None, declared=None)
    assert (found.input, found.output) == (0.15, 0.6)
    assert "gpt-4o-mini" in found.source


def test_an_unknown_price_is_an_error_that_shows_three_ways() -> None:
    with pytest.raises(PriceError) as caught:
        price_of("openai/nobody-knows", size=None, declared=None)
    message = str(caught.value)
    for way in ('model("openai/nobody-knows", price=', "--model openai/nobody-knows,price=", BY_SIZE):
        assert way in message


def test_a_price_by_size_needs_a_size() -> None:
    with pytest.raises(PriceError, match="size"):
        price_of("openai/mine", size=None, declared=BY_SIZE)
    assert price_of("openai/mine", size=2.0, declared=BY_SIZE).input == pytest.approx(0.02)


def test_a_price_may_be_a_list() -> None:
    assert price_of("openai/gpt-4o-mini", size=None, declared=[7.0, 8.0]).input == 7.0  # type: ignore[arg-type]


@pytest.mark.parametrize("declared", [0.5, "free", (1,), (1, 2, 3), ("a", "b"), (float("nan"), 1)])
@pytest.mark.parametrize("name", ["openai/gpt-4o-mini", "local/smollm2-135m-instruct"])
def test_a_price_that_is_none_is_refused_rather_than_passed_over(name: str, declared: Any) -> None:
    with pytest.raises(PriceError, match="two numbers"):
        price_of(name, size=1.0, declared=declared)


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(PriceError, match="negative"):
        price_of("openai/x", size=None, declared=(-1.0, 1.0))


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.floats(0, 100), st.floats(0, 100))
def test_cost_is_tokens_times_price(
    prompt: int, completion: int, given_price: float, made_price: float
) -> None:
    price = Price(input=given_price, output=made_price, source="x")
    assert price.cost(prompt, completion) == pytest.approx(
        (prompt * given_price + completion * made_price) / 1e6
    )
