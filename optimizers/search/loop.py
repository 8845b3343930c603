"""The search: which candidate is tried next, and how far each is measured.

To the outside it is an Optuna study: every candidate is a trial that is asked for and told. What
to try and how long to measure is decided by what the next block is expected to gain
(:mod:`optimizers.search.policy`). That follows from the study's seed and its recorded scores alone. A
process that takes up an interrupted study counts the finished trials' blocks again, and so stands
where the other one stood.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from optimizers.errors import BudgetSpent
from optimizers.search.board import Block
from optimizers.search.policy import outlook
from optimizers.search.proposed import proposals
from optimizers.starts import Choices, FixedChoices, drawn_choices

if TYPE_CHECKING:
    import dspy

    from optimizers.candidate import Candidate
    from optimizers.evaluation.measure import Measurer
    from optimizers.records.rows import Objective
    from optimizers.search.board import Board, Standing
    from optimizers.search.policy import Outlook, Unit
    from optimizers.space import SearchSpace

FRONTIER_POINTS = 6
"""Points of the frontier that are tested. More of them, near each other, would cost as much as any and say
little more, and each would weaken the verdicts on the others."""

SETTLED = 2e-4
"""When the next block of no candidate is expected to gain so much hypervolume, the leaders are settled."""

FURTHER = 5
"""Blocks of known candidates that a trial runs beside its own, at most."""

FAIR = 0.75
"""Share of an equal share of all candidates that every model gets."""

DIRECTIONS = {"quality": StudyDirection.MAXIMIZE}
METRICS = {"quality": "quality", "cost": "cost_per_1000", "latency": "latency_p50"}

CANDIDATE = "candidate"
"""User attribute of a trial: the id of its candidate."""

RAN = "ran"
"""User attribute of a finished trial: the blocks it measured, in order, and whose they are."""

INHERITED = "inherited"
"""User attribute of a later round's study that holds all it takes over from the rounds before."""

VALUES = "values"
"""User attribute of a trial that ran to its end: its objectives, empty when nothing was scored."""


def open_rounds(
    path: Path, name: str, objectives: Sequence[Objective] = ("quality", "cost")
) -> list[optuna.Study]:
    """The study's Optuna records, one per round, the first one made when missing."""
    rounds = [_open(path, name, objectives)]
    known = set(optuna.get_all_study_names(rounds[0]._storage))
    while (title := _title(name, len(rounds) + 1)) in known:
        rounds.append(_open(path, title, objectives))
    return rounds


def open_round(
    path: Path,
    name: str,
    number: int,
    earlier: Sequence[optuna.Study],
    space: SearchSpace,
    board: Board,
) -> optuna.Study:
    """The Optuna record of a later round, which begins with the trials of the rounds before.

    Choices cannot be added to an Optuna study, so a round with larger pools is a study of its
    own. What it takes over has the values that are known now, which may be of more rollouts
    than when the trial ended.

    Args:
        path: Where Optuna keeps its studies.
        name: The study's name.
        number: The round's, from 2.
        earlier: The rounds before.
        space: This round's search space.
        board: What is known of every candidate.
    """
    title = _title(name, number)
    study = _open(path, title, board.objectives)
    if INHERITED in study.user_attrs:
        return study
    if study.get_trials(deepcopy=False):  # a process died while it copied
        optuna.delete_study(study_name=title, storage=study._storage)
        study = _open(path, title, board.objectives)
    for trial in finished(earlier):
        standing = board.standings[trial.user_attrs[CANDIDATE]]
        if not standing.scored:
            continue
        chooser = FixedChoices(trial.params)
        space.decided(chooser)
        study.add_trial(
            optuna.create_trial(
                params=chooser.made,
                distributions={
                    parameter: optuna.distributions.CategoricalDistribution(choices)
                    for parameter, choices in chooser.offered.items()
                },
                values=board.values(standing),
            )
        )
    study.set_user_attr(INHERITED, number)
    return study


def _title(name: str, number: int) -> str:
    return f"{name}, round {number}"


def _open(path: Path, name: str, objectives: Sequence[Objective]) -> optuna.Study:
    """An Optuna study, new or continued.

    A trial left running by a process that died is told its values when it had them, else
    failed: its number is lost, its candidate is proposed again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _experimental():
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{path}",
            directions=[DIRECTIONS.get(objective, StudyDirection.MINIMIZE) for objective in objectives],
            load_if_exists=True,
        )
        study.set_metric_names([METRICS[objective] for objective in objectives])
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        _tell(study, trial.number, trial.user_attrs.get(VALUES))
    return study


def finished(rounds: Sequence[optuna.Study]) -> list[optuna.trial.FrozenTrial]:
    """Trials that count towards the budget: the ones that ran to their end, whatever it was.

    Args:
        rounds: The study's rounds; trials that a round took over from another count there alone.
    """
    return [
        trial for study in rounds for trial in study.get_trials(deepcopy=False) if VALUES in trial.user_attrs
    ]


class Search:
    """One study's trials, one after the other.

    Args:
        board: What is known; grows as trials run.
        measurer: Runs candidates and records their rollouts.
        blocks: The dev set in blocks, in the order all candidates run them.
        seed: Seed of the study.
        unit: What the worth of a block is counted against.

    Attributes:
        rounds: Optuna's records, one per round.
        space: What may be chosen in the last round.
        starts: What the last round begins with.
        began: Finished trials before the last round.
    """

    def __init__(
        self,
        board: Board,
        measurer: Measurer,
        blocks: Sequence[tuple[dspy.Example, ...]],
        seed: int,
        unit: Unit = "calls",
    ) -> None:
        self.board, self.measurer, self.blocks, self.seed, self.unit = board, measurer, blocks, seed, unit
        self.rounds: list[optuna.Study] = []
        self.space: SearchSpace
        self.starts: list[Choices] = []
        self.began = 0
        self._seen: tuple[tuple[int, int], Outlook] | None = None

    def begin(
        self, study: optuna.Study, space: SearchSpace, starts: Sequence[Choices], position: int
    ) -> None:
        """Begin a round.

        Args:
            study: Optuna's record of it.
            space: What may be chosen.
            starts: Choices of its first trials.
            position: Finished trials before it.
        """
        self.rounds.append(study)
        self.space, self.starts, self.began = space, list(starts), position

    def replay(self, trial: optuna.trial.FrozenTrial, known: Mapping[str, Candidate]) -> Standing:
        """Count again what a finished trial measured.

        Args:
            trial: The trial.
            known: Candidate id -> candidate.
        """
        own = self.board.enter(known[trial.user_attrs[CANDIDATE]], trial.params)
        for identity, block in trial.user_attrs[RAN]:
            self.board.add(self.board.standings[identity], Block.model_validate(block))
        return own

    def trial(self, position: int) -> tuple[optuna.Trial, Standing]:
        """Run one trial: a candidate's next block, then blocks of known ones while they promise more.

        Args:
            position: Finished trials before this one.

        Raises:
            BudgetSpent: It could not be finished; it does not count.
        """
        study, place = self.rounds[-1], position - self.began
        given = place < len(self.starts)
        choices = self.starts[place] if given else self._proposed()
        with _experimental():
            study.sampler = optuna.samplers.PartialFixedSampler(
                choices, optuna.samplers.RandomSampler(seed=0)
            )
        trial = study.ask()
        own = self.board.enter(self.space.choose(trial), trial.params)
        trial.set_user_attr(CANDIDATE, own.candidate.id)
        began = len(self.board.ran)
        try:
            self._block(own)
            while not given and len(self.board.ran) - began <= FURTHER and (further := self._further()):
                self._block(further)
        except BudgetSpent:
            _tell(study, trial.number, None)
            raise
        ran = [
            (standing.candidate.id, standing.blocks[number].model_dump())
            for standing, number in self.board.ran[began:]
        ]
        values = self.board.values(own) if own.scored else []
        trial.set_user_attr("rollouts", own.n)
        trial.set_user_attr(RAN, ran)
        trial.set_user_attr(VALUES, values)
        _tell(study, trial.number, values)
        return trial, own

    def choices(self) -> dict[str, Choices]:
        """Candidate id -> what was chosen in its first trial."""
        return {
            identity: dict(standing.choices)
            for identity, standing in self.board.standings.items()
            if standing.choices is not None
        }

    def settle(self) -> float:
        """Run the known block that promises most; returns the share that is settled.

        Raises:
            BudgetSpent: The budget does not cover the block.
        """
        best = outlook(self.board, self._sizes, self.unit).best_known
        if best is None or best[1] * self._spend(best[0]) < SETTLED:
            return 1.0
        self._block(best[0])
        return min(0.99, SETTLED / (best[1] * self._spend(best[0])))

    @property
    def _sizes(self) -> list[int]:
        return [len(block) for block in self.blocks]

    def _spend(self, standing: Standing) -> float:
        """What a candidate's block uses of what is scarce."""
        return float(getattr(standing.use, self.unit)) / len(standing.blocks)

    def _outlook(self) -> Outlook:
        """What is worth doing now; the same whoever asks, as long as nothing more was measured."""
        if self._seen is None or self._seen[0] != (len(self.board.ran), len(self.rounds)):
            random = Random(f"{self.seed} {len(self.board.ran)}")
            known = self.choices()
            leaders = [known[one.candidate.id] for one in self.board.leaders() if one.candidate.id in known]
            proposed = proposals(self.space, leaders, known.values(), random)
            found = outlook(self.board, self._sizes, self.unit, proposed)
            self._seen = (len(self.board.ran), len(self.rounds)), found
        return self._seen[1]

    def _proposed(self) -> Choices:
        """The new candidate that promises most, of a model that is behind where one is."""
        found = self._outlook().best_new(self._behind())
        # In a space where all was tried, one is tried again.
        drawn = drawn_choices(self.space, self.space.models[0].name, Random(len(self.board.ran)))
        return drawn if found is None else dict(found)

    def _behind(self) -> str | None:
        """The model with the fewest candidates, if they are fewer than its fair share.

        What promises most is often more of the model that leads. But whether a small model can do
        what a large one does is asked of each model's best prompts, so each must have its chance.
        """
        tried = Counter(standing.candidate.model for standing in self.board.measured())
        names = [model.name for model in self.space.models]
        fewest = min(names, key=lambda name: tried[name])
        return fewest if tried[fewest] < FAIR * tried.total() / len(names) else None

    def _further(self) -> Standing | None:
        """A known candidate whose next block promises more than any new candidate's."""
        found = self._outlook()
        return None if found.is_new_better or found.best_known is None else found.best_known[0]

    def _block(self, standing: Standing) -> None:
        """Run a candidate's next block, where there is one."""
        position = len(standing.blocks)
        if position < len(self.blocks):
            rollouts = self.measurer.measure(standing.candidate, self.blocks[position], "dev")
            self.board.add(standing, Block.of(rollouts))


def _tell(study: optuna.Study, number: int, values: Sequence[float] | None) -> None:
    if values:
        study.tell(number, list(values))
    else:
        study.tell(number, state=TrialState.FAIL)


def _experimental() -> warnings.catch_warnings[None]:
    """Without Optuna's warnings about the parts it still marks experimental."""
    return warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore")
