from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes import LARGE, SMALL

from optimizers.errors import BudgetSpent
from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.spend import LocalSpend
from optimizers.models.lm import Call
from optimizers.records.budget import Budget, Use
from optimizers.records.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.db") as opened:
        yield opened


def test_a_call_counts_at_its_most_until_it_is_settled(ledger: Ledger) -> None:
    gate = BudgetGate(LocalSpend(ledger), Budget(tokens=1000))
    number = gate.open(SMALL, "c", 300, 100)
    assert gate.used.tokens == 400
    gate.close(number, Call(prompt=80, cached=0, completion=5))
    assert gate.used.tokens == 85
    assert ledger.used().tokens == 85


def test_what_is_booked_leaves_calls_in_flight_out_and_never_falls(ledger: Ledger) -> None:
    gate = BudgetGate(LocalSpend(ledger), Budget(tokens=1000))
    number = gate.open(SMALL, "c", 300, 100)
    assert (gate.booked.calls, gate.booked.tokens) == (0, 0)
    gate.close(number, Call(prompt=80, cached=0, completion=5))
    assert (gate.booked.calls, gate.booked.tokens) == (1, 85)


def test_a_call_that_might_overshoot_is_not_sent(ledger: Ledger) -> None:
    gate = BudgetGate(LocalSpend(ledger), Budget(tokens=1000))
    with pytest.raises(BudgetSpent, match="tokens"):
        gate.open(SMALL, "c", 950, 51)
    assert ledger.calls() == []


def test_what_is_held_back_is_left_for_later(ledger: Ledger) -> None:
    gate = BudgetGate(LocalSpend(ledger), Budget(calls=3), held_back=Use(calls=2))
    gate.close(gate.open(SMALL, "c", 10, 1), Call(10, 0, 1))
    with pytest.raises(BudgetSpent):
        gate.open(SMALL, "c", 10, 1)
    gate.held_back = Use()
    gate.open(SMALL, "c", 10, 1)


@pytest.mark.parametrize("budget", [Budget(calls=37), Budget(tokens=3000), Budget(dollars=0.0003)])
def test_no_concurrency_overshoots_a_budget_or_leaves_it_unused(ledger: Ledger, budget: Budget) -> None:
    gate = BudgetGate(LocalSpend(ledger), budget)
    flying, most, lock = 0, Use(), threading.Lock()

    def call(_: int) -> None:
        nonlocal flying, most
        number = gate.open(LARGE, "c", 200, 20)
        with lock:
            flying += 1
        time.sleep(0.001)
        gate.close(number, Call(prompt=60, cached=0, completion=10))

    with ThreadPoolExecutor(32) as pool:
        outcomes = [pool.submit(call, index) for index in range(300)]
    refused = [outcome for outcome in outcomes if isinstance(outcome.exception(), BudgetSpent)]
    used = ledger.used()
    assert refused
    assert used.beyond(budget.most) is None
    bound = Use(1, 220, LARGE.price.cost(200, 20))
    assert (used + bound).beyond(budget.most) is not None
    assert len(ledger.calls()) == flying == 300 - len(refused)


def test_a_refused_call_costs_nothing_and_an_unanswered_one_its_most(ledger: Ledger) -> None:
    gate = BudgetGate(LocalSpend(ledger), Budget())
    gate.fail(gate.open(SMALL, "c", 100, 10), refused=True)
    assert gate.used.tokens == 0
    gate.fail(gate.open(SMALL, "c", 100, 10), refused=False)
    used = ledger.used()
    assert (used.calls, used.tokens) == (2, 110)


def test_a_call_lost_with_its_process_counts_at_its_most(ledger: Ledger) -> None:
    BudgetGate(LocalSpend(ledger), Budget()).open(SMALL, "c", 100, 10)
    later = BudgetGate(LocalSpend(ledger), Budget())
    assert [call.state for call in ledger.calls()] == ["lost"]
    assert later.used.tokens == 110


def test_cached_tokens_are_billed_at_their_own_price_and_served_at_the_full_one(ledger: Ledger) -> None:
    price = LARGE.price.model_copy(update={"cached": 0.01})
    model = LARGE.model_copy(update={"price": price})
    gate = BudgetGate(LocalSpend(ledger), Budget())
    gate.close(gate.open(model, "c", 1000, 10), Call(prompt=1000, cached=900, completion=10))
    assert ledger.used().dollars == pytest.approx((100 * 0.1 + 900 * 0.01 + 10 * 0.2) / 1e6)
    assert price.cost(1000, 10) == pytest.approx((1000 * 0.1 + 10 * 0.2) / 1e6)


def test_a_time_budget_leaves_room_for_the_slowest_call(ledger: Ledger) -> None:
    gate = BudgetGate(LocalSpend(ledger), Budget(seconds=3.2))
    number = gate.open(SMALL, "c", 10, 1)
    time.sleep(0.25)
    gate.close(number, Call(10, 0, 1))
    with pytest.raises(BudgetSpent, match="seconds"):
        gate.open(SMALL, "c", 10, 1)
