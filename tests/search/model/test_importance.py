"""Importance: planted effects are found, intervals cover, the search itself is not taken for an effect."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from fakes import candidate
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.records.candidate import Candidate, PredictorPrompt, PromptOrigin
from optimizers.records.report import Importance
from optimizers.records.rows import Rollout
from optimizers.search.model.importance import importances

Chosen = dict[str, dict[str, str]]
Study = tuple[dict[str, Candidate], list[Rollout], Chosen]

SIZES = {"planted": 4, "two": 2, "three": 3, "six": 6}
"""Values per dimension; only ``planted`` may have effects."""


def rollout(of: Candidate, example: str, score: float | None, **changes: object) -> Rollout:
    content = {
        "candidate": of.id,
        "example": example,
        "split": "dev",
        "score": score,
        "failure": "timeout" if score is None else None,
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "cost": 1e-6,
        "latency": 0.1,
        "created": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return Rollout.model_validate(content | changes)


def study(
    seed: int, *, effect: float = 0.0, count: int = 40, examples: int = 100, suits: float = 0.0
) -> Study:
    """A search that drops what starts badly and repeats values that have looked good.

    Args:
        seed: Seed of everything.
        effect: From the planted dimension's middle to its best value.
        count: Candidates.
        examples: Dev examples.
        suits: How much more a value suits one example than another, as a standard deviation.
    """
    draw = np.random.default_rng(seed)
    planted = effect * np.array([-1, -0.33, 0.33, 1])
    difficulty = draw.normal(0, 0.15, examples)
    suited = {name: draw.normal(0, suits, (size, examples)) for name, size in SIZES.items()}
    looked = {name: np.array([[0.5, 1.0]] * size) for name, size in SIZES.items()}
    known, chosen, rows, best = {}, {}, [], 0.5
    for number in range(count):
        values = {name: int(draw.integers(size)) for name, size in SIZES.items()}
        if number >= 10 and draw.random() < 0.7:
            means = {name: seen[:, 0] / seen[:, 1] for name, seen in looked.items()}
            values = {name: int(np.argmax(m + draw.normal(0, 0.03, len(m)))) for name, m in means.items()}
        level = 0.5 + planted[values["planted"]] + draw.normal(0, 0.08)
        chances = level + difficulty + sum(suited[name][value] for name, value in values.items())
        scores = (draw.random(examples) < chances).astype(float)
        ran = 10
        while ran < examples and scores[:ran].mean() + 0.65 / np.sqrt(ran) >= best and draw.random() < 0.9:
            ran += 10
        if ran >= 30:
            best = max(best, scores[:ran].mean())
        for name, value in values.items():
            looked[name][value] += scores[:ran].mean(), 1
        made = candidate("local/small", f"{seed} {number}")
        known[made.id], chosen[made.id] = made, {name: f"{name} {value}" for name, value in values.items()}
        rows += [rollout(made, f"e{place}", scores[place]) for place in range(ran)]
    return known, rows, chosen


def found(
    made: Study, *, blocks: Mapping[str, int] | None = None, groups: Mapping[str, str] | None = None
) -> dict[str, Importance]:
    known, rows, chosen = made
    describe = lambda of: {identity: chosen[identity] for identity in of}  # noqa: E731
    blocks = blocks or tens(rows)
    result = importances(known, rows, blocks=blocks, seed=0, groups=groups, describe=describe)
    return {one.dimension: one for one in result}


def tens(rows: Sequence[Rollout]) -> dict[str, int]:
    """Blocks of ten examples, in their order."""
    return {row.example: int(row.example[1:]) // 10 for row in rows}


def measured(table: Sequence[tuple[dict[str, str], Sequence[float]]], cost: Sequence[float] = ()) -> Study:
    """A study of candidates with these choices and scores."""
    known, chosen, rows = {}, {}, []
    for number, (choices, scores) in enumerate(table):
        made = candidate("local/small", f"made {number}")
        known[made.id], chosen[made.id] = made, choices
        rows += [
            rollout(made, f"e{place}", score, cost=cost[number] if cost else 1e-6)
            for place, score in enumerate(scores)
        ]
    return known, rows, chosen


def test_a_strong_choice_comes_first_and_its_intervals_cover() -> None:
    first = clear = covered = 0
    for seed in range(12):
        result = found(study(seed, effect=0.2, count=60, examples=150))
        one = next(iter(result.values()))
        first += one.dimension == "planted"
        clear += result["planted"].distinguishable
        base = int(result["planted"].baseline[-1])
        true = [0.2 * (gain - (-1, -0.33, 0.33, 1)[base]) for gain in (-1, -0.33, 0.33, 1)]
        covered += sum(e.low <= t <= e.high for e, t in zip(result["planted"].effects, true, strict=True))
    assert first >= 11
    assert clear >= 10
    assert covered / (12 * 4) >= 0.85


@pytest.mark.parametrize(("suits", "examples"), [(0.0, 100), (0.3, 20)])
def test_a_search_that_chases_luck_invents_no_effects(suits: float, examples: int) -> None:
    """Means per value with a bootstrap over candidates exclude no effect in 20% and 55% of such cases."""
    results = [found(study(seed, suits=suits, examples=examples)) for seed in range(100, 125)]
    choices = [one for result in results for one in result.values()]
    assert sum(one.distinguishable for one in choices) / len(choices) <= 0.1
    effects = [e for one in choices for e in one.effects if e.value != one.baseline]
    assert sum(not e.low <= 0 <= e.high for e in effects) / len(effects) <= 0.1


def test_hard_examples_of_a_stopped_candidate_are_no_effect() -> None:
    # The first ten examples are hard for all; candidates with b stopped there.
    hard, easy = [0.0, 0.0, 0.0, 1.0] * 3, [1.0, 1.0, 1.0, 0.0] * 20
    table = [({"way": "a"}, hard + easy)] * 8 + [({"way": "b"}, hard)] * 8
    [one] = found(measured(table), blocks={f"e{place}": place // 12 for place in range(96)}).values()
    assert abs(one.effects[1].effect) < 0.05
    assert not one.distinguishable


def test_few_candidates_give_a_wide_interval() -> None:
    few = found(study(3, effect=0.2, count=5))["planted"]
    many = found(study(3, effect=0.2, count=80))["planted"]
    assert not few.distinguishable
    assert few.high > 0.3

    def width(one: Importance) -> float:
        return float(np.mean([e.high - e.low for e in one.effects if e.value != one.baseline]))

    assert width(few) > 0.3
    assert width(few) > 2 * width(many)


def test_a_value_of_one_candidate_has_a_wider_interval() -> None:
    draw = np.random.default_rng(1)
    table = [
        ({"way": way}, (draw.random(60) < draw.normal(0.5, 0.1)).astype(float).tolist())
        for way in "ab" * 12 + "c"
    ]
    [one] = found(measured(table)).values()
    widths = {e.value: e.high - e.low for e in one.effects}
    assert widths["c"] > 1.5 * max(widths["a"], widths["b"])


def test_choices_that_coincide_name_each_other_and_share_one_importance() -> None:
    known, rows, chosen = study(5, effect=0.25, count=60)
    alone = found((known, rows, chosen))["planted"]
    twins = {i: {**values, "twin": values["planted"].replace("planted", "t")} for i, values in chosen.items()}
    result = found((known, rows, twins))
    assert alone.goes_with == ()
    assert result["planted"].goes_with == ("twin",)
    assert result["twin"].goes_with == ("planted",)
    assert result["planted"].share < alone.share
    assert result["planted"].share == pytest.approx(result["twin"].share, abs=0.1)
    assert result["planted"].high > 0.5 * alone.share


def test_a_constant_choice_is_left_out_and_not_applicable_is_no_value() -> None:
    table = [({"way": "a", "same": "x", "how": "p"}, [1.0] * 20), ({"way": "b", "same": "x"}, [0.0] * 20)]
    table += [({"way": "a", "same": "x", "how": "q"}, [1.0] * 19 + [0.0])]
    result = found(measured(table))
    assert set(result) == {"way", "how"}
    assert [e.value for e in result["how"].effects] == ["p", "q"]
    assert [e.candidates for e in result["how"].effects] == [1, 1]


@pytest.mark.parametrize(
    "table",
    [
        [({"way": "a"}, [1.0]), ({"way": "b"}, [0.0])],
        [({"way": "a"}, [1.0] * 10)] * 3 + [({"way": "b"}, [1.0] * 10)] * 2,
        [({"way": str(place), "other": str(-place)}, [place / 5] * 10) for place in range(5)],
    ],
    ids=["one rollout each", "nothing but right answers", "five candidates that share nothing"],
)
def test_hardly_any_data_is_no_error_and_nothing_is_distinguishable(
    table: list[tuple[dict[str, str], list[float]]],
) -> None:
    for one in found(measured(table)).values():
        assert not one.distinguishable
        assert 0 <= one.low <= one.share <= one.high <= 1


def test_no_candidate_and_one_candidate_give_no_importance() -> None:
    assert found(({}, [], {})) == {}
    assert found(measured([({"way": "a"}, [1.0, 0.0])])) == {}


def test_only_first_scored_rollouts_on_dev_count() -> None:
    known, rows, chosen = study(7, effect=0.2)
    of = next(iter(known.values()))
    more = [rollout(of, f"e{place}", 0.0, number=1) for place in range(50)]
    more += [rollout(of, f"t{place}", 0.0, split="test") for place in range(50)]
    more += [rollout(of, f"f{place}", None) for place in range(50)]
    assert found((known, [*rows, *more], chosen)) == found((known, rows, chosen))


def test_cost_ratios_multiply_over_choices() -> None:
    table = [
        ({"demos": many, "way": way}, [1.0, 0.0] * 5)
        for many in ("0", "8")
        for way in ("plain", "long")
        for _ in range(1 + (way == "plain") + (many == "0"))
    ]
    costs = [1e-6 * (6 if c["demos"] == "8" else 1) * (3 if c["way"] == "long" else 1) for c, _ in table]
    result = found(measured(table, costs))
    ratios = {e.value: e.cost_ratio for one in result.values() for e in one.effects}
    assert ratios == pytest.approx({"0": 1, "8": 6, "plain": 1, "long": 3}, rel=0.02)
    free = found(measured(table, [0.0] * len(table)))
    assert all(e.cost_ratio is None for one in free.values() for e in one.effects)


def test_each_model_has_its_own_importances() -> None:
    known, rows = {}, []
    for number in range(24):
        model, many = ("local/small", "local/large")[number % 2], number // 2 % 2
        made = Candidate(
            model=model,
            rendering="completion",
            technique="direct",
            predictors={
                "p": PredictorPrompt(
                    instruction=f"{number}",
                    origin=PromptOrigin(
                        instruction_parts=("own",), demos_method="balanced", demos_per_label=many
                    ),
                )
            },
        )
        known[made.id] = made
        # Demos help the small model only.
        right = 16 if model == "local/large" or many else 6
        rows += [rollout(made, f"e{place}", float(place < right)) for place in range(20)]
    result = {(one.model, one.dimension): one for one in importances(known, rows, blocks=tens(rows), seed=0)}
    assert {model for model, _ in result} == {None, "local/small", "local/large"}
    assert result["local/small", "demos"].distinguishable
    assert not result["local/large", "demos"].distinguishable
    small = {e.value: e.effect for e in result["local/small", "demos"].effects}
    assert abs(small["1 per label"] - small["0 per label"]) == pytest.approx(0.5, abs=0.1)
    assert (None, "model") in result


def test_grouped_examples_widen_the_interval() -> None:
    # A value suits whole groups of examples, so ten examples of a group are hardly more than one.
    draw = np.random.default_rng(2)
    suited = {way: np.repeat(draw.random(6) < 0.5, 10) for way in "ab"}
    table = [({"way": way}, [float(draw.random() < 0.2 + 0.6 * s) for s in suited[way]]) for way in "ab" * 15]
    # Blocks mix the groups.
    blocks = {f"e{place}": place % 6 for place in range(60)}
    groups = {f"e{place}": f"g{place // 10}" for place in range(60)}
    alone = found(measured(table), blocks=blocks)["way"]
    grouped = found(measured(table), blocks=blocks, groups=groups)["way"]
    widths = [max(e.high - e.low for e in one.effects) for one in (alone, grouped)]
    assert widths[1] > 1.5 * widths[0]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_order_of_rollouts_and_candidates_does_not_matter(seed: int, order: random.Random) -> None:
    known, rows, chosen = study(seed, effect=0.1, count=12, examples=30)
    mixed, items = order.sample(rows, len(rows)), order.sample(list(known.items()), len(known))
    assert found((dict(items), mixed, chosen)) == found((known, rows, chosen))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), names=st.permutations("stuvwxyz"))
def test_the_names_of_values_do_not_matter(seed: int, names: list[str]) -> None:
    known, rows, chosen = study(seed, effect=0.15, count=25, examples=40)
    renamed = {
        i: {name: f"{names[int(value[-1])]} {value}" for name, value in values.items()}
        for i, values in chosen.items()
    }
    before, after = found((known, rows, chosen)), found((known, rows, renamed))
    for name, one in before.items():
        other = after[name]
        assert other.share == pytest.approx(one.share, abs=0.1)
        means = [{e.value[-1]: e.effect for e in which.effects} for which in (one, other)]
        # Ties between most common values may fall otherwise: only differences are the same.
        centred = [{value: effect - np.mean(list(m.values())) for value, effect in m.items()} for m in means]
        assert centred[1] == pytest.approx(centred[0], abs=0.03)
