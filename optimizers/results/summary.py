"""From a study's files to its report: no model is loaded, no network is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optimizers.records.candidate import Candidate
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.perturbed_rows import PERTURBED_TEST, perturbed_of
from optimizers.records.prediction import Amount, Spend
from optimizers.records.report import FrontierReport, Importance, Role, Suspect
from optimizers.records.rows import ExampleRow, Rollout
from optimizers.results.frontier import build_report
from optimizers.results.label_noise import label_noise_suspects
from optimizers.results.robustness_loss import robustness_of
from optimizers.results.statistics.optimism import selection_optimism

MOST_SUSPECTS = 20
"""Suspected labels that a report lists."""


def report_of(
    folder: StudyFolder,
    ledger: Ledger,
    known: Sequence[Rollout],
    roles: Mapping[str, tuple[Role, ...]],
    *,
    trials: int,
    importance: tuple[Importance, ...] = (),
) -> FrontierReport:
    """The report of a study, from its records alone.

    Args:
        folder: The study's folder.
        ledger: Its ledger.
        known: All its rollouts.
        roles: Candidate id -> why it was tested, decided before the test was opened.
        trials: Trials run.
        importance: What each choice did to quality, by the search's model.
    """
    manifest, rollouts = folder.read_manifest(), [row for row in known if row.split in ("dev", "test")]
    measured = dict.fromkeys(rollout.candidate for rollout in rollouts)
    candidates, examples = ledger.candidates(), ledger.examples()
    groups = {row.id: row.group for row in examples.values() if row.group is not None}
    spend = spend_of(ledger)
    by_candidate: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in known:
        by_candidate[rollout.candidate].append(rollout)
    made = {row.id: row for row in perturbed_of(ledger, PERTURBED_TEST)}
    report = build_report(
        manifest,
        candidates,
        rollouts,
        roles={identity: roles.get(identity, ("searched",)) for identity in measured},
        trials=trials,
        seconds=spend.total.seconds,
        groups=groups or None,
    )
    return report.model_copy(
        update={
            "budget": str(manifest.budget),
            "spend": spend,
            "prediction": folder.read_prediction(),
            "notes": manifest.notes,
            "optimism": selection_optimism(_dev_scores(rollouts), seed=manifest.seed),
            "suspects": tuple(_suspects(rollouts, examples, candidates)),
            "importance": importance,
            "robustness": tuple(
                found
                for point in report.points
                if point.roles != ("searched",)
                and (found := robustness_of(point.candidate, made, by_candidate[point.candidate.id]))
            )
            if made
            else (),
        }
    )


def _dev_scores(rollouts: Sequence[Rollout]) -> NDArray[np.float64]:
    """Candidates x dev examples, NaN where there is no score."""
    scored = [row for row in rollouts if row.split == "dev" and row.number == 0 and row.score is not None]
    candidates = {
        identity: index for index, identity in enumerate(dict.fromkeys(r.candidate for r in scored))
    }
    examples = {identity: index for index, identity in enumerate(dict.fromkeys(r.example for r in scored))}
    matrix = np.full((len(candidates), len(examples)), np.nan)
    for row in scored:
        matrix[candidates[row.candidate], examples[row.example]] = row.score
    return matrix


def _suspects(
    rollouts: Sequence[Rollout], examples: Mapping[str, ExampleRow], candidates: Mapping[str, Candidate]
) -> list[Suspect]:
    # Those of the test stay unread: looking at them would unseal it.
    found = label_noise_suspects(
        [row for row in rollouts if row.split == "dev"],
        {row.id: row.gold for row in examples.values()},
        {identity: candidate.model for identity, candidate in candidates.items()},
    )
    return [
        Suspect(
            example=suspect.example,
            inputs=examples[suspect.example].inputs,
            gold=dict(suspect.gold),
            said=dict(suspect.said),
            share=suspect.share,
            candidates=suspect.candidates,
            models=suspect.models,
        )
        for suspect in found[:MOST_SUSPECTS]
    ]


def spend_of(ledger: Ledger) -> Spend:
    """What a study has used so far, from its book of calls."""
    used = ledger.used()
    return Spend(
        total=Amount(calls=used.calls, tokens=used.tokens, dollars=used.dollars, seconds=used.seconds),
        by_phase=ledger.count_calls("phase"),
        by_state=ledger.count_calls("state"),
    )
