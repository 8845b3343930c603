"""The search: which candidates are tried next, and how far each is measured.

What to try and how long to measure is decided by what the next block is expected to gain
(:mod:`optimizers.search.model.acquisition_state`). That follows from the study's seed and its recorded
scores alone.
A process that takes up an interrupted study counts the finished trials' blocks again, and so is
where the other one was. Where a model takes more calls at once than a block has examples, several
blocks are chosen together and run at the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING

from optimizers.errors import BudgetSpent
from optimizers.records.parameters import Choices
from optimizers.records.rows import Block
from optimizers.search.model.acquisition_state import acquisition_state
from optimizers.search.model.proposed import proposals
from optimizers.search.run_blocks import Room, filling, run_blocks
from optimizers.search.space.initial_design import FixedChoices, drawn_choices
from optimizers.search.space.parts import MODEL
from optimizers.task.data.split import example_id

if TYPE_CHECKING:
    import dspy

    from optimizers.evaluation.measure import Measurer
    from optimizers.records.budget import Unit
    from optimizers.records.candidate import Candidate
    from optimizers.records.rows import TrialRow
    from optimizers.search.model.acquisition_state import AcquisitionState
    from optimizers.search.model.inducing_subset import CandidateStats
    from optimizers.search.model.observations import ObservationStore
    from optimizers.search.space.search_space import SearchSpace

FRONTIER_POINTS = 6
"""Points of the frontier that are tested. More of them, near each other, would cost as much as any and say
little more, and each would weaken the verdicts on the others."""

REGRET_FLOOR = 0.01
"""When choosing now is expected to lose no more than this, in quality, the leaders are refined enough."""

REFINED_SHARE = 0.5
"""Share of the dev set's blocks that each model's best runs at least, where trials are limited."""

SEARCH_SHARE = 0.7
"""Share of what a search may spend after which no new candidate is tried: the rest goes to the leaders.

Chosen by replays of the development tasks' dev scores (tests/benchmarks): without it the candidate that is
handed over as the best has often run two blocks or three, and is best by luck.
"""

BLOCKS_PER_TRIAL = 5
"""Blocks of known candidates that a trial runs in addition to its own, at most."""

AHEAD = 0.25
"""Share of the blocks still to come that are chosen together, at most: in between, nothing is learned."""

DRAWS = 100
"""Draws after which the space is taken for one in which all was tried, where changed leaders are too."""

MODEL_SHARE = 0.75
"""Share of an equal share of all candidates that every model gets."""


@dataclass
class Trial:
    """A new candidate's first block, and blocks of known ones that run on its account.

    Attributes:
        chooser: The choices that make it.
        own: The new candidate.
        ran: The blocks that ran, in order: whose, and which.
        is_cut: Whether the budget did not cover one of them.
        began: When it began, local time.
    """

    chooser: FixedChoices
    own: CandidateStats
    ran: list[tuple[CandidateStats, int]] = field(default_factory=list)
    is_cut: bool = False
    began: datetime = field(default_factory=datetime.now)

    @property
    def blocks(self) -> tuple[tuple[str, Block], ...]:
        """The blocks that ran, and whose they are."""
        return tuple((stats.candidate.id, stats.blocks[number]) for stats, number in self.ran)


class Search:
    """One study's trials.

    Args:
        observations: What is known; grows as trials run.
        measurer: Runs candidates and records their rollouts.
        blocks: The dev set in blocks, in the order all candidates run them.
        seed: Seed of the study.
        unit: What the worth of a block is counted against.
        workers: Processes that the study is planned for: so many times what one runs at a time.
        perturbed: Id of a dev example -> what was made of it, where robustness is traded off.

    Attributes:
        round: Number of the round, from 1; 0 before the first.
        space: What may be chosen in it.
        starts: What it begins with.
        began: Finished trials before it.
        is_idle: Whether nothing was left to run when trials were last chosen: every candidate that could be
            made had run all blocks.
    """

    def __init__(
        self,
        observations: ObservationStore,
        measurer: Measurer,
        blocks: Sequence[tuple[dspy.Example, ...]],
        seed: int,
        unit: Unit = "calls",
        workers: int = 1,
        perturbed: Mapping[str, dspy.Example] | None = None,
    ) -> None:
        self.observations, self.measurer, self.blocks, self.seed, self.unit = (
            observations,
            measurer,
            blocks,
            seed,
            unit,
        )
        self.workers, self.perturbed = workers, perturbed or {}
        self.round = 0
        self.space: SearchSpace
        self.starts: list[Choices] = []
        self.began = 0
        self.is_idle = False
        self._seen: tuple[tuple[int, int], AcquisitionState] | None = None

    def begin(self, space: SearchSpace, starts: Sequence[Choices], position: int) -> None:
        """Begin the next round.

        Args:
            space: What may be chosen.
            starts: Choices of its first trials.
            position: Finished trials before it.
        """
        self.round += 1
        self.space, self.starts, self.began = space, list(starts), position
        self.is_idle = False

    def replay(self, trial: TrialRow, known: Mapping[str, Candidate]) -> CandidateStats:
        """Count again what a finished trial measured.

        Args:
            trial: The trial.
            known: Candidate id -> candidate.
        """
        self.observations.register(known[trial.candidate], trial.choices)
        for identity, block in trial.ran:
            self.observations.add_block(self.observations.stats[identity], block)
        return self.observations.stats[trial.candidate]

    def trials(self, position: int, most: int | None, share: float) -> tuple[list[Trial], BudgetSpent | None]:
        """Run new candidates' first blocks, then blocks of known ones while they promise more.

        Args:
            position: Finished trials before these.
            most: New candidates at most; None for as many as may run at the same time.
            share: Share of the search that is done, in [0, 1].

        Returns:
            The finished trials, and what ended them where the budget did not cover all: those that
            were cut do not count, nor does one that found nothing to run.
        """
        opened: list[Trial] = []
        spent = None
        given = self.starts[position - self.began :][:most]
        try:
            self._run(self._given(opened, given, share) if given else self._chosen(opened, most, share))
            while not given and (further := self._chosen(opened, len(opened), share)):
                self._run(further)
        except BudgetSpent as error:
            spent = error
        if not given:
            self.is_idle = spent is None and not any(trial.ran for trial in opened)
            opened = [trial for trial in opened if trial.ran]
        return [trial for trial in opened if not trial.is_cut], spent

    def choices(self) -> dict[str, Choices]:
        """Candidate id -> what was chosen in its first trial."""
        return {
            identity: dict(stats.choices)
            for identity, stats in self.observations.stats.items()
            if stats.choices is not None
        }

    def refine(self, *, is_paid: bool) -> float:
        """Run further blocks of the candidates that lead or may; returns the share that is done.

        Alternates the block with the highest expected gain and the candidate that may well be its
        model's best: a gain of hypervolume says little of which is the best where many are nearly as
        good, and their posterior means depend on the few blocks that all of them ran.

        Args:
            is_paid: Whether the budget has calls set aside for it: it goes on while a candidate may well be
                better than its model's best. Else it ends when choosing among the leaders is expected to
                lose little, and each model's best has run its share of the blocks.

        Raises:
            BudgetSpent: The budget does not cover them.
        """
        found, room = acquisition_state(self.observations, self._sizes, self.unit), self._room(0.0)
        lost = found.regret
        picks: list[tuple[None, CandidateStats]] = []
        while True:
            pair, is_second = divmod(len(self.observations.history) + len(picks), 2)
            ucb_candidates = found.ucb_candidates
            if lost <= REGRET_FLOOR and not (ucb_candidates and (is_paid or self._is_unsure())):
                break
            place = (
                ucb_candidates[pair % len(ucb_candidates)]
                if ucb_candidates and not is_second
                else found.best_known
            )
            if place is None or not room.take(found.known[place].candidate.model):
                break
            picks.append((None, found.known[place]))
            if not room.total:
                break
            found = found.with_pending(place)
        self._run(picks)
        return min(0.99, REGRET_FLOOR / max(lost, REGRET_FLOOR)) if picks else 1.0

    def _is_unsure(self) -> bool:
        """Whether some model's best has run fewer blocks than it should have."""
        best = [self.observations.best_of(model.name) for model in self.space.models]
        return any(one is not None and len(one.blocks) < REFINED_SHARE * len(self.blocks) for one in best)

    @property
    def _sizes(self) -> list[int]:
        return [len(block) for block in self.blocks]

    def _outlook(self) -> AcquisitionState:
        """What is worth doing now; the same at every call, as long as nothing more was measured."""
        if self._seen is None or self._seen[0] != (len(self.observations.history), self.round):
            random = Random(f"{self.seed} {len(self.observations.history)}")
            leaders = [one.choices for one in self.observations.leaders() if one.choices is not None]
            proposed = proposals(self.space, leaders, self.observations.tried_choices, random)
            found = acquisition_state(self.observations, self._sizes, self.unit, proposed)
            self._seen = (len(self.observations.history), self.round), found
        return self._seen[1]

    def _forget(self, place: int) -> None:
        """Propose a new candidate no more."""
        if self._seen is not None:
            self._seen = self._seen[0], self._seen[1].without(place)

    def _given(
        self, opened: list[Trial], given: Sequence[Choices], share: float
    ) -> list[tuple[Trial, CandidateStats]]:
        """The next of the round's starts, as many as may run at the same time."""
        room = self._room(share)
        for choices in given:
            if not room.take(self._model_of(choices)):
                break
            opened.append(self._asked(choices))
        return [(trial, trial.own) for trial in opened]

    def _chosen(
        self, opened: list[Trial], most: int | None, share: float
    ) -> list[tuple[Trial, CandidateStats]]:
        """The blocks that promise most together, each with the trial on whose account it runs.

        Args:
            opened: The trials so far; new ones are added.
            most: Trials at most. The first block is a new candidate's while there are fewer.
            share: Share of the search that is done.
        """
        found, room = self._outlook(), self._room(share)
        picks: list[tuple[Trial, CandidateStats]] = []
        while True:
            further = sum(len(trial.ran) for trial in opened) + len(picks) - len(opened)
            known = None if found.is_new_better else found.best_known
            if opened and known is not None and further < BLOCKS_PER_TRIAL * len(opened):
                place, stats = known, found.known[known]
                if not room.take(stats.candidate.model):
                    break
                picks.append((opened[-1], stats))
            elif len(opened) != most:
                new = found.best_new(self._behind(opened))
                choices = self._drawn() if new is None else dict(found.choices(new))
                chooser = FixedChoices(choices)
                candidate = self.space.choose(chooser)
                if new is not None and candidate.id in self.observations.stats:
                    # Other choices that come to a candidate that was tried.
                    found = found.without(new)
                    self._forget(new)
                    continue
                if not room.take(self._model_of(choices)):
                    break
                self.observations.register(candidate, chooser.made)
                opened.append(Trial(chooser, self.observations.stats[candidate.id]))
                picks.append((opened[-1], opened[-1].own))
                if new is None:
                    break
                place = new
            else:
                break
            if not room.total:
                break
            found = found.with_pending(place)
        return picks

    def _asked(self, choices: Choices) -> Trial:
        """A trial of these choices."""
        chooser = FixedChoices(choices)
        candidate = self.space.choose(chooser)
        self.observations.register(candidate, chooser.made)
        return Trial(chooser, self.observations.stats[candidate.id])

    def _run(self, picks: Sequence[tuple[Trial | None, CandidateStats]]) -> None:
        """Run blocks at the same time, and count them in the order given.

        Raises:
            BudgetSpent: Not all could be run; the others count.
        """
        numbers = [
            len(stats.blocks) + sum(other is stats for _, other in picks[:place])
            for place, (_, stats) in enumerate(picks)
        ]
        todo = [
            (trial, stats, number)
            for (trial, stats), number in zip(picks, numbers, strict=True)
            if number < len(self.blocks)
        ]
        jobs = [(one.candidate, self.blocks[number], self._perturbed_of(number)) for _, one, number in todo]
        spent = None
        for (trial, stats, number), block in zip(todo, run_blocks(jobs, self.measurer), strict=True):
            if isinstance(block, Block) and number == len(stats.blocks):
                self.observations.add_block(stats, block)
                if trial is not None:
                    trial.ran.append((stats, number))
                continue
            spent = block if isinstance(block, BudgetSpent) else spent
            if trial is not None:
                trial.is_cut = True
        if spent is not None:
            raise spent

    def _perturbed_of(self, number: int) -> list[dspy.Example] | None:
        """The perturbed examples of a block; None where robustness is no objective."""
        if not self.perturbed:
            return None
        names = map(example_id, self.blocks[number])
        return [self.perturbed[name] for name in names if name in self.perturbed]

    def _room(self, share: float) -> Room:
        """How many blocks may run at the same time."""
        each = {model.name: filling(model, len(self.blocks[0]), self.workers) for model in self.space.models}
        ran = len(self.observations.history)
        # The first block runs alone: only then is it known what share of the budget a block takes.
        to_come = ran * (1 - share) / share if share > 0 else float("inf") if ran else 0.0
        return Room(each, int(max(1, min(AHEAD * to_come, sum(each.values())))))

    def _model_of(self, choices: Choices) -> str:
        return str(choices.get(MODEL, self.space.models[0].name))

    def _drawn(self) -> Choices:
        """A candidate drawn at random, a new one where that many draws find one."""
        random, names = Random(len(self.observations.history)), [model.name for model in self.space.models]
        for number in range(DRAWS):
            choices = drawn_choices(self.space, names[number % len(names)], random)
            if self.space.choose(FixedChoices(choices)).id not in self.observations.stats:
                break
        return choices

    def _behind(self, opened: Sequence[Trial]) -> str | None:
        """The model with the fewest candidates, if they are fewer than its fair share.

        What promises most is often more of the model that leads. But whether a small model can do
        what a large one does is asked of each model's best prompts, so each must have its chance.
        """
        tried = self.observations.tried + Counter(trial.own.candidate.model for trial in opened)
        names = [model.name for model in self.space.models]
        fewest = min(names, key=lambda name: tried[name])
        return fewest if tried[fewest] < MODEL_SHARE * tried.total() / len(names) else None
