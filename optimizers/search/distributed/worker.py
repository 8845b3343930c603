"""One process's part in a study that several share: it runs jobs, and waits for those it posted."""

from __future__ import annotations

import threading
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Self

from optimizers.errors import EngineError, LeadershipLost, ParityError, from_json, to_json
from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.perturbations.examples import is_relabelled, perturbed
from optimizers.evaluation.rollouts import compiled_for, problems_of, raise_first, run_rollout
from optimizers.evaluation.spend import SIGN_OF_LIFE, SharedSpend
from optimizers.prompting.compile import CompiledProgram
from optimizers.records.perturbed_rows import PERTURBED_DEV, PERTURBED_TEST, perturbed_of
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.records.ledger import Ledger
    from optimizers.records.worker_group import Job, JobLimits, WorkerGroup
    from optimizers.task.task import LoadedTask

LEAST_PAUSE, MOST_PAUSE = 0.005, 0.1
"""Seconds between two looks for jobs: few while there are some, more and more while there are none."""

COMPILED = 64
"""Compiled candidates kept, the last used ones."""


class Worker:
    """Runs a group's jobs on a thread of its own, as many at once as each model takes.

    Args:
        task: The study's task, the same as every other process's.
        ledger: The study's ledger.
        group: This process's membership; given up when the worker is closed.

    Attributes:
        spend: What all processes have used.
        rollouts: Rollouts that this process ran.
    """

    def __init__(self, task: LoadedTask, ledger: Ledger, group: WorkerGroup) -> None:
        self._task, self._ledger, self.group = task, ledger, group
        self.spend = SharedSpend(group, ledger)
        self.rollouts = 0
        dataset = task.dataset
        parts = (dataset.train, dataset.dev, dataset.test)
        self._examples = {example_id(example): example for part in parts for example in part}
        self._models = {model.name: model for model in task.models}
        self._running: Counter[str] = Counter()
        self._compiled: OrderedDict[tuple[str, bool], CompiledProgram] = OrderedDict()
        self._gates: dict[JobLimits, BudgetGate] = {}
        self._posted: dict[int, Future[None]] = {}
        self._leading = False
        self._problem: Exception | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._closed = threading.Event()
        # Signs of life have a thread to themselves: no job, however slow, may hold them up.
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._work, self._beat)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        work, beat = self._threads
        work.join()
        self._closed.set()
        beat.join()
        self.group.leave()

    def lead(self) -> bool:
        """Take the lead where nobody holds it; returns whether this process leads.

        Raises:
            ParityError: What ended the worker.
        """
        self.check()
        if not self._leading and self.group.lead():
            self.spend.begin()
            self._leading = True
        return self._leading

    def check(self) -> None:
        """Raise what ended the worker, if something did."""
        if self._problem is not None:
            raise self._problem

    def run(self, wanted: Sequence[Job], over_time: Callable[[], Exception | None]) -> None:
        """Have rollouts run by any process, and wait until they are written.

        Args:
            wanted: The rollouts.
            over_time: Says when no more are to begin, and why.

        Raises:
            ParityError: What kept one from being run; the others that were begun have ended.
        """
        self.check()
        numbers = self.group.post(wanted)
        with self._lock:
            futures = {number: self._posted.setdefault(number, Future()) for number in numbers}
        spent: Exception | None = None
        try:
            waiting = set(futures.values())
            while waiting and spent is None:
                # What ended the worker may have come before these were posted.
                self.check()
                done, waiting = wait(waiting, timeout=SIGN_OF_LIFE, return_when=FIRST_EXCEPTION)
                if any(future.exception() for future in done):
                    break
                spent = over_time() if waiting else None
        finally:
            self._withdraw(futures)
        raise_first(problems_of(futures.values()))
        if spent is not None:
            raise spent

    def _withdraw(self, futures: dict[int, Future[None]]) -> None:
        """Take back what nobody has begun, and wait for the rest."""
        while self._problem is None:
            left = [number for number, future in futures.items() if not future.done()]
            if not left:
                break
            for number in self.group.cancel(left):
                futures[number].cancel()
            wait([futures[number] for number in left], timeout=SIGN_OF_LIFE)
        with self._lock:
            for number in futures:
                self._posted.pop(number, None)

    def _work(self) -> None:
        pause = LEAST_PAUSE
        try:
            with ThreadPoolExecutor(sum(model.concurrency for model in self._task.models)) as pool:
                while not self._stopping.wait(pause) and self._problem is None:
                    busy = self._begin(pool) + self._collect()
                    pause = LEAST_PAUSE if busy else min(MOST_PAUSE, 2 * pause)
        except Exception as problem:
            self._fail(problem)
        with self._lock:
            for future in self._posted.values():
                if not future.done():
                    future.set_exception(self._problem or EngineError("The worker was stopped."))

    def _beat(self) -> None:
        try:
            while True:
                self.group.beat()
                if self._leading:
                    self.spend.touch()
                    if not self.group.leads():
                        raise LeadershipLost
                if self._closed.wait(SIGN_OF_LIFE):
                    break
        except Exception as problem:
            self._fail(problem)

    def _fail(self, problem: Exception) -> None:
        with self._lock:
            self._problem = self._problem or problem

    def _begin(self, pool: ThreadPoolExecutor) -> int:
        """Begin as many jobs as there is room for; returns how many."""
        with self._lock:
            room = {name: model.concurrency - self._running[name] for name, model in self._models.items()}
        taken = self.group.take(room)
        with self._lock:
            self._running.update(job.model for job in taken)
        for job in taken:
            pool.submit(copy_context().run, self._run, job)
        return len(taken)

    def _collect(self) -> int:
        """Tell those who wait which of their jobs have ended; returns how many have."""
        with self._lock:
            posted = [number for number, future in self._posted.items() if not future.done()]
        ended = self.group.ended(posted) if posted else {}
        for number, error in ended.items():
            future = self._posted.get(number)
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(from_json(error))
        return len(ended)

    def _run(self, job: Job) -> None:
        assert job.id is not None
        error = None
        try:
            example = self._example(job.example)
            rollout = run_rollout(
                self._compile(job.candidate, is_relabelled(example)),
                example,
                model=self._models[job.model],
                metric=self._task.metric,
                split=job.split,
                number=job.number,
                gate=self._gate_for(job.limits),
            )
            self._ledger.add([rollout])
            self.rollouts += 1
        except ParityError as problem:
            error = to_json(problem)
        except Exception:
            error = to_json(EngineError(f"A worker crashed: {traceback.format_exc()}"))
        try:
            self.group.end(job.id, error)
        except Exception as problem:
            self._fail(problem)
        finally:
            with self._lock:
                self._running[job.model] -= 1

    def _gate_for(self, limits: JobLimits) -> BudgetGate:
        with self._lock:
            if limits not in self._gates:
                gate = BudgetGate(self.spend, limits.budget, held_back=limits.held_back, phase=limits.phase)
                self._gates[limits] = gate
            return self._gates[limits]

    def _example(self, identity: str) -> dspy.Example:
        """The example of an id; perturbed ones are made of the task's as the leader wrote down."""
        with self._lock:
            if identity not in self._examples:
                for key in (PERTURBED_DEV, PERTURBED_TEST):
                    for row in perturbed_of(self._ledger, key):
                        self._examples[row.id] = perturbed(self._examples[row.source], row)
            return self._examples[identity]

    def _compile(self, candidate: str, relabelled: bool) -> CompiledProgram:
        with self._lock:
            key = candidate, relabelled
            if key not in self._compiled:
                known = self._ledger.candidate(candidate)
                self._compiled[key] = compiled_for(self._task, known, relabelled=relabelled)
            self._compiled.move_to_end(key)
            while len(self._compiled) > COMPILED:
                self._compiled.popitem(last=False)
            return self._compiled[key]
