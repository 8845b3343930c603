"""Candidates whose demos are chosen for each input: each sees its own, none itself, and all of it fits."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from fakes import LARGE, Classify, FakeEngine, manifest

from optimizers.errors import ExportError
from optimizers.export import load_program
from optimizers.export.point import AWKWARD, Exported
from optimizers.export.targets.dspy_program import write_dspy
from optimizers.export.targets.openai_requests import write_openai
from optimizers.models.model import Model
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import CompiledProgram, adapter_of, compile_candidate, demos_of
from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt
from optimizers.records.parameters import Parameter
from optimizers.records.report import Estimate, Point
from optimizers.search.space.initial_design import FixedChoices
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import MOST_NEAREST, NEAREST, search_space
from optimizers.task.task import LoadedTask

POOL = tuple(
    {"review": f"the {thing} came {when}", "sentiment": ("positive", "negative")[place % 2]}
    for place, (thing, when) in enumerate(
        (thing, when)
        for thing in ("lamp", "chair", "phone", "kettle", "radio")
        for when in ("today", "late", "broken")
    )
)
RENDERINGS = ["completion", "compact", "json_object", "dspy_chat"]


def nearest_candidate(
    rendering: str = "completion",
    *,
    technique: str = "direct",
    count: int = 3,
    pool: Any = POOL,
    **drawn: Any,
) -> Candidate:
    prompt = PredictorPrompt(instruction="Say which.", nearest=Nearest(count=count, pool=pool))
    return Candidate(
        model=LARGE.name,
        rendering=rendering,
        technique=technique,
        predictors={"predict": prompt},
        sampling=Sampling(max_tokens=12, **drawn),
    )


def compiled(candidate: Candidate, model: Model = LARGE) -> CompiledProgram:
    return compile_candidate(Classify(), candidate, (model,))


def shown(engine: FakeEngine) -> list[str]:
    """What the last prompt holds of the pool, in order."""
    request = engine.requests[-1]
    text = "\n".join([str(request.system or ""), *(message.text or "" for message in request.messages)])
    return re.findall(r"the \w+ came \w+", text)


@pytest.fixture
def large(engines: dict[str, FakeEngine]) -> FakeEngine:
    return engines[LARGE.name]


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_each_input_is_shown_its_own_demos_the_most_like_one_last(large: FakeEngine, rendering: str) -> None:
    program = compiled(nearest_candidate(rendering))
    for thing in ("lamp", "radio", "chair"):
        program({"review": f"one more {thing} was late"})
        demos = shown(large)
        assert len(demos) == 3
        assert all(thing in demo or "late" in demo for demo in demos)
        assert demos[-1] == f"the {thing} came late"


def test_a_technique_of_several_calls_shows_them_in_each(large: FakeEngine) -> None:
    program = compiled(nearest_candidate("compact", technique="self_consistency_3", temperature=0.7))
    program({"review": "one more lamp was late"}, seed=1)
    calls, large.requests[:] = list(large.requests), []
    assert len(calls) == 3
    for request in calls:
        large.requests.append(request)
        assert "the lamp came late" in shown(large)


def test_a_train_example_never_sees_itself(large: FakeEngine) -> None:
    program = compiled(nearest_candidate(count=len(POOL)))
    for demo in POOL:
        program({"review": f"  {demo['review'].upper()} "})
        assert sorted(shown(large)) == sorted(other["review"] for other in POOL if other != demo)


def test_the_user_who_gives_demos_of_their_own_is_shown_those(large: FakeEngine) -> None:
    program = compiled(nearest_candidate())
    predictor = program.module.predict
    with_own = [{"review": "the rug came clean", "sentiment": "positive"}]
    with dspy.context(adapter=program.adapter()):
        predictor(review="one more lamp", demos=with_own)
    assert shown(large) == ["the rug came clean"]


@pytest.mark.parametrize("rendering", RENDERINGS)
@pytest.mark.parametrize("context", [256, 600, 1200])
def test_long_demos_never_overflow_a_small_context(
    engines: dict[str, FakeEngine], rendering: str, context: int
) -> None:
    small = LARGE.model_copy(update={"context": context})
    pool = tuple({**demo, "review": demo["review"] + " and so on" * 40} for demo in POOL)
    candidate = nearest_candidate(rendering, count=8, pool=pool)
    program = compiled(candidate, small)
    sizes = []
    for review in ("one more lamp was late", "late " * 60):
        program({"review": review})
        request = engines[LARGE.name].requests[-1]
        texts = [str(request.system or ""), *(message.text or "" for message in request.messages)]
        kept = sum("came" in text for text in texts)
        bare = len("".join(texts).encode()) if not kept else 0
        sizes.append(len("".join(texts).encode()))
        assert bare or sizes[-1] <= 2 * (context - candidate.sampling.max_tokens)
    if context == 1200:
        # The most like one is what stays.
        program({"review": "one more lamp was late"})
        found = shown(engines[LARGE.name])
        assert 0 < len(found) < 8
        assert found[-1] == "the lamp came late"


@pytest.mark.parametrize(("per_label", "count"), [(1, 2), (8, MOST_NEAREST)])
def test_the_space_offers_them_and_the_candidate_carries_its_pool(
    task: LoadedTask, engines: dict[str, FakeEngine], per_label: int, count: int
) -> None:
    space = search_space(task)
    values = {
        MODEL: LARGE.name,
        Parameter("large", "predict", "demos"): per_label,
        Parameter("large", "predict", "demos.from"): NEAREST,
    }
    candidate = space.choose(FixedChoices(values))
    prompt = candidate.predictors["predict"]
    assert prompt.nearest is not None
    assert (prompt.nearest.count, prompt.demos) == (count, ())
    assert prompt.demos_name == f"{count} nearest"
    assert {demo["review"] for demo in prompt.nearest.pool} <= {e.review for e in task.dataset.train}
    again = Candidate.model_validate_json(candidate.model_dump_json())
    assert (again, again.id) == (candidate, candidate.id)


def test_a_candidate_without_them_has_the_id_it_always_had() -> None:
    plain = PredictorPrompt(instruction="Say which.")
    assert plain.model_dump(mode="json").keys() == {
        "instruction",
        "instruction_name",
        "demos",
        "demos_name",
    }


@pytest.fixture
def exported(task: LoadedTask, engines: dict[str, FakeEngine]) -> Exported:
    seen = Estimate(mean=0.8, low=0.7, high=0.9, n=50)
    candidate = nearest_candidate("compact")
    point = Point(
        candidate=candidate, kind="instruct", roles=("frontier",), dev=seen, test=seen, cost=1e-6,
        latency=0.1, prompt_tokens=50, completion_tokens=2,
    )  # fmt: skip
    made = compile_candidate(task.program, candidate, task.models, measured=False)
    return Exported(manifest(), point, LARGE, task, made)


def test_a_dspy_export_shows_the_same(exported: Exported, large: FakeEngine, tmp_path: Path) -> None:
    write_dspy(exported, tmp_path)
    loaded = load_program(tmp_path, Classify())
    exported.compiled.module.predict.lm.cache = loaded.program.predict.lm.cache = False
    for text in (*AWKWARD, *(f"one more {thing} was late" for thing in ("lamp", "radio"))):
        large.requests.clear()
        with suppress(AdapterParseError):
            exported.compiled({"review": text})
        with suppress(AdapterParseError):
            loaded(review=text)
        sent, again = large.requests
        assert again == sent
        assert len(shown(large)) == 3


def test_a_dspy_export_that_would_show_others_is_refused(exported: Exported, tmp_path: Path) -> None:
    other = nearest_candidate("compact", pool=POOL[::-1][:4])
    changed = replace(exported, point=exported.point.model_copy(update={"candidate": other}))
    with pytest.raises(ExportError, match="other messages"):
        write_dspy(changed, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_openai_export_is_refused_with_the_reason(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"(?s)chosen anew for every input.*export to dspy"):
        write_openai(exported, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_foretold_counts_the_demos_that_will_be_shown(large: FakeEngine) -> None:
    program = compiled(nearest_candidate())
    predictor = program.module.predict
    adapter = adapter_of(predictor, program.adapter())
    demos = demos_of(predictor, {"review": "one more lamp was late"}, adapter)
    program({"review": "one more lamp was late"})
    assert [demo["review"] for demo in demos] == shown(large)
