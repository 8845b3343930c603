"""Rounds of a search: what each begins with, and when the next one is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from pydantic import BaseModel, ConfigDict

from optimizers.prompting.proposals.pools import Pool, Pools, joined
from optimizers.records.candidate import Candidate
from optimizers.records.parameters import Choices
from optimizers.search.bootstrap_proposals import BootstrapProposals, teachers
from optimizers.search.loop import Search
from optimizers.search.model.observations import ObservationStore
from optimizers.search.space.initial_design import (
    FixedChoices,
    completed,
    design,
    few_shot_starts,
    known_starts,
)
from optimizers.search.space.search_space import SearchSpace
from optimizers.search.warm_start import pools_of, starts_from
from optimizers.task.task import LoadedTask

GROW_AT = (0.4, 0.7)
"""Shares of the search after which the pools grow and a new round begins."""

MOST_STARTS = 8
"""Trials of a round that are given over to what was found."""

SpaceOf = Callable[[LoadedTask, Pools], SearchSpace]
"""Gives the space of a round from what is in the pools."""


class Round(BaseModel):
    """What was found before a round, as the ledger keeps it.

    Attributes:
        pools: Predictor name -> what was found for it.
        starts: Choices of the round's first trials.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pools: dict[str, Pool]
    starts: tuple[Choices, ...] = ()


def proposal_shares(bootstrap: BootstrapProposals, grow_at: Sequence[float]) -> tuple[float, ...]:
    """Shares of the search after which the pools grow.

    Where a predictor has no labelled demos, runs that were right are what it learns from: then
    the pools grow as soon as the known prompts are tried.
    """
    return ((0.0,) if grow_at and not bootstrap.labelled else ()) + tuple(grow_at)


def first_round(bootstrap: BootstrapProposals, space_of: SpaceOf, prompts: Sequence[Candidate]) -> Round:
    """What a study begins with: instructions that a proposer writes, and another study's prompts.

    Args:
        bootstrap: Where proposals come from.
        space_of: Gives the space.
        prompts: Candidates of another study, or none.
    """
    written = bootstrap.propose_instructions()
    pools = joined(written, pools_of(prompts, bootstrap.task))
    space = space_of(bootstrap.task, pools)
    plain = few_shot_starts(space, 1)
    tried = islice(starts_with(space, written, plain, {}), MOST_STARTS)
    begun = (*starts_from(space, prompts), *known_starts(space), *tried)
    drawn = design(space, bootstrap.seed) if bootstrap.labelled else ()
    return Round(pools=pools, starts=(*begun, *drawn))


def later_round(
    bootstrap: BootstrapProposals,
    space_of: SpaceOf,
    pools: Pools,
    search: Search,
    observations: ObservationStore,
    number: int,
) -> Round:
    """What runs on train give, and the candidates that try it.

    Args:
        bootstrap: Where proposals come from.
        space_of: Gives the space.
        pools: What was found before.
        search: The search so far.
        observations: What is known of every candidate.
        number: The round's, from 2.
    """
    found = bootstrap.propose_from_runs(observations, number)
    space = space_of(bootstrap.task, joined(pools, found))
    good, choices = [*observations.leaders(), *teachers(observations)], search.choices()
    tried = {one.candidate.id: choices[one.candidate.id] for one in good if one.candidate.id in choices}
    best = [observations.best_of(model.name) for model in bootstrap.task.models]
    usual = [tried[one.candidate.id] for one in best if one is not None and one.candidate.id in tried]
    begun = tuple(islice(starts_with(space, found, usual, tried), MOST_STARTS))
    drawn = design(space, bootstrap.seed) if number == 2 and not bootstrap.labelled else ()
    return Round(pools=found, starts=(*begun, *drawn))


def starts_with(
    space: SearchSpace, new: Pools, usual: Sequence[Choices], tried: Mapping[str, Choices]
) -> Iterator[Choices]:
    """Choices that try each find in place of what a good candidate has there.

    Args:
        space: The new round's space, which has the finds.
        new: What was found.
        usual: The choices of each model's best.
        tried: Candidate id -> its choices: a find made with a candidate is tried with that one alone.
    """
    for predictor, pool in new.items():
        known = space.predictors[predictor].pool
        # A text that was known already got no second name.
        told = [name for name in pool.instructions if name in known.instructions]
        for part, names in (("instruction", told), ("demos.from", list(pool.demos))):
            for name in names:
                origin = pool.origins.get(name)
                own = tried.get(origin.candidate) if origin and origin.candidate else None
                for values in [own] if own else usual:
                    yield from _with(space, values, predictor, part, name)


def _with(space: SearchSpace, values: Choices, predictor: str, part: str, name: str) -> Iterator[Choices]:
    """A candidate's choices with one find put in."""
    serving = space.choose(FixedChoices(values)).serving(predictor)
    model = next(model for model in space.models if model.name == serving.model)
    parameter, sizes = (
        partial(space.parameter, model, predictor),
        space.predictors[predictor].sizes[model.name],
    )
    changed = {**values, parameter(part): name}
    if part == "demos.from" and not changed.get(parameter("demos")):
        if len(sizes) == 1:
            return
        changed[parameter("demos")] = sizes[min(2, len(sizes) - 1)]
    yield completed(space, changed)
