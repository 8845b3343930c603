"""Measuring candidates: run what the ledger does not hold yet, write it down, then count it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from optimizers.errors import EngineError
from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.perturbations.examples import is_relabelled
from optimizers.evaluation.rollouts import compiled_for, problems_of, raise_first, run_rollouts
from optimizers.prompting.compile import CompiledProgram
from optimizers.records.worker_group import Job, JobLimits
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model
    from optimizers.records.candidate import Candidate
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import Rollout, Split
    from optimizers.task.task import LoadedTask

ALL_FAILED = 5
"""A run of at least this many rollouts without one score stops the study: something is down."""


class JobRunner(Protocol):
    """Has rollouts run by all processes of a shared study."""

    def run(self, wanted: Sequence[Job], over_time: Callable[[], Exception | None]) -> None:
        """Post the rollouts and wait until they are written; ``over_time`` says when no more may begin."""


@dataclass
class Measurer:
    """Runs candidates of one task and keeps their rollouts in the study's ledger.

    Attributes:
        task: The task.
        ledger: Where rollouts are written before anything counts them.
        gate: Lets calls through; None to run without a budget.
        on_rollout: Called after each rollout is written, by one thread at a time.
        worker: Has rollouts run by all processes of a shared study; None to run them in this one.
        fresh: Rollouts run by this process.
    """

    task: LoadedTask
    ledger: Ledger
    gate: BudgetGate | None = None
    on_rollout: Callable[[Rollout], None] = lambda rollout: None
    worker: JobRunner | None = None
    fresh: int = 0
    _compiled: tuple[tuple[str, bool], CompiledProgram] | None = None
    _slots: dict[str, threading.Semaphore] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(
        self,
        candidate: Candidate,
        examples: Sequence[dspy.Example],
        split: Split,
        *,
        number: int = 0,
        stop: threading.Event | None = None,
    ) -> list[Rollout]:
        """One rollout of a candidate on each example, recorded ones read rather than run again.

        May be called by several threads at once: together they run no more rollouts of a model at
        a time than it takes.

        Args:
            candidate: What to run.
            examples: What to run it on; perturbed ones all alike in whether labels are turned round.
            split: Which part of the data they are.
            number: Rollout number: 0, or 1, 2, ... for repeats.
            stop: Once it is set, no further rollout begins.

        Returns:
            One rollout per example.

        Raises:
            EngineError: Not one of several rollouts got a score: the model or the program is broken.
            MetricError: The metric failed.
            BudgetSpent: The budget does not cover all of them; finished ones are recorded.
            CancelledError: ``stop`` was set before all had begun; finished ones are recorded.
        """
        self.ledger.add_candidate(candidate)
        wanted = {example_id(example): example for example in examples}
        recorded = self._recorded(candidate, wanted, split, number)
        missing = [example for identity, example in wanted.items() if identity not in recorded]
        if missing:
            run = self._run if self.worker is None else self._share
            for rollout in run(candidate, missing, split, number, stop):
                recorded[rollout.example] = rollout
            self._check(candidate, [recorded[example_id(example)] for example in missing])
        return [recorded[identity] for identity in wanted]

    def _recorded(
        self, candidate: Candidate, wanted: Collection[str], split: Split, number: int
    ) -> dict[str, Rollout]:
        """Example id -> the candidate's rollout of this number on it, of the wanted ones that there are."""
        return {
            rollout.example: rollout
            for rollout in self.ledger.rollouts(candidate=candidate.id, split=split)
            if rollout.number == number and rollout.example in wanted
        }

    def _run(
        self,
        candidate: Candidate,
        examples: Sequence[dspy.Example],
        split: Split,
        number: int,
        stop: threading.Event | None,
    ) -> list[Rollout]:
        model = next(model for model in self.task.models if model.name == candidate.model)
        return run_rollouts(
            self._compile(candidate, is_relabelled(examples[0])),
            examples,
            model=model,
            metric=self.task.metric,
            split=split,
            number=number,
            gate=self.gate,
            slots=self._slots_of(model),
            stop=stop,
            record=self._record,
        )

    def _share(
        self,
        candidate: Candidate,
        examples: Sequence[dspy.Example],
        split: Split,
        number: int,
        stop: threading.Event | None,
    ) -> list[Rollout]:
        """Have rollouts run by whichever process takes them."""
        gate = self.gate
        assert self.worker is not None
        assert gate is not None
        held = gate.held_back
        limits = JobLimits(
            phase=gate.phase,
            budget=gate.budget.model_copy(update={"seconds": None}),
            calls=held.calls,
            tokens=held.tokens,
            dollars=held.dollars,
        )
        wanted = [example_id(example) for example in examples]
        self.worker.run(
            [
                Job(
                    candidate=candidate.id,
                    example=identity,
                    number=number,
                    split=split,
                    model=candidate.model,
                    limits=limits,
                )
                for identity in wanted
            ],
            lambda: CancelledError() if stop is not None and stop.is_set() else gate.out_of_time(),
        )
        found = list(self._recorded(candidate, wanted, split, number).values())
        with self._lock:
            self.fresh += len(found)
            for rollout in found:
                self.on_rollout(rollout)
        return found

    def withdraw(self, candidate: Candidate, examples: Sequence[dspy.Example], *, number: int = 0) -> None:
        """Take back failures that say nothing of the candidate: they are run again."""
        self.ledger.withdraw(candidate.id, [example_id(example) for example in examples], number)

    def _record(self, rollout: Rollout) -> None:
        self.ledger.add([rollout])
        with self._lock:
            self.fresh += 1
            self.on_rollout(rollout)

    def _slots_of(self, model: Model) -> threading.Semaphore:
        with self._lock:
            return self._slots.setdefault(model.name, threading.Semaphore(model.concurrency))

    def _compile(self, candidate: Candidate, relabelled: bool) -> CompiledProgram:
        last, key = self._compiled, (candidate.id, relabelled)
        if last is not None and last[0] == key:
            return last[1]
        compiled = compiled_for(self.task, candidate, relabelled=relabelled)
        self._compiled = key, compiled
        return compiled

    def _check(self, candidate: Candidate, fresh: Sequence[Rollout]) -> None:
        kinds = {rollout.failure for rollout in fresh}
        if len(fresh) < ALL_FAILED or None in kinds or kinds == {"context_overflow"}:
            return
        self.ledger.withdraw(candidate.id, [rollout.example for rollout in fresh], fresh[0].number)
        raise EngineError(
            f"Not one of {len(fresh)} rollouts got a score; the last error: {fresh[-1].error}",
            where=f"{candidate.model}, {candidate.summary}",
            fix="mend the program or the server and run the same command again: finished rollouts are kept",
        )


def raise_together(
    measurer: Measurer,
    futures: Sequence[Future[Any]],
    turns: Sequence[tuple[Candidate, Sequence[dspy.Example]]],
    *,
    number: int = 0,
) -> None:
    """Raise what ended the measuring of several candidates at the same time, if anything did.

    Args:
        measurer: What measured them.
        futures: All of them, ended.
        turns: The candidates and the examples of each.
        number: Rollout number.
    """
    problems = problems_of(futures)
    if any(isinstance(problem, EngineError) for problem in problems):
        # The others met the same outage: what it did to them says nothing of them.
        for candidate, examples in turns:
            measurer.withdraw(candidate, examples, number=number)
    raise_first(problems)
