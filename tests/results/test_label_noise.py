"""Wrong labels: found where candidates that know the task agree against them, and only there."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.records.rows import Rollout
from optimizers.results.label_noise import LabelSuspect, label_noise_suspects

LABELS = ("billing", "technical", "sales", "other")
MODELS = {f"{model}{number}": model for model in "abc" for number in range(4)}


def rollout(candidate: str, example: str, said: str, gold: str, **changes: Any) -> Rollout:
    content: dict[str, Any] = {
        "candidate": candidate,
        "example": example,
        "split": "dev",
        "score": float(said.strip().casefold() == gold),
        "output": {"team": said, "reasoning": f"{candidate} thinks so"},
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "cost": 0.0,
        "latency": 0.1,
        "created": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return Rollout(**content | changes)


def simulated(
    seed: int, *, skill: float, shared: float, flipped: float = 0.05, count: int = 400
) -> tuple[list[Rollout], dict[str, dict[str, Any]], set[str]]:
    """Answers of 12 candidates of 3 models, what is declared, and which of it was flipped.

    A share of the examples misleads a whole model at a time to one wrong answer.
    """
    draw = random.Random(seed)
    truth = {f"e{index}": draw.choice(LABELS) for index in range(count)}
    wrong = set(draw.sample(sorted(truth), round(flipped * count)))
    gold = {example: other(draw, label) if example in wrong else label for example, label in truth.items()}
    rows = []
    for example, label in truth.items():
        bait = other(draw, label)
        misled = {model for model in "abc" if draw.random() < shared}
        for candidate, model in MODELS.items():
            right = draw.random() < skill
            said = bait if model in misled else label if right else other(draw, label)
            rows.append(rollout(candidate, example, said, gold[example]))
    return rows, {example: {"team": label} for example, label in gold.items()}, wrong


def other(draw: random.Random, label: str) -> str:
    return draw.choice([known for known in LABELS if known != label])


def agreed(saying: Mapping[str, str], models: Mapping[str, str]) -> list[LabelSuspect]:
    """Suspects when every candidate is right on 30 plain examples and then says this of one more."""
    gold = {f"e{index}": {"team": LABELS[index % 4]} for index in range(30)} | {"odd": {"team": "sales"}}
    rows = [
        rollout(candidate, example, outputs["team"], outputs["team"])
        for candidate in saying
        for example, outputs in gold.items()
        if example != "odd"
    ]
    rows += [rollout(candidate, "odd", said, "sales") for candidate, said in saying.items()]
    return label_noise_suspects(rows, gold, models)


@pytest.mark.parametrize(
    ("skill", "shared", "precision", "recall"), [(0.9, 0.0, 0.95, 0.8), (0.9, 0.05, 0.9, 0.6)]
)
def test_flipped_labels_are_found_and_few_others(
    skill: float, shared: float, precision: float, recall: float
) -> None:
    found = hits = flipped = 0
    for seed in range(5):
        rows, gold, wrong = simulated(seed, skill=skill, shared=shared)
        suspects = {suspect.example for suspect in label_noise_suspects(rows, gold, MODELS)}
        found, hits, flipped = found + len(suspects), hits + len(suspects & wrong), flipped + len(wrong)
    assert hits / found >= precision
    assert hits / flipped >= recall


def test_a_suspect_says_what_is_declared_and_what_is_said_instead() -> None:
    [suspect] = agreed(dict.fromkeys(MODELS, "billing") | {"a0": "sales"}, MODELS)
    assert suspect.example == "odd"
    assert suspect.gold == {"team": "sales"}
    assert suspect.said == {"team": "billing"}
    assert suspect.share == pytest.approx((3 / 4 + 1 + 1) / 3)
    assert (suspect.candidates, suspect.models) == (12, ("a", "b", "c"))


def test_answers_that_differ_in_case_and_spaces_agree() -> None:
    saying = dict(zip(MODELS, ["billing", "Billing", " billing", "BILLING "] * 3, strict=True))
    [suspect] = agreed(saying, MODELS)
    assert suspect.share == 1


def test_many_candidates_of_one_model_do_not_outvote_another_model() -> None:
    models = {f"a{number}": "a" for number in range(20)} | {"b0": "b"}
    said = dict.fromkeys(models, "billing")
    assert len(agreed(said, models)) == 1
    assert agreed(said | {"b0": "sales"}, models) == []


def test_a_single_model_is_said_to_speak_alone() -> None:
    models = {f"a{number}": "a" for number in range(5)}
    [suspect] = agreed(dict.fromkeys(models, "billing"), models)
    assert len(suspect.models) == 1
    assert agreed(dict.fromkeys(list(models)[:4], "billing"), models) == []


def test_four_in_five_must_give_the_same_wrong_answer() -> None:
    models = {f"a{number}": "a" for number in range(10)}
    said = dict.fromkeys(models, "billing")
    assert len(agreed(said | {"a0": "sales", "a1": "other"}, models)) == 1
    assert agreed(said | {"a0": "sales", "a1": "other", "a2": "other"}, models) == []


def test_always_giving_one_answer_is_no_competence() -> None:
    gold = {f"e{index}": {"team": "sales" if index % 10 == 0 else "other"} for index in range(100)}
    rows = [
        rollout(candidate, example, "other", outputs["team"])
        for candidate in MODELS
        for example, outputs in gold.items()
    ]
    assert label_noise_suspects(rows, gold, MODELS) == []


def test_a_class_that_all_candidates_misread_is_no_label_noise() -> None:
    gold = {f"e{index}": {"team": LABELS[index % 4]} for index in range(100)}
    rows = [
        rollout(
            candidate, example, "sales" if outputs["team"] == "other" else outputs["team"], outputs["team"]
        )
        for candidate in MODELS
        for example, outputs in gold.items()
    ]
    assert label_noise_suspects(rows, gold, MODELS) == []


@pytest.mark.parametrize("changes", [{"number": 1}, {"parsed": False}, {"score": None, "failure": "timeout"}])
def test_repeats_unparsed_replies_and_failures_do_not_speak(changes: dict[str, Any]) -> None:
    gold = {f"e{index}": {"team": LABELS[index % 4]} for index in range(30)} | {"odd": {"team": "sales"}}
    rows = []
    for candidate in MODELS:
        for example, outputs in gold.items():
            if example != "odd":
                rows.append(rollout(candidate, example, outputs["team"], outputs["team"]))
        rows.append(rollout(candidate, "odd", "billing", "sales", **changes))
    assert label_noise_suspects(rows, gold, MODELS) == []


def test_a_candidate_with_few_rollouts_does_not_speak() -> None:
    gold = {f"e{index}": {"team": LABELS[index % 4]} for index in range(18)} | {"odd": {"team": "sales"}}
    rows = [
        rollout(candidate, example, "billing" if example == "odd" else outputs["team"], outputs["team"])
        for candidate in MODELS
        for example, outputs in gold.items()
    ]
    assert label_noise_suspects(rows, gold, MODELS) == []


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_the_order_of_rollouts_does_not_matter_and_the_strongest_come_first(
    seed: int, order: random.Random
) -> None:
    rows, gold, _ = simulated(seed, skill=0.9, shared=0.1, count=60)
    suspects = label_noise_suspects(rows, gold, MODELS)
    strength = [suspect.share * len(suspect.models) for suspect in suspects]
    assert strength == sorted(strength, reverse=True)
    order.shuffle(rows)
    assert label_noise_suspects(rows, gold, MODELS) == suspects
