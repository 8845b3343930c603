"""BootstrapProposals: pools grow at the promised moments from train alone, once, and each find is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from dspy.lm15 import AuthError, Request
from fakes import PROPOSER, FakeEngine, FakeProposer, sentiment_dataset

from optimizers.errors import EngineError
from optimizers.prompting.proposals.pools import Pool
from optimizers.records.budget import Budget
from optimizers.records.candidate import Candidate
from optimizers.records.ledger import Ledger
from optimizers.records.report import FrontierReport
from optimizers.search.bootstrap_proposals import RUNS, BootstrapProposals
from optimizers.search.loop import SEARCH_SHARE
from optimizers.search.manifest import open_folder
from optimizers.search.optuna_trials import OptunaMirror
from optimizers.search.progress import Progress
from optimizers.search.rounds import Round
from optimizers.search.study import run_study
from optimizers.task.data.split import example_id
from optimizers.task.task import LoadedTask

HINT = "Go by the last word of the text, whatever stands before it."


class Listening(FakeEngine):
    """Does better when told what to go by."""

    def odds(self, request: Request, demos: int) -> float:
        told = f"{request.system or ''}{request.messages[0].text}"
        return super().odds(request, demos) + (0.3 if HINT in told else 0.0)


@dataclass
class Bench:
    """A folder for studies of a small task on engines of its own."""

    task: LoadedTask
    engines: dict[str, FakeEngine]
    runs: Path

    def study(self, trials: int = 20, name: str = "s", watch: Any = None, **limits: int) -> FrontierReport:
        folder = open_folder(self.task, self.runs, name, 0, Budget(trials=trials, **limits))
        return run_study(self.task, folder, watch=watch or (lambda progress: None))

    def ledger(self, name: str = "s") -> Ledger:
        return Ledger.open(self.runs / name / "ledger.db")

    def keys(self, name: str = "s") -> list[tuple[str, str, int]]:
        with self.ledger(name) as ledger:
            return sorted((r.candidate, r.example, r.number) for r in ledger.rollouts())

    def pool(self, number: int, name: str = "s") -> Pool | None:
        """What was found before a round; None where it never came to it."""
        with self.ledger(name) as ledger:
            kept = ledger.get(f"round {number}")
        return None if kept is None else Round.model_validate_json(kept).pools.get("predict", Pool())

    def found(self, number: int, name: str = "s") -> Pool:
        pool = self.pool(number, name)
        assert pool is not None
        return pool

    def tried(self, name: str = "s") -> list[Candidate]:
        """The candidates of the trials, in order."""
        with self.ledger(name) as ledger:
            known = ledger.candidates()
            return [known[trial.candidate] for trial in ledger.trials()]

    def proposer(self, reply: Callable[[str], str]) -> FakeProposer:
        made = FakeProposer(reply)
        self.engines[PROPOSER.name] = made
        self.task = replace(self.task, proposer=PROPOSER)
        return made


@pytest.fixture
def bench(task: LoadedTask, engines: dict[str, FakeEngine], tmp_path: Path, quick: None) -> Bench:
    engines |= {"local/small": Listening(0.5), "local/large": Listening(0.7)}
    return Bench(replace(task, dataset=sentiment_dataset(120)), engines, tmp_path)


def test_a_study_grows_twice_and_tries_what_it_found(bench: Bench) -> None:
    grown: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "propose" and progress.trials not in grown:
            grown.append(progress.trials)

    report = bench.study(60, watch=watch)
    assert grown == [0, 24, 42]
    tried = bench.tried()
    assert len(tried) == report.trials == 60
    for number, begins in ((2, 24), (3, 42)):
        find = f"hardest of round {number}"
        assert list(bench.found(number).demos) == [find]
        first = tried[begins : begins + 2]
        assert {candidate.model for candidate in first} == {"local/small", "local/large"}
        assert all(find in candidate.predictors["predict"].demos_name for candidate in first)
        assert not any(find in c.predictors["predict"].demos_name for c in tried[:begins])
    check_train_stays_out_of(report, bench)
    check_hardest_first(bench)


def check_train_stays_out_of(report: FrontierReport, bench: Bench) -> None:
    with bench.ledger() as ledger:
        rows, examples = ledger.rollouts(), ledger.examples()
        calls = ledger.calls()
    train = [row for row in rows if row.split == "train"]
    assert {row.example for row in train} <= {example_id(e) for e in bench.task.dataset.train}
    assert len(train) >= 2 * RUNS
    assert all(row.trace is not None and row.trace.steps for row in train if row.parsed)
    assert not {row.example for row in train} & examples.keys()
    assert report.rollouts == len(rows) - len(train)
    for point in report.points:
        dev = [r for r in rows if (r.candidate, r.split) == (point.candidate.id, "dev")]
        assert point.dev.n == len(dev)
    assert sum(call.phase == "propose" for call in calls) == len(train)


def check_hardest_first(bench: Bench) -> None:
    """Within each label, what was failed most comes first; what nobody failed comes last."""
    with bench.ledger() as ledger:
        rows = ledger.rollouts(split="train")
    shortfall: dict[str, list[float]] = {}
    # All teachers of a round run the same examples, one teacher after the other.
    turns = [list(turn) for _, turn in groupby(rows, key=lambda row: row.candidate)]
    length = len(turns[0])
    turns = [rows[start : start + length] for start in range(0, len(rows), length)]
    first = [turn for turn in turns if {r.example for r in turn} == {r.example for r in turns[0]}]
    for row in (row for turn in first for row in turn):
        shortfall.setdefault(row.example, []).append(1 - (row.score or 0.0))
    reviews = {example.review: example_id(example) for example in bench.task.dataset.train}
    for label in ("positive", "negative"):
        demos = [d for d in bench.found(2).demos["hardest of round 2"] if d["sentiment"] == label]
        failed = [fmean(shortfall.get(reviews[demo["review"]], [0.001])) for demo in demos]
        assert failed == sorted(failed, reverse=True)
        assert failed[0] > 0


def interrupting(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, at: int) -> None:
    """Have a function interrupt the study at its call of this number, before it does anything."""
    real, calls = getattr(place, name), iter(range(1, 10_000))

    def call(*args: Any, **known: Any) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return real(*args, **known)

    monkeypatch.setattr(place, name, call)


def test_a_study_cut_at_every_kind_of_moment_of_growth_goes_on_as_if_it_had_not_been(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.phase == "propose" and progress.trials:
            calls.append(sum(len(engine.requests) for engine in bench.engines.values()))

    whole = bench.study(16, "whole", watch)
    moments = [
        (FakeEngine, "odds", calls[0] + RUNS // 2),  # half of a teacher's runs on train are done
        (Ledger, "put", 1),  # all runs are done, but not kept
        (OptunaMirror, "open_round", 2),  # kept, but there is no Optuna round
        (BootstrapProposals, "_examples", 1),  # about to run on train for the second time
        (OptunaMirror, "open_round", 3),  # kept a second time, but there is no Optuna round
    ]
    for moment in moments:
        with monkeypatch.context() as patch:
            interrupting(patch, *moment)
            with pytest.raises(KeyboardInterrupt):
                bench.study(16)
    report = bench.study(16)
    assert bench.keys() == bench.keys("whole")
    assert [c.id for c in bench.tried()] == [c.id for c in bench.tried("whole")]
    assert {p.candidate.id: p.roles for p in report.points} == {p.candidate.id: p.roles for p in whole.points}
    assert [bench.found(n) for n in (2, 3)] == [bench.found(n, "whole") for n in (2, 3)]


def written(request: str) -> str:
    """Two instructions where some are asked for, and the hint where one is to be rewritten."""
    if "Rewrite the instruction" in request:
        return f"They miss the end.\n<instruction>{HINT}</instruction>"
    return "<instruction>Weigh the words of it.</instruction><instruction>Be quick about it.</instruction>"


def test_a_proposer_is_asked_once_and_what_it_writes_is_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer = bench.proposer(written)
    bench.study(18, "whole")
    once = len(proposer.requests)
    proposer.requests.clear()
    with monkeypatch.context() as patch:
        interrupting(patch, Ledger, "put", 5)  # asked, but the round is not written down
        with pytest.raises(KeyboardInterrupt):
            bench.study(18)
    asked = len(proposer.requests)
    assert asked > 2
    report = bench.study(18)
    assert bench.keys() == bench.keys("whole")
    # What was asked when it was cut is asked again only where the answer was not kept.
    assert once <= len(proposer.requests) <= once + 1
    with bench.ledger() as ledger:
        calls = [call for call in ledger.calls() if call.model == PROPOSER.name]
    assert len(calls) == len(proposer.requests)
    assert {(call.phase, call.candidate, call.state) for call in calls} == {
        ("propose", "proposer", "finished")
    }
    assert report.spend is not None
    assert report.spend.by_phase["propose"] >= len(calls)
    assert bench.found(1).instructions == {
        "written 1": "Weigh the words of it.",
        "written 2": "Be quick about it.",
    }
    assert set(bench.found(2).instructions.values()) == {HINT}
    assert all(name.startswith("rewritten in round 2") for name in bench.found(2).instructions)
    told = [candidate.predictors["predict"].instruction for candidate in bench.tried()]
    assert HINT in told
    assert HINT not in told[:12]
    assert {"Weigh the words of it.", "Be quick about it."} <= set(told[:12])


@pytest.mark.parametrize("kind", ["no better", "copied"])
def test_a_rewritten_instruction_is_taken_only_when_it_helps_and_copies_nothing(
    bench: Bench, kind: str
) -> None:
    copied = " ".join(f"{example.review}." for example in bench.task.dataset.train[:3])
    text = {"no better": "Say what the writer feels about it.", "copied": f"{HINT} {copied}"}[kind]
    proposer = bench.proposer(lambda request: f"<instruction>{text}</instruction>")
    bench.study(14)
    assert any("Rewrite the instruction" in (r.messages[0].text or "") for r in proposer.requests)
    assert bench.found(2).instructions == {}
    with bench.ledger() as ledger:
        children = [c for c in ledger.candidates().values() if "rewritten" in c.summary]
    assert bool(children) == (kind == "no better")


def test_a_proposer_that_does_not_answer_is_named(bench: Bench) -> None:
    def refuse(request: Request) -> None:
        raise AuthError("no such key")

    bench.proposer(written).fail = refuse
    with pytest.raises(EngineError, match=r"(?s)proposer does not answer.*local/proposer.*proposer="):
        bench.study()


def test_a_budget_that_ends_while_pools_grow_still_ends_in_a_tested_frontier(bench: Bench) -> None:
    def watch(progress: Progress) -> None:
        if progress.phase == "propose" and progress.trials:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.study(watch=watch, name="first")
    used = sum(len(engine.requests) for engine in bench.engines.values())
    # Half of it is kept for the test; of the rest the trials leave less than the first runs on train take.
    report = bench.study(calls=2 * (ceil(used / SEARCH_SHARE) + 1))
    assert report.trials == 8
    assert bench.pool(1) is not None
    assert bench.pool(2) is None
    assert all(point.test is not None and point.test.n >= 10 for point in report.with_role("frontier"))
