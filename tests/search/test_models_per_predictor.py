"""Programs of two predictors: finds reach the unlabelled one, and two models may share the program."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from dspy.lm15 import Message, Request, Response, ServerError
from dspy.utils.exceptions import AdapterParseError
from fakes import (
    LARGE,
    PROPOSER,
    SMALL,
    FakeEngine,
    FakeProposer,
    NoteEngine,
    Notes,
    fill,
    manifest,
    sentiment_dataset,
)

from optimizers.errors import EngineError
from optimizers.evaluation.measure import Measurer
from optimizers.export import load_program
from optimizers.export.point import AWKWARD, Exported
from optimizers.export.targets.dspy_program import write_dspy
from optimizers.export.targets.openai_requests import write_openai
from optimizers.prompting.compile import compile_candidate
from optimizers.records.budget import Budget
from optimizers.records.candidate import Candidate
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import Choices, Parameter
from optimizers.records.report import Estimate, FrontierReport, Point
from optimizers.records.rows import Block, Rollout
from optimizers.search.bootstrap_proposals import BootstrapProposals
from optimizers.search.manifest import open_folder
from optimizers.search.model.observations import ObservationStore
from optimizers.search.rounds import Round
from optimizers.search.space.initial_design import FixedChoices, completed, default_candidate, starts
from optimizers.search.space.parts import MODEL, model_of
from optimizers.search.space.search_space import MIXED, search_space
from optimizers.search.study import run_study
from optimizers.task.task import LoadedTask


@pytest.fixture
def notes(task: LoadedTask, engines: dict[str, FakeEngine], quick: None) -> LoadedTask:
    """The review task in two steps, each of which may have a model of its own."""
    engines |= {SMALL.name: NoteEngine(0.5), LARGE.name: NoteEngine(0.8)}
    return replace(task, program=Notes(), models_per_predictor=True, dataset=sentiment_dataset(120))


def mixed_candidate(task: LoadedTask, take: str = SMALL.name, more: Choices | None = None) -> Candidate:
    values = {
        MODEL: MIXED,
        model_of("take"): take,
        model_of("judge"): LARGE.name,
        Parameter("large", None, "rendering"): "turns",
        Parameter("large", "judge", "demos"): 1,
    }
    space = search_space(task)
    return space.choose(FixedChoices(completed(space, values | (more or {}))))


@pytest.fixture
def study(notes: LoadedTask, tmp_path: Path) -> tuple[FrontierReport, Ledger]:
    folder = open_folder(notes, tmp_path, "s", 0, Budget(trials=24))
    report = run_study(notes, folder, watch=lambda progress: None)
    return report, Ledger.open(folder.ledger)


def test_a_study_finds_demos_for_the_inner_step_and_shares_models_out(
    study: tuple[FrontierReport, Ledger], notes: LoadedTask
) -> None:
    report, ledger = study
    with ledger:
        known, calls = ledger.candidates(), ledger.calls()
        rows: dict[str, list[Rollout]] = defaultdict(list)
        for row in ledger.rollouts():
            rows[row.candidate].append(row)
        kept = ledger.get("round 2")
    check_bootstrapped(kept, known, notes)
    mixed = {identity for identity, candidate in known.items() if len(candidate.models) == 2}
    # The fake engines write no reasoning: a step that asks for it is where a run ends.
    read = {identity for identity in mixed if all(row.parsed for row in rows[identity])}
    assert any(row.split == "dev" for identity in read for row in rows[identity])
    for identity in mixed:
        spent = [call for call in calls if call.candidate == identity]
        assert {call.model for call in spent} == {SMALL.name, LARGE.name} or identity not in read
        # What the gate was billed for is what the rollouts cost: each model at its own price.
        assert sum(row.cost for row in rows[identity]) == pytest.approx(sum(call.cost for call in spent))
    for role in ("best", "default", "reference"):
        assert all(len(point.candidate.models) == 1 for point in report.with_role(role))
    assert {p.candidate.model for p in report.with_role("best")} == {SMALL.name, LARGE.name}
    assert [p.candidate.model for p in report.with_role("reference")] == [LARGE.name]


def check_bootstrapped(kept: str | None, known: dict[str, Candidate], task: LoadedTask) -> None:
    """The note taker, whose outputs no data labels, is shown what it wrote itself in runs that were right."""
    assert kept is not None
    pool = Round.model_validate_json(kept).pools["take"]
    ((name, demos),) = pool.demos.items()
    assert name.startswith("written in round 2 by ")
    train = {example.review for example in task.dataset.train}
    assert {demo["review"] for demo in demos} <= train
    shown = [c.predictors["take"] for c in known.values() if c.predictors["take"].demos]
    assert shown
    for prompt in shown:
        assert all(demo.keys() == {"review", "note"} for demo in prompt.demos)
        assert {str(demo) for demo in prompt.demos if name in prompt.demos_name} <= {str(d) for d in demos}


def test_a_rollouts_cost_is_the_sum_of_each_models_own_price(notes: LoadedTask, tmp_path: Path) -> None:
    candidate = mixed_candidate(notes)
    assert candidate.models == (LARGE.name, SMALL.name)
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        (row,) = Measurer(notes, ledger).measure(candidate, notes.dataset.dev[:1], "dev")
    assert row.calls == 2
    # The fake engines count a token per four characters, and two written.
    assert SMALL.price.cost(row.prompt_tokens, 4) < row.cost < LARGE.price.cost(row.prompt_tokens, 4)


def exported(task: LoadedTask, candidate: Candidate) -> Exported:
    seen = Estimate(mean=0.8, low=0.7, high=0.9, n=50)
    point = Point(
        candidate=candidate, kind="instruct", roles=("frontier",), dev=seen, test=seen, cost=1e-6,
        latency=0.1, prompt_tokens=50, completion_tokens=2,
    )  # fmt: skip
    compiled = compile_candidate(task.program, candidate, task.models, measured=False)
    return Exported(manifest(), point, LARGE, task, compiled)


@pytest.mark.parametrize("take", [SMALL.name, LARGE.name])
def test_a_dspy_export_asks_the_same_models_the_same(
    notes: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path, take: str
) -> None:
    made = exported(notes, mixed_candidate(notes, take))
    write_dspy(made, tmp_path)
    loaded = load_program(tmp_path, Notes())
    for module in (made.compiled.module, loaded.program):
        for predictor in module.predictors():
            predictor.lm.cache = False
    for text in (*AWKWARD, "order 1: the lamp number 3 is good"):
        review = f"{text} order 1: the lamp number 3 is good"
        for engine in engines.values():
            engine.requests.clear()
        # A reply may look like one in the midst of such a text; what counts is what was sent.
        with suppress(AdapterParseError):
            made.compiled({"review": review})
        sent = {name: list(engine.requests) for name, engine in engines.items()}
        with suppress(AdapterParseError):
            loaded(review=review)
        for name, engine in engines.items():
            assert engine.requests == 2 * sent[name]
        assert [len(requests) for requests in sent.values()] == ([1, 1] if take == SMALL.name else [0, 2])


def test_an_openai_export_names_each_steps_own_model_rendering_and_sampling(
    notes: LoadedTask, tmp_path: Path
) -> None:
    candidate = mixed_candidate(notes)
    written = write_openai(exported(notes, candidate), tmp_path)
    take, judge = (json.loads(path.read_text()) for path in written)
    assert take["parameters"]["model"] == "small"
    assert judge["parameters"]["model"] == "large"
    assert take["endpoint"] == "/completions"
    assert judge["endpoint"] == "/chat/completions"
    assert take["parameters"]["max_tokens"] == candidate.serving("take").sampling.max_tokens


def test_a_mixed_candidate_is_no_models_best_however_good(notes: LoadedTask) -> None:
    space, observations = search_space(notes), ObservationStore()
    alone, both = default_candidate(space, LARGE), mixed_candidate(notes)
    fill(observations, alone, [0.0, 1.0] * 10, cost=2e-6)
    fill(observations, both, [1.0] * 20, cost=1e-6)
    best = observations.best_of(LARGE.name)
    assert best is not None
    assert best.candidate.id == alone.id
    assert observations.best_of(SMALL.name) is None
    assert [stats.candidate.id for stats in observations.frontier()] == [both.id]
    assert {stats.candidate.id for stats in observations.leaders()} == {alone.id, both.id}


class Mute(NoteEngine):
    """Takes no note that can be read."""

    def complete(self, request: Request) -> Response:
        answered = super().complete(request)
        return answered if self.judges(request) else replace(answered, message=Message.assistant(" "))


def test_an_unread_reply_is_put_down_to_the_step_that_gave_it(
    notes: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path
) -> None:
    engines[LARGE.name] = Mute(0.8)
    proposer = FakeProposer(lambda request: "")
    engines[PROPOSER.name] = proposer
    asked, observations = replace(notes, proposer=PROPOSER), ObservationStore()
    default = default_candidate(search_space(notes), LARGE)
    observations.register(default)
    stats = observations.stats[default.id]
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        measurer = Measurer(asked, ledger)
        observations.add_block(
            stats, Block.of(measurer.measure(stats.candidate, notes.dataset.dev[:10], "dev"))
        )
        BootstrapProposals(asked, measurer, 0).propose_from_runs(observations, 2)
    (request,) = proposer.requests
    assert "output note" in (request.messages[0].text or "")


def test_growth_without_one_score_finds_nothing(notes: LoadedTask, tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert (
            BootstrapProposals(notes, Measurer(notes, ledger), 0).propose_from_runs(ObservationStore(), 2)
            == {}
        )


def test_runs_taken_back_when_a_server_was_down_leave_no_empty_trace(
    notes: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(request: Request) -> None:
        raise ServerError("gone")

    monkeypatch.setattr("optimizers.models.lm._wait", lambda error: 0.0)
    candidate, engine = default_candidate(search_space(notes), LARGE), engines[LARGE.name]
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        measurer = Measurer(notes, ledger)
        engine.fail = down
        with pytest.raises(EngineError):
            measurer.measure(candidate, notes.dataset.train[:8], "train")
        engine.fail = lambda request: None
        measurer.measure(candidate, notes.dataset.train[:8], "train")
        rows = ledger.rollouts(split="train")
    assert [len(row.trace.steps) for row in rows if row.trace] == [2] * 8


def test_every_start_of_the_two_step_program_runs(notes: LoadedTask, tmp_path: Path) -> None:
    space = search_space(notes)
    candidates = {c.id: c for c in (space.choose(FixedChoices(start)) for start in starts(space, 0))}
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        measurer = Measurer(notes, ledger)
        for candidate in candidates.values():
            rows = measurer.measure(candidate, notes.dataset.dev[:2], "dev")
            assert all(row.failure is None for row in rows)
