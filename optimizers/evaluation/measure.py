"""Measuring candidates: run what the ledger does not hold yet, write it down, then count it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizers.compiled import CompiledProgram, compile_candidate
from optimizers.errors import EngineError
from optimizers.evaluation.rollouts import run_rollouts
from optimizers.splits import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.candidate import Candidate
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import Rollout, Split
    from optimizers.task import LoadedTask

ALL_FAILED = 5
"""A run of at least this many rollouts without one score stops the study: something is down."""


@dataclass
class Spend:
    """What this process has used, counted as rollouts finish.

    Attributes:
        rollouts: Rollouts run.
        calls: Model calls.
        tokens: Tokens read and generated.
        dollars: Their serving cost.
    """

    rollouts: int = 0
    calls: int = 0
    tokens: int = 0
    dollars: float = 0.0

    def count(self, rollout: Rollout) -> None:
        """Add one finished rollout."""
        self.rollouts += 1
        self.calls += rollout.calls
        self.tokens += rollout.prompt_tokens + rollout.completion_tokens
        self.dollars += rollout.cost


@dataclass
class Measurer:
    """Runs candidates of one task and keeps their rollouts in the study's ledger.

    Attributes:
        task: The task.
        ledger: Where rollouts are written before anything counts them.
        on_rollout: Called after each rollout is written.
        spend: What this process has used.
    """

    task: LoadedTask
    ledger: Ledger
    on_rollout: Callable[[Rollout], None] = lambda rollout: None
    spend: Spend = field(default_factory=Spend)
    _compiled: tuple[str, CompiledProgram] | None = None

    def measure(self, candidate: Candidate, examples: Sequence[dspy.Example], split: Split) -> list[Rollout]:
        """Rollout 0 of a candidate on each example, recorded ones read rather than run again.

        Args:
            candidate: What to run.
            examples: What to run it on.
            split: Which part of the data they are.

        Returns:
            One rollout per example.

        Raises:
            EngineError: Not one of several rollouts got a score: the model or the program is broken.
            MetricError: The metric failed.
        """
        self.ledger.add_candidate(candidate)
        wanted = {example_id(example): example for example in examples}
        recorded = {
            rollout.example: rollout
            for rollout in self.ledger.rollouts(candidate=candidate.id, split=split)
            if rollout.number == 0 and rollout.example in wanted
        }
        missing = [example for identity, example in wanted.items() if identity not in recorded]
        if missing:
            for rollout in self._run(candidate, missing, split):
                recorded[rollout.example] = rollout
            self._check(candidate, [recorded[example_id(example)] for example in missing])
        return [recorded[identity] for identity in wanted]

    def _run(self, candidate: Candidate, examples: Sequence[dspy.Example], split: Split) -> list[Rollout]:
        model = next(model for model in self.task.models if model.name == candidate.model)
        finished = []
        for rollout in run_rollouts(
            self._compile(candidate), examples, model=model, metric=self.task.metric, split=split
        ):
            self.ledger.add([rollout])
            self.spend.count(rollout)
            self.on_rollout(rollout)
            finished.append(rollout)
        return finished

    def _compile(self, candidate: Candidate) -> CompiledProgram:
        if self._compiled is None or self._compiled[0] != candidate.id:
            self._compiled = (candidate.id, compile_candidate(self.task.program, candidate, self.task.models))
        return self._compiled[1]

    def _check(self, candidate: Candidate, fresh: Sequence[Rollout]) -> None:
        kinds = {rollout.failure for rollout in fresh}
        if len(fresh) < ALL_FAILED or None in kinds or kinds == {"context_overflow"}:
            return
        raise EngineError(
            f"Not one of {len(fresh)} rollouts got a score; the last error: {fresh[-1].error}",
            where=f"{candidate.model}, {candidate.summary}",
            fix="mend the program or the server and run the same command again: finished rollouts are kept",
        )
