"""The processes of a shared study, on a real PostgreSQL server: leases, jobs, and one budget for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import postgres
import pytest

from optimizers.records.budget import Budget, Use
from optimizers.records.ledger import Ledger
from optimizers.records.rows import Call
from optimizers.records.worker_group import Job, JobLimits, WorkerGroup

Join = Callable[..., WorkerGroup]
LEASE = 0.5
TERMS = JobLimits(phase="search", budget=Budget(calls=10))
ROOM = Use(1e9, 1e9, 1e9)


@pytest.fixture
def ledger(database_server: str) -> Any:
    with Ledger.connect(postgres.new_database(database_server), "s", create=True) as opened:
        yield opened


@pytest.fixture
def join(ledger: Ledger) -> Join:
    return lambda name="one": WorkerGroup(ledger.engine, name, LEASE)


def jobs(count: int, model: str = "small") -> list[Job]:
    return [
        Job(candidate="c", example=f"{model} {n}", number=0, split="dev", model=model, limits=TERMS)
        for n in range(count)
    ]


def call(**changes: Any) -> Call:
    known = {"phase": "search", "model": "small", "prompt_tokens": 90, "completion_tokens": 10, "cost": 0.5}
    return Call(**known | {"started": time.time()} | changes)


def test_a_job_is_taken_once_and_by_room(join: Join) -> None:
    one, two = join(), join("two")
    one.post([*jobs(5), *jobs(2, "large")])
    first = one.take({"small": 3, "large": 1})
    second = two.take({"small": 9, "large": 0})
    assert [job.model for job in first].count("small") == 3
    assert [job.model for job in second] == ["small", "small"]
    assert not {job.id for job in first} & {job.id for job in second}
    assert first[0].limits == TERMS


def test_many_that_take_at_once_take_each_job_once(join: Join) -> None:
    crews = [join(str(n)) for n in range(6)]
    crews[0].post(jobs(200))

    def empty(group: WorkerGroup) -> list[Job]:
        taken: list[Job] = []
        while found := group.take({"small": 7}):
            taken += found
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [job.id for found in pool.map(empty, crews) for job in found]
    # A job that another one holds for a moment is passed over, and may be left.
    taken += [job.id for job in crews[0].take({"small": 200})]
    assert len(taken) == len(set(taken)) == 200


def test_what_is_asked_for_twice_is_run_once_and_again_when_it_was_withdrawn(join: Join) -> None:
    group = join()
    numbers = group.post(jobs(2))
    assert group.post(jobs(2)) == numbers
    group.take({"small": 9})
    assert group.post(jobs(2)) == numbers
    assert group.take({"small": 9}) == []
    group.end(numbers[0], "broken")
    assert group.ended(numbers) == {numbers[0]: "broken"}
    group.post(jobs(2))
    assert [job.id for job in group.take({"small": 9})] == [numbers[0]]


def test_only_what_nobody_began_can_be_taken_back(join: Join) -> None:
    group = join()
    numbers = group.post(jobs(3))
    group.take({"small": 1})
    assert group.cancel(numbers) == set(numbers[1:])


def test_what_the_dead_held_is_free_again(join: Join, ledger: Ledger) -> None:
    dead, alive = join(), join("two")
    assert dead.lead()
    assert not alive.lead()
    numbers = dead.post(jobs(2))
    dead.take({"small": 2})
    lost = dead.reserve(call(), Use(1, 100, 0.5), ROOM)
    for _ in range(3):
        time.sleep(0.3)
        alive.beat()
    assert alive.lead()
    assert not dead.leads()
    assert alive.members() == ["two"]
    assert alive.take({"small": 9}) == []  # who leads now says anew what is to be run
    again = alive.post(jobs(2))
    assert [job.id for job in alive.take({"small": 9})] == again
    assert [one.state for one in ledger.calls()] == ["lost"]
    # Had it only stalled: what it says of its call comes too late, and its jobs are another's.
    assert isinstance(lost, int)
    dead.settle(lost, Use(1, 100, 0.5), Use(1, 10, 0.1), state="finished")
    dead.end(numbers[0])
    assert alive.used() == Use(1, 100, 0.5)
    assert alive.ended(again) == {}


def test_who_shows_signs_of_life_keeps_what_it_holds(join: Join) -> None:
    one, two = join(), join("two")
    one.lead()
    for _ in range(4):
        time.sleep(0.3)
        one.beat()
        two.beat()
    assert one.leads()
    one.leave()
    assert two.lead()


@pytest.mark.parametrize("room", [Use(36, 1e9, 1e9), Use(1e9, 3600, 1e9), Use(1e9, 1e9, 18.0)])
def test_no_number_of_processes_overshoots_a_budget_or_leaves_it_unused(
    join: Join, ledger: Ledger, room: Use
) -> None:
    """Room for 37 calls: 36 may be there already when the last one is sent."""
    crews, bound = [join(str(n)) for n in range(4)], Use(1, 100, 0.5)

    def spend(number: int) -> bool:
        group = crews[number % 4]
        while (found := group.reserve(call(), bound, room)) is None:
            time.sleep(0.01)
        if isinstance(found, str):
            return False
        group.settle(found, bound, bound, state="finished")
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(spend, range(120))) == 37
    assert len(ledger.calls()) == 37
    assert crews[0].used() == Use(37, 3700, 18.5)


def test_a_settled_call_is_written_as_it_ended(join: Join, ledger: Ledger) -> None:
    group = join()
    number = group.reserve(call(), Use(1, 100, 0.5), ROOM)
    assert isinstance(number, int)
    assert group.used() == Use(1, 100, 0.5)
    assert group.booked() == Use()
    group.settle(
        number,
        Use(1, 100, 0.5),
        Use(1, 42, 0.2),
        state="finished",
        prompt_tokens=40,
        cached_tokens=0,
        completion_tokens=2,
        cost=0.2,
    )
    (written,) = ledger.calls()
    assert (written.state, written.prompt_tokens, written.cost) == ("finished", 40, 0.2)
    assert written.ended is not None
    assert group.used() == group.booked() == Use(1, 42, pytest.approx(0.2))


def test_a_new_leader_takes_back_what_the_last_one_left_waiting(join: Join) -> None:
    one, two = join(), join("two")
    assert one.lead()
    one.post(jobs(5))
    begun = two.take({"small": 2})
    assert one.lead()  # it leads already: nothing of its own is lost
    assert len(two.take({"small": 1})) == 1
    one.leave()
    assert two.lead()
    assert two.take({"small": 9}) == []
    two.end(begun[0].id or 0)
    assert two.ended([begun[0].id or 0]) == {begun[0].id: None}


def test_what_a_dead_helper_held_is_run_by_another(join: Join) -> None:
    leader, dead = join(), join("two")
    assert leader.lead()
    numbers = leader.post(jobs(2))
    dead.take({"small": 2})
    for _ in range(3):
        time.sleep(0.3)
        leader.beat()
    assert leader.lead()
    assert [job.id for job in leader.take({"small": 9})] == numbers
