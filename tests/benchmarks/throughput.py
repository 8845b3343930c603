"""Time outside the model: evaluation against a bare loop over the engine, and against `dspy.Evaluate`.

The first two run the same candidate on alternating chunks of examples that neither has seen, so that
no reply comes out of the prefix cache. `dspy.Evaluate` runs the same program on other examples with its
defaults: ChatAdapter and its number of threads. Prints a table for RESULTS.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import dspy
from dspy.lm15 import Request

from optimizers.evaluation.budget_gate import BudgetGate
from optimizers.evaluation.measure import Measurer
from optimizers.evaluation.spend import LocalSpend
from optimizers.models.llama import LlamaEngine, llama_engine
from optimizers.models.lm import language_model
from optimizers.models.model import Model
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.records.budget import Budget
from optimizers.records.candidate import Candidate
from optimizers.records.ledger import Ledger
from optimizers.search.space.initial_design import FixedChoices, starts
from optimizers.search.space.parts import MODEL
from optimizers.search.space.search_space import search_space
from optimizers.task.task import LoadedTask, load_task

PROGRAM = Path(__file__).parents[2] / "programs" / "classify.py"
CHUNK, CHUNKS = 40, 16


def requests_of(task: LoadedTask, candidate: Candidate, examples: list[object]) -> list[Request]:
    """The requests that a candidate's rollouts send, caught before the engine."""
    compiled = compile_candidate(task.program, candidate, task.models)
    (_, predictor), *_ = compiled.module.named_predictors()
    adapter = compiled.adapter()
    built = []
    for example in examples:
        inputs = example.inputs().toDict()  # type: ignore[attr-defined]
        request, _ = adapter._request(
            predictor.lm, {}, predictor.signature, predictor.demos, inputs, LlamaEngine.abilities
        )
        built.append(request)
    return built


@dataclass(frozen=True)
class Speed:
    """The measured speeds of a model.

    Attributes:
        evaluated: Rollouts per second of the evaluation.
        bare: Calls per second of the bare loop.
        dspys: Rollouts per second of `dspy.Evaluate`.
        cached: Share of the evaluation's prompt tokens that came out of the prefix cache.
    """

    evaluated: float
    bare: float
    dspys: float
    cached: float


def speed(task: LoadedTask, model: Model) -> Speed:
    """Measure one model."""
    space = search_space(task)
    (_, start, *_) = [choices for choices in starts(space, 0) if choices[MODEL] == model.name]
    candidate = space.choose(FixedChoices(start))
    engine = llama_engine(model)
    engine.warm_up()
    rows = [*task.dataset.train, *task.dataset.dev][: CHUNK * CHUNKS]
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    spent = {"evaluation": 0.0, "bare": 0.0}
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.db") as ledger:
        measurer = Measurer(task, ledger, BudgetGate(LocalSpend(ledger), Budget()))
        engine.complete(requests_of(task, candidate, rows[:1])[0])
        for number, chunk in enumerate(chunks):
            kind = ("evaluation", "bare")[number % 2]
            requests = requests_of(task, candidate, chunk)
            start_time = time.perf_counter()
            if kind == "bare":
                for request in requests:
                    engine.complete(request)
            else:
                measurer.measure(candidate, chunk, "dev")
            spent[kind] += time.perf_counter() - start_time
        read = sum(rollout.prompt_tokens for rollout in ledger.rollouts())
        cached = sum(rollout.cached_tokens for rollout in ledger.rollouts())
    each = len(rows) / 2
    return Speed(each / spent["evaluation"], each / spent["bare"], dspys(task, model), cached / read)


def dspys(task: LoadedTask, model: Model) -> float:
    """Rollouts per second of `dspy.Evaluate` with its defaults, except that errors do not end it."""
    examples = list(task.dataset.test[:CHUNK])
    lm = language_model(model, Sampling(max_tokens=60), measured=False)
    evaluate = dspy.Evaluate(
        devset=examples, metric=task.metric, display_progress=False, max_errors=len(examples) + 1
    )
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        start = time.perf_counter()
        evaluate(task.program)
        return len(examples) / (time.perf_counter() - start)


def help_seconds(repeats: int = 10) -> float:
    """Median seconds of ``optimize --help`` in a process of its own."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "optimizers.cli", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main() -> None:
    """Measure and print."""
    task = load_task(PROGRAM)
    # A cache would return answers of an earlier run.
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    print(
        "| model | evaluation, rollouts/s | bare engine loop, calls/s | share | prompt tokens from cache "
        "| dspy.Evaluate, rollouts/s | times as fast |"
    )
    print("|---|---|---|---|---|---|---|")
    for model in task.models:
        found = speed(task, model)
        cells = [
            model.label,
            f"{found.evaluated:.2f}",
            f"{found.bare:.2f}",
            f"{found.evaluated / found.bare:.2f}",
            f"{found.cached:.0%}",
            f"{found.dspys:.2f}",
            f"{found.evaluated / found.dspys:.1f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n`optimize --help`: {help_seconds():.2f} s (median of 10)")


if __name__ == "__main__":
    main()
