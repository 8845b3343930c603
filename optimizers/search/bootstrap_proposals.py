"""How pools grow between rounds: the best candidates run on train, and what they do there is learnt from.

Runs that were right give demos for predictors that no data set labels, and demos with
reasoning. Examples that were failed make a demo set of their own, and go to the proposer,
which rewrites the instruction that failed them. All of it is written down as it is done, so
that an interrupted study does none of it twice.
"""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from dspy.utils.exceptions import LMError

from optimizers.errors import EngineError
from optimizers.models.lm import language_model, metered
from optimizers.models.sampling import Sampling
from optimizers.prompting.proposals.bootstrap import bootstrapped, steps_by
from optimizers.prompting.proposals.demos import SIZES, demo_pools
from optimizers.prompting.proposals.notation import write_notation
from optimizers.prompting.proposals.pools import Method, Origin, Pool, joined
from optimizers.prompting.proposals.reflected import MOST_FAILURES, Failure, reflect
from optimizers.prompting.proposals.strategies import hardest_demos
from optimizers.prompting.proposals.written import write_instructions
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.records.candidate import Candidate
from optimizers.records.json_values import json_value
from optimizers.records.rows import Rollout
from optimizers.search.demo_leakage import shown
from optimizers.search.interleaved import run_interleaved
from optimizers.task.data.split import example_id
from optimizers.task.signature_fields import fields_of

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.search.model.inducing_subset import CandidateStats
    from optimizers.search.model.observations import ObservationStore
    from optimizers.task.task import LoadedTask

RUNS = 24
"""Train examples that each teacher runs per round."""

WRITTEN = 4
"""Instructions asked of the proposer for each predictor before the first round."""

REASONING_WITHIN = 0.1
"""A candidate that reasons teaches reasoning when its quality is at most so far below the best."""

RIGHT = 1.0
"""Score of a run that passes."""

Runs = Mapping[str, Sequence[Rollout]]
"""Candidate id -> its rollouts on train."""

PROPOSER_SAMPLING = Sampling(temperature=1.0, max_tokens=4000)
"""Proposals are to differ; as in MIPROv2."""


@dataclass(frozen=True)
class BootstrapProposals:
    """Where proposals for one study come from.

    Attributes:
        task: The task.
        measurer: Runs candidates on train; its ledger keeps what is done.
        seed: Seed of the study.
        workers: Processes that rollouts are shared among.
    """

    task: LoadedTask
    measurer: Measurer
    seed: int
    workers: int = 1

    @property
    def labelled(self) -> bool:
        """Whether the data labels every predictor."""
        return all(self.is_labelled(name) for name, _ in self.task.program.named_predictors())

    def propose_instructions(self) -> dict[str, Pool]:
        """What the proposer writes before anything is measured; nothing without a proposer."""
        if self.task.proposer is None:
            return {}
        pools = {}
        for name, predictor in self.task.program.named_predictors():
            texts = self._asked(f"written {name}", partial(self._first, predictor.signature))
            found = {f"written {number}": text for number, text in enumerate(texts[:-1], 1)}
            if texts and texts[-1]:
                found["notation"] = texts[-1]
            pools[name] = Pool(instructions=found, origins=dict.fromkeys(found, Origin(method="written")))
        return pools

    def propose_from_runs(self, observations: ObservationStore, number: int) -> dict[str, Pool]:
        """What a round's runs on train give.

        Args:
            observations: What is known of every candidate.
            number: The round that is to begin, from 2.

        Returns:
            Predictor name -> what was found for it; nothing while no candidate has a score.

        Raises:
            BudgetSpent: The budget does not cover the runs; finished ones are recorded.
        """
        known = [one for one in teachers(observations, self._may_copy) if one.scored]
        if not known:
            return {}
        examples = self._examples(number, [stats.candidate for stats in known])
        turns = [(one.candidate, examples) for one in known]
        found = run_interleaved([turns], self.measurer, "train", workers=self.workers)
        runs = {
            one.candidate.id: [rollout for rollout in found if rollout.candidate == one.candidate.id]
            for one in known
        }
        names = [name for name, _ in self.task.program.named_predictors()]
        rewritten = {name: self._rewritten(name, known, runs, number) for name in names}
        return joined(rewritten, {name: self._demos(name, known, runs, number) for name in names})

    def _demos(self, name: str, known: Sequence[CandidateStats], runs: Runs, number: int) -> Pool:
        """The examples that were failed, where data labels a predictor, and what right runs show."""
        pool = Pool()
        signature, train = self._signature(name), self.task.dataset.train
        failed = _failed(row for rows in runs.values() for row in rows)
        if any(failed.values()):
            by_id = {example_id(example): example for example in train}
            tried = [(by_id[identity], often) for identity, often in failed.items()]
            pools = demo_pools(train, signature)
            hard = hardest_demos(pools, signature, per_label=SIZES[-1], seed=self.seed, failed=tried)
            if hard:
                label = f"hardest of round {number}"
                pool.demos[label], pool.origins[label] = hard, Origin(method="hardest")
        for stats in known:
            teacher = stats.candidate
            reasons = TECHNIQUES[teacher.serving(name).technique].reasons
            if reasons or (stats is known[0] and not self.is_labelled(name)):
                found = bootstrapped(runs[teacher.id], name, threshold=RIGHT, seed=self.seed)
                if found:
                    label = f"{'reasoned' if reasons else 'written'} in round {number} by {teacher.id}"
                    method: Method = "reasoned" if reasons else "bootstrapped"
                    pool.demos[label] = found
                    pool.origins[label] = Origin(method=method, candidate=teacher.id)
        return pool

    def _may_copy(self, candidate: Candidate) -> bool:
        """Whether a train example may be shown its own answer, as the demo nearest to its input.

        Of an input that other predictors write nobody knows whose it is.
        """
        given = fields_of(self.task.program, self.task.dataset.train)[0]
        return any(
            name in candidate.predictors
            and candidate.predictors[name].nearest is not None
            and not set(predictor.signature.input_fields) <= set(given)
            for name, predictor in self.task.program.named_predictors()
        )

    def is_labelled(self, name: str) -> bool:
        """Whether the data has every field of a predictor, so that its demos need no run."""
        fields = self._signature(name).fields
        return all(field in example for example in self.task.dataset.train[:1] for field in fields)

    def _examples(self, number: int, candidates: Sequence[Candidate]) -> Sequence[dspy.Example]:
        """The round's train examples, none that a candidate is shown: its answer would be a copy.

        Each round's are others, as long as there are.
        """
        signatures = {name: one.signature for name, one in self.task.program.named_predictors()}
        train = self.task.dataset.train
        told = shown(signatures, train, candidates)
        ordered = sorted((e for e, is_shown in zip(train, told, strict=True) if not is_shown), key=example_id)
        random.Random(self.seed).shuffle(ordered)
        start = (number - 2) * RUNS % max(1, len(ordered))
        return (ordered + ordered)[start : start + min(RUNS, len(ordered))]

    def _first(self, signature: type[dspy.Signature], lm: dspy.LM) -> list[str]:
        """Instructions in prose, and one in the notation last."""
        train = self.task.dataset.train
        source = _source(self.task.program)
        texts = write_instructions(lm, signature, train, count=WRITTEN, seed=self.seed, source=source)
        return [*texts, write_notation(lm, signature, train, seed=self.seed) or ""]

    def _reflected(
        self, name: str, instruction: str, failures: Sequence[Failure], seed: int, lm: dspy.LM
    ) -> list[str]:
        train = self.task.dataset.train
        text = reflect(lm, self._signature(name), instruction, failures, train, seed=seed)
        return [text] if text else []

    def _rewritten(self, name: str, known: Sequence[CandidateStats], runs: Runs, number: int) -> Pool:
        """Instructions rewritten from failures, kept where they do better on the same train examples."""
        pool = Pool()
        for stats in known if self.task.proposer else ():
            parent, rows = stats.candidate, runs[stats.candidate.id]
            failures = self._failures(name, rows)
            if not failures:
                continue
            prompt = parent.predictors[name]
            texts = self._asked(
                f"round {number} {name} {parent.id}",
                partial(self._reflected, name, prompt.instruction, failures, number),
            )
            for text in texts:
                label = f"rewritten in round {number} for {parent.id}"
                told = prompt.model_copy(update={"instruction": text, "instruction_name": label})
                child = parent.model_copy(update={"predictors": {**parent.predictors, name: told}})
                if self._improves(Candidate.model_validate(child.model_dump()), rows):
                    pool.instructions[label] = text
                    pool.origins[label] = Origin(method="rewritten", candidate=parent.id)
        return pool

    def _improves(self, child: Candidate, rows: Sequence[Rollout]) -> bool:
        """Whether a candidate scores better than its parent on the parent's train examples."""
        by_id = {example_id(example): example for example in self.task.dataset.train}
        again = self.measurer.measure(child, [by_id[row.example] for row in rows], "train")
        pairs = [
            (new.score, old.score)
            for new, old in zip(again, rows, strict=True)
            if new.score is not None and old.score is not None
        ]
        return bool(pairs) and fmean(new for new, _ in pairs) > fmean(old for _, old in pairs)

    def _failures(self, name: str, rows: Sequence[Rollout]) -> list[Failure]:
        """What went wrong at one predictor, by what it read and wrote itself."""
        by_id = {example_id(example): example for example in self.task.dataset.train}
        found = []
        for row in rows:
            if row.score is None or row.score >= RIGHT:
                continue
            example, steps = by_id[row.example], steps_by(row, name)
            outputs = self._signature(name).output_fields
            gold = {field: json_value(example[field]) for field in outputs if field in example}
            feedback = row.trace.feedback if row.trace else ""
            # A reply that could not be read ended the run: only the call it answered went wrong.
            if steps and (row.parsed or not steps[-1].outputs):
                found.append(Failure(steps[-1].inputs, steps[-1].outputs or row.error or "", gold, feedback))
        return found[:MOST_FAILURES]

    def _signature(self, name: str) -> type[dspy.Signature]:
        signature: type[dspy.Signature] = dict(self.task.program.named_predictors())[name].signature
        return signature

    def _asked(self, key: str, ask: Callable[[dspy.LM], list[str]]) -> list[str]:
        """What the proposer answers, asked once in the life of a study.

        Raises:
            EngineError: It cannot be reached.
        """
        ledger, gate, proposer = self.measurer.ledger, self.measurer.gate, self.task.proposer
        assert proposer is not None
        if (kept := ledger.get(key)) is not None:
            known: list[str] = json.loads(kept)
            return known
        lm = language_model(proposer, PROPOSER_SAMPLING)
        with metered(gate, "proposer") as meter:
            try:
                texts = ask(lm)
            except LMError as error:
                raise EngineError(
                    f"The proposer does not answer: {error}",
                    where=proposer.name,
                    fix="mend it and run the same command again, or leave proposer= out",
                ) from error
        if meter.stopped:
            raise meter.stopped
        ledger.put(key, json.dumps(texts))
        return texts


def teachers(
    observations: ObservationStore, barred: Callable[[Candidate], bool] = lambda candidate: False
) -> list[CandidateStats]:
    """The candidates that run on train, the best first.

    They are the best of all, the cheapest model's best, and the best that reasons.

    Args:
        observations: What is known of every candidate.
        barred: Whether a candidate is not to run on train.
    """
    models = dict.fromkeys(stats.candidate.model for stats in observations.measured())
    bests = [observations.best_of(model) for model in models]
    leaders = [best for best in bests if best is not None and not barred(best.candidate)]
    free = [stats for stats in observations.measured() if not barred(stats.candidate)]
    everyone = sorted(free, key=observations.quality, reverse=True)
    if not leaders:
        return everyone[:1]
    cheapest = min(leaders, key=lambda stats: (stats.cost, -observations.quality(stats)))
    enough = observations.quality(everyone[0]) - REASONING_WITHIN
    reasoning = [s for s in everyone if _reasons(s.candidate) and observations.quality(s) >= enough][:1]
    found = {s.candidate.id: s for s in (everyone[0], cheapest, *reasoning)}
    return list(found.values())


def _source(program: dspy.Module) -> str | None:
    """The source of the program's class, where it has one of its own."""
    if type(program).__module__.partition(".")[0] == "dspy":
        return None
    try:
        return inspect.getsource(type(program))
    except (OSError, TypeError):
        return None


def _reasons(candidate: Candidate) -> bool:
    return any(TECHNIQUES[serving.technique].reasons for serving in candidate.servings)


def _failed(rows: Iterator[Rollout]) -> dict[str, float]:
    """Example id -> mean of what the runs on it fell short by."""
    short: dict[str, list[float]] = {}
    for row in rows:
        if row.score is not None:
            short.setdefault(row.example, []).append(1 - row.score)
    return {example: fmean(each) for example, each in short.items()}
