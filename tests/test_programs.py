"""The example programs: each loads, has labels that are right, and can be searched."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dspy
import pytest

from optimizers.prompting.renderings.fields import format_value, parse_value
from optimizers.records.budget import parse_budget
from optimizers.search.estimate import predict
from optimizers.search.space.search_space import search_space
from optimizers.task.signature_fields import fields_of
from optimizers.task.task import LoadedTask, load_task
from programs.extract import Order
from programs.extract import rows as emails
from programs.rules import LEVELS, Case, decide
from programs.rules import rows as returns

PROGRAMS = Path(__file__).parent.parent / "programs"
MADE_UP = ("extract", "pipeline", "rules")
PULLED = ("categorize", "classify", "coarse_to_fine", "match", "solve", "tweets")

loads = [*MADE_UP, *(pytest.param(name, marks=pytest.mark.model) for name in PULLED)]


@pytest.fixture(scope="module")
def tasks() -> dict[str, LoadedTask]:
    return {}


@pytest.fixture
def task(request: pytest.FixtureRequest, tasks: dict[str, LoadedTask]) -> LoadedTask:
    """The task of a program by its name, loaded once."""
    name = request.param
    if name not in tasks:
        tasks[name] = load_task(PROGRAMS / f"{name}.py")
    return tasks[name]


def test_every_program_is_tested_here() -> None:
    found = {path.stem for path in PROGRAMS.glob("*.py")} - {"__init__"}
    assert found == {*MADE_UP, *PULLED}


@pytest.mark.parametrize("task", loads, indirect=True)
def test_a_program_has_three_parts_that_hold_every_label(task: LoadedTask) -> None:
    data = task.dataset
    assert len(data.train) >= 100
    assert len(data.dev) >= 100
    assert len(data.test) >= 200
    _, _, labels = fields_of(task.program)
    for field, allowed in labels.items():
        for part in (data.train, data.dev, data.test):
            assert {example[field] for example in part} == set(allowed)


@pytest.mark.parametrize("task", loads, indirect=True)
def test_the_label_itself_scores_one_and_nothing_scores_less(task: LoadedTask) -> None:
    _, outputs, _ = fields_of(task.program)
    for example in task.dataset.dev:
        gold = dspy.Prediction(**{name: example[name] for name in outputs})
        assert task.metric(example, gold) == 1.0
        assert task.metric(example, dspy.Prediction()) == 0.0


@pytest.mark.parametrize("task", loads, indirect=True)
def test_every_predictor_has_demos_that_fit_each_model(task: LoadedTask) -> None:
    space = search_space(task)
    assert set(space.predictors) == {name for name, _ in task.program.named_predictors()}
    for name, predictor in space.predictors.items():
        # No data says the realm: that step learns from runs alone.
        least = 1 if name == "coarse" else 3
        assert all(len(sizes) >= least for sizes in predictor.sizes.values())


@pytest.mark.parametrize("task", loads, indirect=True)
def test_a_study_can_be_foretold(task: LoadedTask) -> None:
    prediction = predict(task, search_space(task), parse_budget(["50"]))
    assert prediction.trials == 50
    assert prediction.total.calls > prediction.test.calls > 0


def test_an_order_written_as_a_demo_is_read_back_as_it_was() -> None:
    for example in emails():
        written = format_value(example.order, Order)
        assert parse_value(written, Order).model_dump() == example.order


def test_an_email_says_what_its_order_holds() -> None:
    for example in emails():
        order = example.order
        said = [order[name] for name in ("contact", "company", "city", "delivery_day") if order[name]]
        said += [f"{line['quantity']} {line['product'].split()[0]}" for line in order["lines"]]
        spoken = example.email.replace("boxes of", "box of")
        assert [part for part in said if part not in spoken] == []
        assert ("express delivery" in spoken or "urgent" in spoken) == order["express"]


def case(**changes: object) -> Case:
    plain: dict[str, object] = {
        "customer": "Ana",
        "product": "radio",
        "kind": "electronics",
        "price": 100,
        "days": 20,
        "faulty": False,
        "opened": False,
        "final_sale": False,
        "gold": False,
        "receipt": True,
    }
    return Case(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "changes", "decision"),
    [
        (1, {"days": 30, "faulty": True}, "refund"),
        (1, {"days": 31}, "reject"),
        (2, {"faulty": True, "days": 3}, "exchange"),
        (2, {"days": 30}, "refund"),
        (2, {"days": 31}, "reject"),
        (3, {"price": 400}, "refund"),
        (3, {"price": 401, "faulty": True}, "manager"),
        (3, {"faulty": True}, "exchange"),
        (3, {"faulty": True, "final_sale": True}, "refund"),
        (3, {"faulty": True, "final_sale": True, "opened": True}, "reject"),
        (4, {"price": 500}, "manager"),
        (4, {"price": 500, "gold": True, "days": 14}, "refund"),
        (4, {"price": 500, "gold": True, "receipt": False}, "manager"),
        (4, {"faulty": True, "final_sale": True}, "reject"),
        (4, {"faulty": True, "final_sale": True, "kind": "clothing"}, "exchange"),
        (4, {"days": 15, "gold": True}, "reject"),
        (4, {"days": 60, "gold": True, "kind": "clothing"}, "refund"),
        (4, {"days": 31, "kind": "clothing"}, "reject"),
        (4, {"days": 10, "opened": True}, "reject"),
        (4, {"days": 10, "opened": True, "kind": "household"}, "refund"),
    ],
)
def test_a_policy_is_applied_as_it_reads(level: int, changes: dict[str, object], decision: str) -> None:
    assert decide(LEVELS[level - 1], case(**changes))[0] == decision


def test_the_returns_are_the_same_every_time_and_balanced_within_a_level() -> None:
    rows = [dict(row.items()) for row in returns()]
    assert rows == [dict(row.items()) for row in returns()]
    for level in range(1, len(LEVELS) + 1):
        counts = Counter(row["decision"] for row in rows if row["level"] == level)
        assert sum(counts.values()) == 250
        assert max(counts.values()) - min(counts.values()) <= 1


def test_the_facts_of_a_return_are_sentences_of_its_case_and_settle_it() -> None:
    decisions: dict[tuple[str, str], set[str]] = {}
    for row in returns():
        sentences = set(row.case.removesuffix(".").split(". "))
        assert set(row.facts.removesuffix(".").split(". ")) <= sentences
        decisions.setdefault((row.policy, row.facts), set()).add(row.decision)
    assert {len(found) for found in decisions.values()} == {1}
