"""Small finished studies, made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakes import LARGE, SMALL, candidate, manifest

from optimizers.records.candidate import Candidate
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.parameters import Parameter, choices_to_json
from optimizers.records.report import Role
from optimizers.records.rows import (
    Block,
    Call,
    ExampleRow,
    Phase,
    Rollout,
    Split,
    SplitSizes,
    TrialRow,
    round_key,
)
from optimizers.results.summary import report_of

LABELS = ("bad", "good")
DEV, TEST = 40, 60


def right_answer(index: int) -> str:
    return LABELS[index % 2]


@dataclass
class Made:
    """A study in the making: its examples, and what each candidate answers.

    Attributes:
        folder: Where it is.
        ledger: Its ledger.
        texts: The text of each example by its number, where it is not ``review of SPLIT NUMBER``.
        tests: Numbers of its test examples.
    """

    folder: StudyFolder
    ledger: Ledger
    texts: Mapping[int, str] = field(default_factory=dict)
    tests: Sequence[int] = tuple(range(TEST))

    def numbers(self, split: Split) -> Sequence[int]:
        return range(DEV) if split == "dev" else self.tests

    def write_examples(self) -> None:
        rows = [
            ExampleRow(
                id=f"{split}{number}",
                split=split,
                inputs={"review": self.texts.get(number, f"review of {split} {number}")},
                gold={"sentiment": right_answer(number)},
            )
            for split in ("dev", "test")
            for number in self.numbers(split)
        ]
        self.ledger.add_examples(rows)

    def measure(
        self,
        of: Candidate,
        wrong: Mapping[int, Any],
        *,
        cost: float,
        splits: Sequence[Split] = ("dev", "test"),
    ) -> None:
        """Run a candidate: right everywhere but at these examples, where it says this; None is a failure
        of the infrastructure, a bare exception a reply that could not be read."""
        self.ledger.add_candidate(of)
        rows = []
        for split in splits:
            for number in self.numbers(split):
                said = wrong.get(number, right_answer(number))
                unread = isinstance(said, Exception)
                rows.append(
                    Rollout(
                        candidate=of.id,
                        example=f"{split}{number}",
                        split=split,
                        score=None if said is None else float(said == right_answer(number)),
                        failure="timeout" if said is None else None,
                        parsed=not unread,
                        error=f"unparsed reply: {said}" if unread else None,
                        output={} if said is None or unread else {"sentiment": said},
                        calls=1,
                        prompt_tokens=10,
                        completion_tokens=1,
                        cost=cost,
                        latency=0.1,
                        created=datetime(2026, 1, 2, tzinfo=UTC),
                    )
                )
        self.ledger.add(rows)

    def tried(self, *candidates: Candidate, round: int = 1, start: int = 0) -> None:
        """Write a finished trial of each."""
        now = datetime(2026, 1, 2)
        none = Block(scores=(), tried=0, cost=0.0, latency=0.0, calls=0, tokens=0)
        self.ledger.add_trials(
            [
                TrialRow(
                    number=number,
                    round=round,
                    candidate=of.id,
                    choices={Parameter(None, None, "of"): of.id},
                    values=(0.5, 0.1),
                    ran=((of.id, none),),
                    began=now,
                    ended=now,
                )
                for number, of in enumerate(candidates, start)
            ]
        )

    def begun_with(self, *candidates: Candidate) -> None:
        starts = [choices_to_json({Parameter(None, None, "of"): of.id}) for of in candidates]
        self.ledger.put(round_key(1), json.dumps({"pools": {}, "starts": starts}))

    def spent(self, phase: Phase, count: int) -> None:
        for second in range(count):
            call = Call(
                phase=phase, model=SMALL.name, prompt_tokens=10, completion_tokens=1, cost=0.5, started=second
            )
            self.ledger.end_call(self.ledger.start_call(call), second + 0.5, state="finished")

    def finish(self, roles: Mapping[str, tuple[Role, ...]]) -> StudyFolder:
        trials = len(self.ledger.trials())
        rollouts = self.ledger.rollouts()
        self.folder.write_report(report_of(self.folder, self.ledger, rollouts, roles, trials=trials))
        self.ledger.close()
        return self.folder


def begin(runs: Path, name: str = "study", **changes: Any) -> Made:
    """A study with nothing in it but its manifest."""
    sizes = SplitSizes(train=10, dev=DEV, test=TEST)
    known = {"sizes": sizes, "metric_hash": "m", **changes}
    folder = StudyFolder.create(runs, manifest(name=name, **known))
    return Made(folder, Ledger.open(folder.ledger))


SMALL_PLAIN, SMALL_START, SMALL_BEST = (candidate(SMALL.name, name) for name in ("own", "begun", "found"))
LARGE_BEST = candidate(LARGE.name, "own")

ROLES: dict[str, tuple[Role, ...]] = {
    SMALL_PLAIN.id: ("default",),
    SMALL_BEST.id: ("frontier", "best"),
    LARGE_BEST.id: ("frontier", "best", "reference", "default"),
}


def usual(
    runs: Path,
    name: str = "study",
    *,
    hostile: str | None = None,
    small: Mapping[int, Any] | None = None,
    **changes: Any,
) -> StudyFolder:
    """Two models; the small one's best is right on most, its start on fewer, its plain default on half.

    Args:
        runs: Folder of studies.
        name: Its name.
        hostile: Text to put wherever a user or a model decides what stands there.
        small: What the small model's best says wrong; some answers if left out.
        changes: What its manifest says otherwise.
    """
    odd = "other" if hostile is None else hostile
    made = begin(runs, name, **changes)
    if hostile is not None:
        made.texts = {number: hostile for number in range(8)}
    made.write_examples()
    found = {0: odd, 1: "bad", 2: ValueError(odd), 3: None} if small is None else small
    made.measure(LARGE_BEST, {0: "good", 4: "good"}, cost=1e-5)
    made.measure(SMALL_BEST, found, cost=1e-6)
    made.measure(SMALL_START, dict.fromkeys(range(0, 16, 2), "good"), cost=1e-6, splits=["dev"])
    made.measure(SMALL_PLAIN, dict.fromkeys(range(0, DEV, 2), "good"), cost=1e-6)
    made.begun_with(SMALL_START, SMALL_PLAIN, LARGE_BEST)
    made.tried(SMALL_START, SMALL_PLAIN, LARGE_BEST)
    made.tried(SMALL_BEST, round=2, start=3)
    made.spent("search", 3)
    made.spent("test", 2)
    return made.finish(ROLES)
