"""The search phase of a study: rounds of trials, then further blocks for the leaders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizers.errors import BudgetError, BudgetSpent, StudyError
from optimizers.prompting.proposals.pools import Pools, joined
from optimizers.records.budget import USED
from optimizers.records.folder import StudyFolder
from optimizers.records.parameters import is_legacy
from optimizers.records.rows import round_key
from optimizers.search.blocks import blocks
from optimizers.search.bootstrap_proposals import BootstrapProposals
from optimizers.search.gc_control import uninterrupted
from optimizers.search.loop import SEARCH_SHARE, Search
from optimizers.search.model.acquisition_state import scarcest_unit
from optimizers.search.robustness_phase import perturbed_dev
from optimizers.search.rounds import GROW_AT, Round, SpaceOf, first_round, later_round, proposal_shares
from optimizers.search.space.search_space import search_space
from optimizers.search.warm_start import prompts_of
from optimizers.task.data.split import example_id
from optimizers.task.signature_fields import fields_of

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.budget_gate import BudgetGate
    from optimizers.evaluation.measure import Measurer
    from optimizers.records.ledger import Ledger
    from optimizers.records.rows import StudyManifest
    from optimizers.search.model.observations import ObservationStore
    from optimizers.search.progress import ProgressDisplay
    from optimizers.search.trial_log import TrialLog
    from optimizers.task.task import LoadedTask


@dataclass(frozen=True)
class StudyContext:
    """What every phase of a study works with.

    Attributes:
        task: What is optimized.
        manifest: The study's settings.
        folder: The study's folder.
        ledger: Its durable record.
        gate: Its budget.
        measurer: Runs rollouts.
        observations: What is known of every candidate.
        trials: The finished trials.
        display: Shows the study's state.
        space_of: Gives the space of a round.
        grow_at: Shares of the search after which the pools grow.
    """

    task: LoadedTask
    manifest: StudyManifest
    folder: StudyFolder
    ledger: Ledger
    gate: BudgetGate
    measurer: Measurer
    observations: ObservationStore
    trials: TrialLog
    display: ProgressDisplay
    space_of: SpaceOf = search_space
    grow_at: Sequence[float] = GROW_AT


def ordered(study: StudyContext, part: Sequence[dspy.Example]) -> list[tuple[dspy.Example, ...]]:
    """A part of the data in blocks, independent of the order of its rows."""
    outputs = closed_outputs(study.task)
    return blocks(sorted(part, key=example_id), outputs, study.manifest.seed)


def closed_outputs(task: LoadedTask) -> list[str]:
    """The output fields with a closed set of labels."""
    return list(fields_of(task.program, task.dataset.dev)[2])


@dataclass
class SearchPhase:
    """The search of a study.

    Attributes:
        study: What it works with.
        bootstrap: Where proposals come from.
        search: Chooses and runs trials.
        pools: What was proposed so far.
    """

    study: StudyContext
    bootstrap: BootstrapProposals
    search: Search
    pools: Pools = field(default_factory=dict)

    def run(self) -> None:
        """Run the trials that the budget holds, then measure the leaders further.

        Raises:
            BudgetError: The budget ends before anything is measured.
        """
        study, search = self.study, self.search
        try:
            while self.progress() < 1.0 or self._has_nothing():
                if self._is_round_due():
                    self._open_round()
                if search.is_idle:
                    break
                study.display.show("search", self.progress())
                finished, spent = search.trials(study.trials.done, self._trials_left(), self.progress())
                study.trials.add(search, finished)
                if spent is not None:
                    raise spent
            share = 0.0
            while share < 1.0:
                closing = (self._spent() - SEARCH_SHARE) / (1 - SEARCH_SHARE)
                study.display.show("refine", min(0.99, max(0.0, share, closing)))
                share = search.refine(is_paid=study.manifest.budget.trials is None)
        except BudgetSpent:
            if not study.observations.measured_subset():
                raise BudgetError(
                    f"The budget of {study.manifest.budget} ends before one candidate is measured.",
                    where="--budget",
                    fix="see what a study needs: optimize estimate PROGRAM --budget ...",
                ) from None

    def replay(self) -> None:
        """Repeat the recorded rounds and trials of earlier processes; track those that MLflow lacks.

        Raises:
            StudyError: Version 0.1 began the study: its choices are names, not keys.
        """
        study, known = self.study, self.study.ledger.candidates()
        while (record := study.ledger.get(round_key(self.search.round + 1))) is not None:
            found = Round.model_validate_json(record)
            # The first round always has starts, and is recorded before any trial.
            if any(is_legacy(choices) for choices in found.starts):
                raise StudyError(
                    f"The unfinished study {study.manifest.name} was begun by version 0.1, whose choices "
                    "cannot be searched.",
                    where=str(study.folder.path),
                    fix="start a new study with another --study name",
                )
            self._begin(found)
            for trial in [one for one in study.trials.rows if one.round == self.search.round]:
                stats = self.search.replay(trial, known)
                if trial.number >= study.trials.tracking.recorded:
                    study.trials.track(trial, stats)

    def progress(self) -> float:
        """Share of the trials that is done, by the scarcest unit; some of it is reserved for the leaders."""
        trials = self.study.manifest.budget.trials
        return max(self.study.trials.done / trials if trials else 0.0, self._spent() / SEARCH_SHARE)

    def _begin(self, found: Round) -> None:
        """Begin a round: its pools can be chosen from now on."""
        study, number = self.study, self.search.round + 1
        self.pools = joined(self.pools, found.pools)
        space, rows = study.space_of(study.task, self.pools), study.trials.rows
        study.trials.optuna.open_round(number, rows, space, study.observations)
        self.search.begin(space, found.starts, sum(trial.round < number for trial in rows))

    def _open_round(self) -> None:
        """Propose what a new round adds to the pools, record it, and begin the round."""
        study, number = self.study, self.search.round + 1
        study.display.show("propose", 0.0)
        if number == 1:
            earlier = study.manifest.started_from
            source = None if earlier is None else StudyFolder.load(study.folder.path.parent, earlier)
            prompts = [] if source is None else prompts_of(source.read_report())
            found = first_round(self.bootstrap, study.space_of, prompts)
        else:
            found = later_round(
                self.bootstrap, study.space_of, self.pools, self.search, study.observations, number
            )
        study.ledger.put(round_key(number), found.model_dump_json())
        self._begin(found)

    def _is_round_due(self) -> bool:
        """Whether to open a round: the starts of the last are tried, and its share is done or it is idle."""
        search = self.search
        if search.round == 0:
            return True
        shares = proposal_shares(self.bootstrap, self.study.grow_at)
        is_tried = self.study.trials.done - search.began >= len(search.starts)
        if not is_tried or search.round > len(shares):
            return False
        return search.is_idle or self.progress() >= shares[search.round - 1]

    def _trials_left(self) -> int | None:
        """Trials until the next round, or the last of the budget; None where trials have no limit."""
        trials, done = self.study.manifest.budget.trials, self.study.trials.done
        if trials is None:
            return None
        shares = (*proposal_shares(self.bootstrap, self.study.grow_at)[self.search.round - 1 :], 1.0)
        ends = (math.ceil(share * trials - 1e-9) for share in shares)
        return next((end for end in ends if end > done), trials) - done

    def _has_nothing(self) -> bool:
        """Whether no candidate can be measured further yet, and trials are left."""
        trials = self.study.manifest.budget.trials
        return (
            trials is None or self.study.trials.done < trials
        ) and not self.study.observations.measured_subset()

    def _spent(self) -> float:
        """Share that is used of the budget without what is held back for the test."""
        budget, gate = self.study.manifest.budget, self.study.gate
        limits: dict[str, float | None] = {unit: getattr(budget, unit) for unit in USED}
        room = {
            unit: limit - getattr(gate.held_back, unit) for unit, limit in limits.items() if limit is not None
        }
        return gate.used.share_of(budget.model_copy(update=room))


@uninterrupted()
def restored(study: StudyContext) -> SearchPhase:
    """The search as earlier processes left it; a new one where there are none."""
    manifest, dev = study.manifest, ordered(study, study.task.dataset.dev)
    perturbed = {}
    if "robustness" in manifest.objectives:
        perturbed = perturbed_dev(study.measurer, [one for block in dev for one in block], manifest.seed)
    unit = scarcest_unit(manifest.budget)
    bootstrap = BootstrapProposals(study.task, study.measurer, manifest.seed, manifest.workers)
    search = Search(study.observations, study.measurer, dev, manifest.seed, unit, manifest.workers, perturbed)
    phase = SearchPhase(study, bootstrap, search)
    phase.replay()
    return phase
