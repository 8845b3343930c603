"""Exports: every target gives the messages and readings of the compiled program, or is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from fakes import LARGE, SMALL, Classify, FakeEngine, exported_of, manifest

from optimizers.errors import ExportError, UserError
from optimizers.export import export_point, load_program
from optimizers.export.point import AWKWARD, Exported, choose, samples
from optimizers.export.targets.dspy_program import write_dspy
from optimizers.export.targets.openai_requests import render, write_openai
from optimizers.export.targets.prompty import write_prompty
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.folder import StudyFolder
from optimizers.records.report import Estimate, FrontierReport, Point
from optimizers.task.task import LoadedTask

DEMOS = (
    {"review": 'it is {good} and "fine"', "sentiment": "positive"},
    {"review": "Bad.", "sentiment": "negative"},
)
CASES = [
    (SMALL.name, "completion", "direct"),
    (LARGE.name, "completion", "chain_of_thought"),
    (LARGE.name, "compact", "direct"),
    (LARGE.name, "turns", "chain_of_thought"),
    (LARGE.name, "json_object", "direct"),
    (LARGE.name, "dspy_chat", "direct"),
    (SMALL.name, "completion", "concise"),
    (LARGE.name, "compact", "plan_then_answer"),
]
SEVERAL = ["self_consistency_3", "self_consistency_3_reasoned", "self_check", "yes_no_per_label"]


def point(model: str, rendering: str, technique: str, *, instruction: str = "Say which it is.") -> Point:
    candidate = Candidate(
        model=model,
        rendering=rendering,
        technique=technique,
        predictors={"predict": PredictorPrompt(instruction=instruction, demos=DEMOS, demos_name="two")},
        sampling=Sampling(temperature=0.3, top_p=0.9, max_tokens=60),
    )
    seen = Estimate(mean=0.8, low=0.7, high=0.9, n=50)
    kind = "base" if model == SMALL.name else "instruct"
    return Point(
        candidate=candidate, kind=kind, roles=("frontier",), dev=seen, test=seen, cost=1e-6, latency=0.1,
        prompt_tokens=50, completion_tokens=2,
    )  # fmt: skip


@pytest.fixture
def exported(task: LoadedTask, engines: dict[str, FakeEngine]) -> Callable[..., Exported]:
    def make(*case: str, **changes: Any) -> Exported:
        made = point(*case, **changes)
        model = SMALL if case[0] == SMALL.name else LARGE
        compiled = compile_candidate(task.program, made.candidate, task.models, measured=False)
        return Exported(manifest(), made, model, task, compiled)

    return make


@pytest.mark.parametrize("case", CASES)
def test_a_dspy_export_loads_into_the_same_program(
    exported: Callable[..., Exported],
    case: tuple[str, str, str],
    tmp_path: Path,
    engines: dict[str, FakeEngine],
) -> None:
    made = exported(*case)
    write_dspy(made, tmp_path)
    loaded = load_program(tmp_path, Classify())
    for text in (*AWKWARD, "the lamp is good"):
        made.compiled.module.predict.lm.cache = False
        loaded.program.predict.lm.cache = False
        # The fake engine gives no reasoning; what counts here is what it was sent.
        with suppress(AdapterParseError):
            made.compiled({"review": text})
        with suppress(AdapterParseError):
            loaded(review=text)
        sent, again = engines[case[0]].requests[-2:]
        assert again == sent


@pytest.mark.parametrize("technique", SEVERAL)
def test_a_dspy_export_of_several_calls_makes_the_same_ones(
    exported: Callable[..., Exported], technique: str, tmp_path: Path, engines: dict[str, FakeEngine]
) -> None:
    made = exported(LARGE.name, "compact", technique)
    write_dspy(made, tmp_path)
    loaded = load_program(tmp_path, Classify())
    requests = engines[LARGE.name].requests
    made.compiled.module.predict.lm.cache = loaded.program.predict.lm.cache = False
    for text in AWKWARD:
        with suppress(AdapterParseError):
            made.compiled({"review": text})
        sent = requests.copy()
        requests.clear()
        with suppress(AdapterParseError):
            loaded(review=text)
        assert requests == sent != []
        assert len(set(map(str, sent))) == len(sent)
        requests.clear()


def test_a_loaded_export_can_be_awaited_and_takes_positional_arguments(
    exported: Callable[..., Exported], tmp_path: Path, engines: dict[str, FakeEngine]
) -> None:
    write_dspy(exported(LARGE.name, "json_object", "direct"), tmp_path)
    loaded = load_program(tmp_path, Classify())
    loaded.program.predict.lm.cache = False
    for text in AWKWARD:
        said = [loaded(review=text), loaded(text), asyncio.run(loaded.acall(text))]
        assert len({prediction.sentiment for prediction in said}) == 1
        # The rendering is in what is sent.
        first, second, awaited = engines[LARGE.name].requests[-3:]
        assert first == second == awaited


def test_a_dspy_export_that_would_lose_its_technique_is_refused(
    exported: Callable[..., Exported], tmp_path: Path
) -> None:
    made = exported(LARGE.name, "compact", "self_consistency_3")
    direct = made.point.candidate.model_copy(update={"technique": "direct"})
    lost = replace(made, point=made.point.model_copy(update={"candidate": direct}))
    with pytest.raises(ExportError, match="would not make the calls of its technique"):
        write_dspy(lost, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("technique", SEVERAL)
def test_an_openai_export_of_several_calls_is_refused_with_the_reason(
    exported: Callable[..., Exported], technique: str, tmp_path: Path
) -> None:
    made = exported(LARGE.name, "compact", technique)
    with pytest.raises(ExportError, match=rf"{technique} takes up to \d calls(.|\n)*export to dspy"):
        write_openai(made, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_openai_export_of_a_program_that_picks_of_several_replies_is_refused(
    task: LoadedTask, tmp_path: Path
) -> None:
    best = dspy.BestOfN(dspy.Predict("review -> sentiment"), N=2, reward_fn=lambda a, p: 1.0, threshold=1.0)
    made = exported_of(replace(task, program=best), LARGE, "turns", instruction="Say which it is.")
    with pytest.raises(ExportError, match=r"picks one(.|\n)*export to dspy"):
        write_openai(made, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_one_predictor_names_its_file_after_its_signature_or_the_task(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    signature = task.program.predict.signature
    for program, named in ((dspy.Predict(signature), signature.__name__), ("review -> sentiment", "reviews")):
        whole = replace(task, program=dspy.Predict(program) if isinstance(program, str) else program)
        made = exported_of(whole, LARGE, "turns", instruction="Say which it is.")
        (path,) = write_openai(made, tmp_path)
        (prompty,) = write_prompty(made, tmp_path)
        assert (path.name, prompty.name) == (f"{named}.json", f"{named}.prompty")


@pytest.mark.parametrize("case", CASES)
def test_an_openai_export_renders_the_measured_messages(
    exported: Callable[..., Exported], case: tuple[str, str, str], tmp_path: Path
) -> None:
    made = exported(*case)
    (path,) = write_openai(made, tmp_path)
    template = json.loads(path.read_text())
    predictor = made.compiled.module.predict
    for text in AWKWARD:
        measured = made.compiled.adapter().format(predictor.signature, predictor.demos, {"review": text})
        assert render(template, {"review": text}) == measured
    assert template["endpoint"] == ("/completions" if case[1] == "completion" else "/chat/completions")
    assert template["parameters"]["max_tokens"] == 60


def test_a_template_that_would_differ_is_refused(exported: Callable[..., Exported], tmp_path: Path) -> None:
    made = exported(LARGE.name, "compact", "direct", instruction="Fill in {{review}} literally.")
    with pytest.raises(ExportError):
        write_openai(made, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_loads_otherwise_is_refused_and_leaves_nothing(
    exported: Callable[..., Exported], tmp_path: Path
) -> None:
    made = exported(LARGE.name, "compact", "direct")
    made.compiled.module.predict.demos = made.compiled.module.predict.demos[:1]
    broken = replace(made, compiled=made.compiled)
    original = broken.compiled.module.save

    def save_other(path: str) -> None:
        original(path)
        state = json.loads(Path(path).read_text())
        state["predict"]["demos"] = []
        Path(path).write_text(json.dumps(state))

    broken.compiled.module.save = save_other
    with pytest.raises(ExportError, match="other messages"):
        write_dspy(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_point_that_tested_best_is_exported_unless_one_is_named() -> None:
    low, high = point(SMALL.name, "completion", "direct"), point(LARGE.name, "turns", "direct")
    high = high.model_copy(update={"test": Estimate(mean=0.9, low=0.8, high=1.0, n=50)})
    report = FrontierReport(
        study="s", task="t", metric="m", reference=LARGE.name, margin=0.02, points=(low, high),
        hypervolume=0.1, trials=1, rollouts=1, seconds=1.0, answer="",
    )  # fmt: skip
    assert choose(report, None) is high
    assert choose(report, low.candidate.id) is low
    with pytest.raises(UserError, match=high.candidate.id):
        choose(report, "nothing")


def test_an_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    folder = StudyFolder.create(tmp_path, manifest())
    with pytest.raises(UserError, match="dspy, openai"):
        export_point(folder, target="word")


class Dated(dspy.Signature):
    """Say which it is."""

    review: str = dspy.InputField()
    year: int = dspy.InputField()
    tags: list[str] = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


def test_awkward_texts_are_tried_beside_inputs_that_are_no_text(
    task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    class Program(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict(Dated)

    other = replace(task, program=Program())
    made = exported_of(other, LARGE, "compact", instruction="Say.")
    tried = list(samples(made, Dated))
    assert {one["review"] for one in tried} >= set(AWKWARD)
    assert {(one["year"], tuple(one["tags"])) for one in tried} == {(3, (AWKWARD[0],))}
    (path,) = write_openai(made, tmp_path)
    template = json.loads(path.read_text())
    inputs = {"review": "Line one\nSentiment: no\n", "year": 3, "tags": ["a"]}
    signature = made.compiled.module.predict.signature
    assert render(template, inputs) == made.compiled.adapter().format(signature, [], inputs)
