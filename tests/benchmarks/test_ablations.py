"""The ablation benchmark: results of finished studies, and spaces that lack their part."""

from __future__ import annotations

from math import log
from pathlib import Path
from random import Random

import pytest
from benchmarks.ablations import (
    VARIANTS,
    Group,
    Outcome,
    cached,
    groups_of,
    reading,
    report,
    run,
    table,
    write_between,
)
from dspy.lm15 import Config, Message, Request, Response
from fakes import LARGE, SMALL, FakeEngine, candidate

from optimizers.models.llama import LlamaEngine
from optimizers.models.model import Model
from optimizers.records.candidate import Candidate
from optimizers.records.report import Estimate, FrontierReport, Point, Role
from optimizers.search.space.initial_design import DEFAULT_RENDERING, drawn
from optimizers.task.task import LoadedTask

KINDS = {SMALL.name: SMALL.kind, LARGE.name: LARGE.kind}


def outcome(*points: tuple[float, float], best: float = 0.5) -> Outcome:
    return Outcome(points=points, best=best, smallest=None, calls=900, trials=20)


def estimate(mean: float) -> Estimate:
    return Estimate(mean=mean, low=0, high=1, n=60)


def point(model: Model, name: str, roles: tuple[Role, ...], dev: float, test: float, cost: float) -> Point:
    return Point(
        candidate=candidate(model.name, name),
        kind=model.kind,
        size=model.size,
        roles=roles,
        dev=estimate(dev),
        test=estimate(test),
        cost=cost,
        latency=0.1,
        prompt_tokens=10,
        completion_tokens=1,
    )


def test_a_study_counts_by_the_points_chosen_on_dev() -> None:
    points = (
        point(SMALL, "a", ("default",), 0.1, 0.99, 1.0),
        point(SMALL, "b", ("frontier", "best"), 0.6, 0.5, 2.0),
        point(LARGE, "c", ("frontier",), 0.8, 0.9, 4.0),
        point(LARGE, "d", ("frontier", "best", "reference"), 0.9, 0.7, 8.0),
    )
    found = Outcome.of(
        FrontierReport(
            study="s",
            task="t",
            metric="m",
            reference=LARGE.name,
            margin=0.02,
            points=points,
            hypervolume=0.5,
            trials=7,
            rollouts=9,
            seconds=1,
            answer="",
        )
    )
    assert found.points == ((0.5, 2.0), (0.9, 4.0), (0.7, 8.0))
    assert (found.best, found.smallest, found.trials) == (0.7, 0.5, 7)


def test_hypervolumes_of_a_task_have_one_reference_point() -> None:
    group = Group(
        "t",
        900,
        {"full": {0: outcome((0.8, 1.0)), 1: outcome((0.8, 10.0))}, "demos": {0: outcome((0.8, 100.0))}},
    )
    covered = group.covered()
    assert covered["full"][0] == pytest.approx(0.8)
    assert covered["full"][1] == pytest.approx(0.8 * log(11) / log(110))
    assert covered["demos"][0] == pytest.approx(0.8 * log(1.1) / log(110))


def test_differences_are_paired_by_seed_and_only_where_both_spaces_ran() -> None:
    full = {
        0: outcome((0.5, 1.0), best=0.5),
        1: outcome((0.9, 1.0), best=0.9),
        2: outcome((0.1, 1.0), best=0.1),
    }
    less = {0: outcome((0.4, 1.0), best=0.4), 1: outcome((0.7, 1.0), best=0.7)}
    *_, row = table(Group("t", 900, {"full": full, "demos": less})).splitlines()
    assert row.count("-0.150 (-0.200 to -0.100)") == 2
    assert "| 2 | 0.550 (0.400 to 0.700) |" in row


def test_the_reading_names_spaces_that_lost_in_every_seed_and_the_weak_evidence() -> None:
    def spread(*qualities: float) -> dict[int, Outcome]:
        return {seed: outcome((quality, 1.0)) for seed, quality in enumerate(qualities)}

    spaces = {"full": spread(0.5, 0.7), "demos": spread(0.2, 0.3), "parts": spread(0.4, 0.8)}
    text = reading(Group("t", 900, spaces))
    assert f"in every seed with: {VARIANTS['demos'].title}; larger with: none" in text
    assert "about 0.5 of these 2" in text
    assert "With 2 seeds this is weak evidence" in text
    assert "0.500 to 0.700" in text
    assert "says nothing" in reading(Group("t", 900, {"full": spread(0.5), "demos": spread(0.2)}))


@pytest.fixture
def candidates(task: LoadedTask, engines: dict[str, FakeEngine]) -> dict[str, list[Candidate]]:
    """Candidates drawn at random from every space."""
    random = Random(0)
    spaces = {name: variant.space(task, {}) for name, variant in VARIANTS.items()}
    return {
        name: [drawn(space, model, random) for model in task.models for _ in range(40)]
        for name, space in spaces.items()
    }


def test_each_space_lacks_its_part_and_the_full_space_has_it(
    candidates: dict[str, list[Candidate]],
) -> None:
    def ways(name: str) -> set[str]:
        prompts = [
            one.predictors["predict"] for one in candidates[name] if one.predictors["predict"].demos_name
        ]
        return {prompt.demos_name for prompt in prompts}

    def lacks(name: str) -> bool:
        found = candidates[name]
        prompts = [one.predictors["predict"] for one in found]
        return {
            "demos": lambda: not any(prompt.demos or prompt.nearest for prompt in prompts),
            "techniques": lambda: {one.technique for one in found} == {"direct"},
            "renderings": lambda: all(one.rendering == DEFAULT_RENDERING[KINDS[one.model]] for one in found),
            "parts": lambda: {prompt.instruction_name for prompt in prompts} == {"own"},
            "sampling": lambda: all(
                one.sampling.temperature == 0 or "consistency" in one.technique for one in found
            ),
            "strategies": lambda: all("balanced" in way for way in ways(name) if way != "none"),
        }[name]()

    for name in ("demos", "techniques", "renderings", "parts", "sampling", "strategies"):
        assert lacks(name), name
        candidates[name] = candidates["full"]
        assert not lacks(name), name


def test_repeated_requests_are_cached_unless_sampled() -> None:
    asked: list[Request] = []

    def complete(engine: LlamaEngine, request: Request) -> Response:
        asked.append(request)
        return FakeEngine().complete(request)

    answer = cached(complete)
    small, large = LlamaEngine("local/small", 512), LlamaEngine("local/large", 512)
    greedy = Request(model="m", messages=(Message.user("a review: good"),))
    drawn_by_chance = Request(model="m", messages=greedy.messages, config=Config(temperature=1.0))
    for _ in range(2):
        answer(small, greedy)
        answer(large, greedy)
        answer(small, drawn_by_chance)
    assert len(asked) == 4


def test_a_finished_study_is_not_run_again_and_ends_up_between_the_markers(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    runs, results = tmp_path / "runs", tmp_path / "RESULTS.md"
    results.write_text("before <b> old <e> after")
    asked = []
    for _ in range(2):
        run(task, "demos", 0, 60, runs)
        asked.append(sum(len(engine.requests) for engine in engines.values()))
    assert asked == [60, 60]
    write_between(results, "<b>", "<e>", report(groups_of(runs)))
    text = results.read_text()
    assert text.startswith("before <b>\n")
    assert text.endswith("\n<e> after")
    assert "old" not in text
    assert "### reviews, 60 calls a study" in text
    assert f"| {VARIANTS['demos'].title} | 1 |" in text
