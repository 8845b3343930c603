"""Which rule of a returns policy applies? Policies from one rule to nested exceptions, with the right answer.

The cases are made up by a seeded generator, and the answers are computed by the same rules
that the policies state, so no label is wrong. Four levels, 250 cases each: one rule; two
rules in order; exceptions; exceptions to exceptions, with limits that depend on the customer.
Always rejecting is right in 32%, and following one level's policy in all cases in 59 to 64%.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

import dspy

from metrics.exact import exact_match
from optimizers import Task

Decision = Literal["refund", "exchange", "reject", "manager"]

SEED, ROWS_PER_LEVEL = 20, 250

PRODUCTS = {
    "electronics": ["kettle", "radio", "toaster", "camera", "monitor", "drill", "fan", "printer", "tablet"],
    "clothing": ["jacket", "scarf", "pair of boots", "raincoat", "sweater", "pair of jeans", "hat", "belt"],
    "household": ["lamp", "rug", "mirror", "kitchen knife", "chair", "clock", "curtain", "saucepan"],
}
CUSTOMERS = (
    "Ana Ben Carla David Elif Farid Grace Hugo Ines Jonas Kira Luis Mina Noor Oscar Petra Quentin Rosa Samir "
    "Tara Umar Vera Wen Ximena Yusuf Zoe"
)


@dataclass(frozen=True)
class Case:
    """A return as the desk sees it; prices in dollars."""

    customer: str
    product: str
    kind: str
    price: int
    days: int
    faulty: bool
    opened: bool
    final_sale: bool
    gold: bool
    receipt: bool

    @property
    def facts(self) -> dict[str, str]:
        """The case as short sentences, by what they are about."""
        return {
            "product": f"{self.customer} returns a {self.product} ({self.kind}).",
            "price": f"It cost {self.price} dollars.",
            "days": f"It was bought {self.days} days ago.",
            "faulty": "It is faulty." if self.faulty else "It works.",
            "opened": "The box was opened." if self.opened else "The box is unopened.",
            "final_sale": "It was on final sale." if self.final_sale else "It was not on final sale.",
            "gold": f"{self.customer} is {'a' if self.gold else 'not a'} gold member.",
            "receipt": "There is a receipt." if self.receipt else "There is no receipt.",
        }


@dataclass(frozen=True)
class Rule:
    """A rule as it is stated, the facts it looks at, and the same rule as code."""

    text: str
    looks_at: tuple[str, ...]
    holds: Callable[[Case], bool]
    decision: Decision


def _limit(case: Case) -> int:
    if case.kind == "electronics":
        return 14
    return 60 if case.gold else 30


WITHIN = Rule(
    "If the item was bought at most 30 days ago: refund.", ("days",), lambda c: c.days <= 30, "refund"
)
FAULTY = Rule("If the item is faulty: exchange.", ("faulty",), lambda c: c.faulty, "exchange")
DEAR = Rule(
    "If the item cost more than 400 dollars: manager.", ("price",), lambda c: c.price > 400, "manager"
)

LEVELS: tuple[tuple[Rule, ...], ...] = (
    (WITHIN,),
    (FAULTY, WITHIN),
    (
        DEAR,
        Rule(
            "If the item is faulty: exchange, unless it was on final sale.",
            ("faulty", "final_sale"),
            lambda c: c.faulty and not c.final_sale,
            "exchange",
        ),
        Rule(
            "If the item was bought at most 30 days ago: refund, unless the box was opened.",
            ("days", "opened"),
            lambda c: c.days <= 30 and not c.opened,
            "refund",
        ),
    ),
    (
        Rule(
            "If the item cost more than 400 dollars: manager, unless a gold member has the receipt.",
            ("price", "gold", "receipt"),
            lambda c: c.price > 400 and not (c.gold and c.receipt),
            "manager",
        ),
        Rule(
            "If the item is faulty: exchange, unless it was on final sale; clothing is exchanged even then.",
            ("faulty", "final_sale", "product"),
            lambda c: c.faulty and (not c.final_sale or c.kind == "clothing"),
            "exchange",
        ),
        Rule(
            "If the item was bought at most 30 days ago (60 for gold members, but 14 for electronics, "
            "whoever buys them): refund, unless the box was opened; for household that does not matter.",
            ("days", "gold", "product", "opened"),
            lambda c: c.days <= _limit(c) and (not c.opened or c.kind == "household"),
            "refund",
        ),
    ),
)
"""The rules of each level, in order of precedence."""


def policy_text(rules: tuple[Rule, ...]) -> str:
    """A policy in words."""
    head = "The first rule that applies decides." if len(rules) > 1 else "There is one rule."
    stated = [f"{number}. {rule.text}" for number, rule in enumerate(rules, 1)]
    return "\n".join([head, *stated, "If no rule applies: reject."])


def decide(rules: tuple[Rule, ...], case: Case) -> tuple[Decision, tuple[str, ...]]:
    """The right decision, and the facts that were looked at to reach it."""
    seen: list[str] = []
    for rule in rules:
        seen.extend(rule.looks_at)
        if rule.holds(case):
            return rule.decision, tuple(dict.fromkeys(seen))
    return "reject", tuple(dict.fromkeys(seen))


def rows() -> Iterator[dspy.Example]:
    """All cases, as many of each decision as of any other within a level.

    ``facts`` is what the decision rests on, ``level`` is 1 to 4.
    """
    random = Random(SEED)
    for level, rules in enumerate(LEVELS, 1):
        decisions = ["reject", *(rule.decision for rule in rules)]
        room = Counter(decisions[number % len(decisions)] for number in range(ROWS_PER_LEVEL))
        while room.total():
            case = _draw(random)
            decision, seen = decide(rules, case)
            if room[decision] == 0:
                continue
            room[decision] -= 1
            told = list(case.facts)
            random.shuffle(told)
            # Whose case it is comes first, as people tell it.
            told.sort(key=lambda name: name != "product")
            yield dspy.Example(
                policy=policy_text(rules),
                case=" ".join(case.facts[name] for name in told),
                facts=" ".join(case.facts[name] for name in seen),
                decision=decision,
                level=level,
            ).with_inputs("policy", "case")


def _draw(random: Random) -> Case:
    kind = random.choice(list(PRODUCTS))
    # Half of the days and prices on either side of the plain limits: a fact alone says little.
    return Case(
        customer=random.choice(CUSTOMERS.split()),
        product=random.choice(PRODUCTS[kind]),
        kind=kind,
        price=random.choice([random.randint(12, 400), random.randint(401, 900)]),
        days=random.choice([random.randint(2, 30), random.randint(31, 75)]),
        faulty=random.random() < 0.5,
        opened=random.random() < 0.5,
        final_sale=random.random() < 0.4,
        gold=random.random() < 0.5,
        receipt=random.random() < 0.6,
    )


class ApplyPolicy(dspy.Signature):
    """Decide a return by the shop's policy, and by nothing else."""

    policy: str = dspy.InputField(desc="the rules, in order of precedence")
    case: str = dspy.InputField(desc="the facts of one return")
    decision: Decision = dspy.OutputField()


class Rules(dspy.Module):
    """One call: policy and case in, the decision out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.decide = dspy.Predict(ApplyPolicy)

    def forward(self, policy: str, case: str) -> dspy.Prediction:
        """Decide one case."""
        return self.decide(policy=policy, case=case)


task = Task(
    program=Rules(),
    metric=exact_match("decision"),
    data=list(rows()),
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
