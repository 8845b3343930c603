"""Parity against DSPy's own optimizers on real models, at about equal calls to the model.

    python tests/benchmarks/peers.py
    python tests/benchmarks/peers.py --task classify --model smollm2-135m-instruct --optimizer parity --seed 0

Every optimizer has the same train and dev examples and the same model, which also writes the
instructions. The program it returns is scored on test examples that it never saw. Peers run under
DSPy's ChatAdapter, as their users run them, and under Parity's plainest rendering, so that the
search is judged apart from the rendering. Peers' settings give schedules of about the calls that Parity
may use. ChatAdapter asks a second time, as JSON, where it cannot parse a reply, so its schedules have
half the rollouts. All calls are counted, repeated ones too: DSPy's cache is off. Outcomes are kept in the
folder peers next to this file and are not run again. RESULTS.md gets tables and pictures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import dspy
from dspy.utils.exceptions import AdapterParseError

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablations import write_between
from benchmarks.peers_report import FRONTIER, OURS, OWN, PLAIN, TITLES, Outcome, outcomes_of, report

from optimizers.cli.live import watching
from optimizers.errors import ParityError
from optimizers.models.llama import LlamaEngine, llama_engine
from optimizers.models.lm import language_model
from optimizers.models.resolve import model as resolve_model
from optimizers.models.sampling import Sampling
from optimizers.prompting.compile import compile_candidate
from optimizers.prompting.renderings import rendering
from optimizers.records.budget import Budget
from optimizers.search.blocks import blocks
from optimizers.search.manifest import open_folder
from optimizers.search.study import run_study
from optimizers.task.signature_fields import fields_of
from optimizers.task.task import LoadedTask, load_task

if TYPE_CHECKING:
    from dspy.lm15 import Request, Response

    from optimizers.models.model import Model
    from optimizers.records.rows import Objective

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "RESULTS.md"
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
KEPT = Path(__file__).parent / "peers"
STUDIES = ROOT / "runs" / "peers"
"""Where Parity's own studies are kept."""

TASKS = ("classify", "categorize")
MODELS = ("smollm2-135m-instruct", "gemma-3-270m")
SEEDS = {"chat": 1, "ours": 3}

CALLS, DEV, TRAIN = 1000, 100, 200
"""Calls of a search; examples of each part."""

SEALED = 20
"""Test examples of Parity's own study, part of its calls: a study cannot end without a test."""

WRITTEN = 300
"""Most tokens of a text that a peer has written: instructions, rules, reflections."""


@dataclass(frozen=True)
class Setting:
    """Peers' settings under one way of rendering.

    Attributes:
        longest: Most tokens of a reply. ChatAdapter's form of an answer takes under 20 of them here, but
            before small models see demos they write more around it.
        threads: Rollouts at once.
        tests: Test examples.
        programs: Random sets of demos of BootstrapFewShotWithRandomSearch, in addition to its three starts.
        trials: Minibatches of MIPROv2.
        steps: Steps of SIMBA.
        rollouts: Metric calls of GEPA.
    """

    longest: int
    threads: int
    tests: int
    programs: int
    trials: int
    steps: int
    rollouts: int


SETTINGS = {
    "ours": Setting(60, threads=1, tests=200, programs=6, trials=13, steps=5, rollouts=CALLS),
    "chat": Setting(150, threads=4, tests=100, programs=3, trials=6, steps=2, rollouts=CALLS // 2),
}
"""Way of rendering -> its setting. Under ChatAdapter a rollout takes seconds, so tests are fewer."""

ERRORS = 100_000
"""Unparsed replies that end an evaluation. DSPy's ten would end each search under ChatAdapter at once."""


@dataclass(frozen=True)
class Job:
    """The input of an optimizer.

    Attributes:
        task: The task with its one model.
        model: The model.
        train: Examples for demos.
        dev: Examples to select on.
        setting: Settings under the way of rendering.
        writer: The model as it writes instructions, in the same way of rendering.
        seed: Seed of the optimizer.
    """

    task: LoadedTask
    model: Model
    train: list[dspy.Example]
    dev: list[dspy.Example]
    setting: Setting
    writer: dspy.LM
    seed: int

    def metric(self, example: dspy.Example, prediction: Any, trace: Any = None) -> float:
        """The task's metric; an unparsed reply is wrong."""
        return float(self.task.metric(example, prediction))


def plain(job: Job) -> dspy.Module:
    """The program as it is."""
    return job.task.program.deepcopy()


def random_search(job: Job) -> dspy.Module:
    """BootstrapFewShotWithRandomSearch: random sets and its 3 starts on 100 examples, and bootstrapping."""
    setting = job.setting
    found = dspy.BootstrapFewShotWithRandomSearch(
        job.metric, num_candidate_programs=setting.programs, num_threads=setting.threads
    )
    train = list(job.train)
    # It has no seed of its own: its draws differ when its examples come in another order.
    shift = job.seed * len(train) // 5
    return found.compile(plain(job), trainset=train[shift:] + train[:shift], valset=job.dev)


def mipro(job: Job) -> dspy.Module:
    """MIPROv2: 6 demo sets and instructions, minibatches of 35, every fifth followed by all 100."""
    found = dspy.MIPROv2(
        job.metric,
        prompt_model=job.writer,
        auto=None,
        num_candidates=6,
        num_threads=job.setting.threads,
        seed=job.seed + 1,
    )
    return found.compile(plain(job), trainset=job.train, valset=job.dev, num_trials=job.setting.trials)


def simba(job: Job) -> dspy.Module:
    """SIMBA: steps of 4 candidates on 16 examples, and the last choice.

    It has one set of examples for demos and choices, and measures its last programs on all of it: dev.
    """
    found = dspy.SIMBA(
        metric=job.metric,
        bsize=16,
        num_candidates=4,
        max_steps=job.setting.steps,
        prompt_model=job.writer,
        num_threads=job.setting.threads,
    )
    return found.compile(plain(job), trainset=job.dev, seed=job.seed)


def gepa(job: Job) -> dspy.Module:
    """GEPA with as many metric calls, the model reflecting on itself."""

    def metric(gold: Any, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        score = job.metric(gold, pred)
        outputs = fields_of(job.task.program)[1]
        right = ", ".join(f"{output}: {gold[output]}" for output in outputs)
        return dspy.Prediction(score=score, feedback="Right." if score == 1 else f"Wrong; right is {right}.")

    found = dspy.GEPA(
        metric,
        max_metric_calls=job.setting.rollouts,
        reflection_lm=job.writer,
        num_threads=job.setting.threads,
        seed=job.seed,
    )
    return found.compile(plain(job), trainset=job.train, valset=job.dev)


def parity(job: Job) -> dspy.Module:
    """A study with quality as its only objective, as the peers have it."""
    return studied(job, ("quality",))


def frontier(job: Job) -> dspy.Module:
    """A study of quality and cost, the default objectives."""
    return studied(job, ("quality", "cost"))


def studied(job: Job, objectives: tuple[Objective, ...]) -> dspy.Module:
    """The best on dev of a study of as many calls, its short sealed test included."""
    dataset = replace(
        job.task.dataset, train=tuple(job.train), dev=tuple(job.dev), test=job.task.dataset.test[:SEALED]
    )
    task = replace(job.task, dataset=dataset)
    study = f"{task.name}--{job.model.label}--{'-'.join(objectives)}--{job.seed}"
    with watching(study) as watch:
        folder = open_folder(task, STUDIES, study, job.seed, Budget(calls=CALLS), objectives)
        report = run_study(task, folder, watch=watch)
    best = max(report.with_role("best"), key=lambda point: point.dev.mean)
    return compile_candidate(task.program, best.candidate, task.models)


OPTIMIZERS: Mapping[str, Callable[[Job], Any]] = {
    OURS: parity,
    FRONTIER: frontier,
    PLAIN: plain,
    "BootstrapFewShotWithRandomSearch": random_search,
    "MIPROv2": mipro,
    "SIMBA": simba,
    "GEPA": gepa,
}


@contextmanager
def counted() -> Iterator[list[LlamaEngine]]:
    """Count the engine's calls, from any thread."""
    calls: list[LlamaEngine] = []
    complete = LlamaEngine.complete

    def count(engine: LlamaEngine, request: Request) -> Response:
        calls.append(engine)
        return complete(engine, request)

    with patch.object(LlamaEngine, "complete", count):
        yield calls


def one_run(program: str, short: str, how: str, optimizer: str, seed: int) -> Outcome:
    """Run one optimizer, and score the program it returns."""
    model, setting = resolve_model(f"local/{short}"), SETTINGS[how]
    task = load_task(ROOT / "programs" / f"{program}.py", models=(model,))
    outputs = list(fields_of(task.program, task.dataset.dev)[2])

    def first(part: Sequence[dspy.Example], count: int) -> list[dspy.Example]:
        return [example for block in blocks(part, outputs, 0) for example in block][:count]

    data = task.dataset
    task = replace(task, dataset=replace(data, test=tuple(first(data.test, setting.tests))))
    # A temperature of 1, as DSPy's documentation has it for a model that writes.
    writer = language_model(model, Sampling(temperature=1.0, max_tokens=WRITTEN))
    job = Job(task, model, first(data.train, TRAIN), first(data.dev, DEV), setting, writer, seed)
    llama_engine(model).warm_up()
    adapter = dspy.ChatAdapter() if how == "chat" else rendering("completion")
    lm = language_model(model, Sampling(max_tokens=setting.longest))
    with dspy.context(lm=lm, adapter=adapter, num_threads=1, max_errors=ERRORS), counted() as calls:
        start, ended = time.monotonic(), ""
        try:
            found = OPTIMIZERS[optimizer](job)
        except Exception as error:
            # MIPROv2 ends so when a small model cannot write an instruction in the required format.
            if not isinstance(error, AdapterParseError):
                raise
            found, ended = plain(job), f"{type(error).__name__}: {str(error).splitlines()[0]}"
        spent, seconds = len(calls), time.monotonic() - start
        scores = tested(found, task, setting.threads)
    return Outcome(program, short, how, optimizer, seed, scores, spent, seconds, ended)


def tested(program: Any, task: LoadedTask, threads: int) -> tuple[float, ...]:
    """Scores of the test examples, in their order."""
    with ThreadPoolExecutor(threads) as pool:
        # Threads do not inherit dspy.context, and only one thread at a time can enter a copy of it.
        running = [
            pool.submit(copy_context().run, score, program, example, task) for example in task.dataset.test
        ]
        return tuple(one.result() for one in running)


def score(program: Any, example: dspy.Example, task: LoadedTask) -> float:
    """One test score; an unparsed reply is wrong."""
    inputs = example.inputs().toDict()
    try:
        prediction = program(**inputs) if isinstance(program, dspy.Module) else program(inputs, seed=0)
    except ParityError:
        raise
    except Exception as error:
        if "parse" not in type(error).__name__.lower():
            raise
        return 0.0
    return float(task.metric(example, prediction))


def main() -> None:
    """Run what is missing, and write all results into RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--rendering", action="append", choices=TITLES)
    parser.add_argument("--optimizer", action="append", choices=OPTIMIZERS)
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--folder", type=Path, default=KEPT, help="where outcomes are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that gets the tables")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for how in options.rendering or reversed(TITLES):
        wanted = product(
            options.seed or range(SEEDS[how]),
            options.task or TASKS,
            options.model or MODELS,
            options.optimizer or OPTIMIZERS,
        )
        for seed, task, model, optimizer in wanted:
            # Parity searches renderings itself: it runs once for both tables.
            if optimizer in OWN and how == "chat":
                continue
            path = options.folder / f"{task}--{model}--{how}--{optimizer}--{seed}.json"
            if not path.exists():
                outcome = one_run(task, model, how, optimizer, seed)
                outcome.write(path)
                summary = f"{fmean(outcome.scores):.3f}, {outcome.calls} calls, {outcome.seconds:.0f} s"
                print(f"{path.stem}: {summary}", flush=True)
    known = outcomes_of(options.folder)
    write_between(options.results, BEGIN, END, report(known, list(OPTIMIZERS), options.results.parent))


if __name__ == "__main__":
    main()
