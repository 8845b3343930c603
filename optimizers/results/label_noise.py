"""Examples whose declared answer may be wrong: competent candidates agree on another one."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizers.records.rows import Rollout

FEWEST_ROLLOUTS, FEWEST_CANDIDATES = 20, 5
"""Scored rollouts before a candidate is judged, and competent candidates before an example is."""

AGREEMENT = Fraction(4, 5)
"""Share of the candidates, each model weighed equally, that must give the same wrong answer."""

COMPETENCE = 0.5
"""How far above chance a candidate scores on average, 0 being chance and 1 perfect.

With two balanced answers that is 75% right. If one label in twenty is wrong and candidates err
independently, five of them agreeing against a label are about 13 to 1 for its being wrong:
``(0.05 * 0.75**5) / (0.95 * 0.25**5)``. At 65% right it would be about 1 to 1.
"""

FEWEST_OF_ANSWER = 5
"""Examples with one declared answer before a candidate is judged on them by themselves."""

RIGHT = 0.5
"""A lower score is a wrong answer; a lower mean on one declared answer is no competence at it."""


@dataclass(frozen=True)
class LabelSuspect:
    """An example to look at again.

    Attributes:
        example: Its content hash.
        gold: Its declared outputs.
        said: The outputs that candidates agree on instead.
        share: Share of the competent candidates that said so, each model weighed equally, 0.8 to 1.
        candidates: Competent candidates that answered the example.
        models: Their models. A single name is weak evidence: one model's candidates err together.
    """

    example: str
    gold: Mapping[str, Any]
    said: Mapping[str, Any]
    share: float
    candidates: int
    models: tuple[str, ...]


def label_noise_suspects(
    rollouts: Iterable[Rollout], gold: Mapping[str, Mapping[str, Any]], models: Mapping[str, str]
) -> list[LabelSuspect]:
    """Examples that competent candidates get wrong in agreement, the strongest suspicion first.

    The idea of finding wrong labels where confident predictions contradict them is that of
    Northcutt, Jiang and Chuang ("Confident Learning", JAIR 70, 2021). Here agreement among
    candidates takes the place of probabilities. As there, competence counts by answer too: where
    a candidate mostly misses one declared answer, what it says on
    those examples is its way of reading the task and no evidence.

    It cannot tell a wrong label from a hard or ambiguous example that draws all candidates to
    the same mistake, least of all when they share a model or its training data. It does not
    see labels that candidates get wrong in different ways, nor most of a class that is wrong
    throughout. A suspect is a reason to look, never to relabel unseen.

    Args:
        rollouts: Repeats, failures and unparsed replies are left out.
        gold: Example id -> its declared outputs; other examples are left out.
        models: Candidate id -> the name of its model.

    Returns:
        Suspects by the number of models that agree (each model's share, summed), then by
        candidates.

    Raises:
        KeyError: A competent candidate has no model.
    """
    answers = {example: _canonical(outputs) for example, outputs in gold.items()}
    scored = [row for row in rollouts if _counts(row) and row.example in gold]
    competent = _competent(scored, answers)
    said: dict[str, list[Rollout]] = defaultdict(list)
    for row in scored:
        if (row.candidate, answers[row.example]) in competent and gold[
            row.example
        ].keys() <= row.output.keys():
            said[row.example].append(row)
    suspects = [_suspect(rows, gold[example], models) for example, rows in said.items()]
    found = [suspect for suspect in suspects if suspect is not None]
    return sorted(found, key=lambda s: (-s.share * len(s.models), -s.candidates, s.example))


def _counts(row: Rollout) -> bool:
    return row.number == 0 and row.parsed and row.score is not None


def _competent(rows: Sequence[Rollout], answers: Mapping[str, str]) -> set[tuple[str, str]]:
    """The (candidate, declared answer) pairs that can speak against that answer.

    Chance is the score of always giving the commonest declared answer.
    """
    by_candidate: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_candidate[row.candidate][answers[row.example]].append(row.score or 0.0)
    found = set()
    for candidate, by_answer in by_candidate.items():
        scores = [score for same in by_answer.values() for score in same]
        chance = max(map(len, by_answer.values())) / len(scores)
        if len(scores) < FEWEST_ROLLOUTS or _mean(scores) < chance + COMPETENCE * (1 - chance):
            continue
        for answer, same in by_answer.items():
            if len(same) < FEWEST_OF_ANSWER or _mean(same) >= RIGHT:
                found.add((candidate, answer))
    return found


def _suspect(
    rows: Sequence[Rollout], gold: Mapping[str, Any], models: Mapping[str, str]
) -> LabelSuspect | None:
    if len(rows) < FEWEST_CANDIDATES:
        return None
    size = Counter(models[row.candidate] for row in rows)
    shares: dict[str, Fraction] = defaultdict(Fraction)
    wrong: dict[str, dict[str, Any]] = {}
    for row in rows:
        answer = {field: row.output[field] for field in gold}
        key = _canonical(answer)
        if row.score is not None and row.score < RIGHT and key != _canonical(gold):
            shares[key] += Fraction(1, size[models[row.candidate]] * len(size))
            wrong.setdefault(key, answer)
    best = max(shares, key=lambda key: (shares[key], key), default=None)
    if best is None or shares[best] < AGREEMENT:
        return None
    return LabelSuspect(
        example=rows[0].example,
        gold=gold,
        said=wrong[best],
        share=float(shares[best]),
        candidates=len(rows),
        models=tuple(sorted(size)),
    )


def _canonical(outputs: Mapping[str, Any]) -> str:
    """Outputs as text that is equal when texts differ in letter case and white space only."""
    plain = {
        field: " ".join(value.casefold().split()) if isinstance(value, str) else value
        for field, value in outputs.items()
    }
    return json.dumps(plain, sort_keys=True)


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
