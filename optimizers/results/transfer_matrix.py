"""From the rollouts of a transfer to its matrix and what follows from it.

Pure functions over records: nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from optimizers.records.candidate import Candidate
from optimizers.records.report import Estimate
from optimizers.records.rows import Rollout
from optimizers.records.transfer_report import BestTransfer, Cell, Difference, Prompt, TransferResult
from optimizers.results.statistics.intervals import LEVEL, estimate
from optimizers.results.statistics.paired import paired_difference


@dataclass(frozen=True)
class AdaptedPrompt:
    """A prompt as it is run on a model.

    Attributes:
        prompt: Candidate id of the prompt, on its own model.
        model: Name of the model.
        candidate: What is run; None where it cannot be.
        changed: What had to change.
        reason: Why it cannot be run.
    """

    prompt: str
    model: str
    candidate: Candidate | None
    changed: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """The rollouts of a transfer.

    Attributes:
        rollouts: Candidate id -> example id -> rollout.
        examples: Ids of the examples that every candidate ran.
        groups: Example id -> group, for examples that come in groups; others are alone.
        min_coverage: Share of a candidate's rollouts that must get a score for it to be compared.
    """

    rollouts: Mapping[str, Mapping[str, Rollout]]
    examples: Sequence[str]
    groups: Mapping[str, str]
    min_coverage: float

    def scores(self, candidate: str) -> dict[str, float]:
        """Example id -> score, failed rollouts left out."""
        found = ((example, self.rollouts[candidate][example].score) for example in self.examples)
        return {example: score for example, score in found if score is not None}

    def quality(self, candidate: str) -> Estimate:
        """Mean score with its 95% interval."""
        scores = self.scores(candidate)
        return estimate(
            list(scores.values()),
            failures=len(self.examples) - len(scores),
            groups=[self.groups.get(example, example) for example in scores],
        )

    def cost(self, candidate: str) -> float:
        """Mean serving cost of one rollout that did not fail, US dollars."""
        costs = [self.rollouts[candidate][example].cost for example in self.scores(candidate)]
        return fsum(costs) / max(1, len(costs))

    def covered(self, candidate: str) -> bool:
        """Whether enough of its rollouts got a score for it to be compared."""
        return self.quality(candidate).coverage >= self.min_coverage

    def difference(self, pairs: Sequence[tuple[str, str]], *, among: int = 1) -> Difference:
        """Mean of (first - second), averaged over pairs of candidates on each example.

        Args:
            pairs: Candidates to compare, by id.
            among: Differences that the interval is to cover at once with 95% (Bonferroni).
        """
        sides = [[self.scores(candidate) for candidate in side] for side in zip(*pairs, strict=True)]
        shared = [e for e in self.examples if all(e in scores for side in sides for scores in side)]
        first, second = ([fsum(s[e] for s in side) / len(side) for e in shared] for side in sides)
        level = 1 - (1 - LEVEL) / among
        groups = [self.groups.get(example, example) for example in shared]
        mean, low, high = paired_difference(first, second, level, groups=groups)
        return Difference(mean=mean, low=low, high=high, n=len(shared))


def fill_cell(adapted: AdaptedPrompt, measured: Measured) -> Cell:
    """The cell of a prompt on a model, from what was measured."""
    if adapted.candidate is None:
        return Cell(prompt=adapted.prompt, model=adapted.model, reason=adapted.reason)
    ran = adapted.candidate.id
    return Cell(
        prompt=adapted.prompt,
        model=adapted.model,
        candidate=ran,
        changed=adapted.changed,
        quality=measured.quality(ran),
        to_own=None if ran == adapted.prompt else measured.difference([(ran, adapted.prompt)]),
        cost=measured.cost(ran),
    )


def best_per_model(
    prompts: Sequence[Prompt],
    cells: Iterable[Cell],
    defaults: Mapping[str, str],
    measured: Measured,
) -> tuple[TransferResult, ...]:
    """The best transferred prompt of each model, compared with the model's baseline.

    Args:
        prompts: What was transferred.
        cells: Every prompt on every model.
        defaults: New model -> candidate id of its plain default.
        measured: The rollouts.
    """
    found = []
    baselines = _baselines(prompts, defaults)
    foreign = _foreign(prompts, cells, measured)
    for model, arrived in foreign.items():
        if model not in baselines or not measured.covered(baselines[model]):
            continue
        best = max(arrived, key=lambda cell: cell.quality.mean if cell.quality else 0.0)
        assert best.candidate is not None
        against = baselines[model]
        found.append(
            TransferResult(
                model=model,
                prompt=best.prompt,
                quality=measured.quality(best.candidate),
                baseline="plain default" if model in defaults else "own best",
                baseline_quality=measured.quality(against),
                gain=measured.difference([(best.candidate, against)], among=len(arrived)),
                cost_ratio=measured.cost(best.candidate) / cost if (cost := measured.cost(against)) else None,
                compared=len(arrived),
            )
        )
    return tuple(found)


def best_transfer(
    prompts: Sequence[Prompt], cells: Sequence[Cell], defaults: Mapping[str, str], measured: Measured
) -> BestTransfer | None:
    """The prompt that gains most over the baselines of the models it was not made for.

    On the new models alone where there are any: they are the same for every prompt. Else on
    the study's models other than the prompt's own.

    Args:
        prompts: What was transferred.
        cells: Every prompt on every model.
        defaults: New model -> candidate id of its plain default.
        measured: The rollouts.
    """
    baselines = _baselines(prompts, defaults)
    targets = [m for m in (defaults or baselines) if measured.covered(baselines[m])]
    foreign = _foreign(prompts, cells, measured)
    ran = {(cell.prompt, model): cell.candidate for model, arrived in foreign.items() for cell in arrived}
    pairs: dict[str, list[tuple[str, str]]] = {}
    for prompt in prompts:
        own = prompt.candidate
        others = [(ran.get((own.id, model)), baselines[model]) for model in targets if model != own.model]
        complete = [(candidate, against) for candidate, against in others if candidate is not None]
        if complete and len(complete) == len(others):
            pairs[own.id] = complete
    if not pairs:
        return None
    chosen = max(pairs, key=lambda prompt: measured.difference(pairs[prompt]).mean)
    own_model = next(prompt.candidate.model for prompt in prompts if prompt.candidate.id == chosen)
    return BestTransfer(
        prompt=chosen,
        models=tuple(model for model in targets if model != own_model),
        gain=measured.difference(pairs[chosen], among=len(pairs)),
        compared=len(pairs),
    )


def _baselines(prompts: Iterable[Prompt], defaults: Mapping[str, str]) -> dict[str, str]:
    """Model -> candidate id of the baseline of transferred prompts there."""
    own = {prompt.candidate.model: prompt.candidate.id for prompt in prompts if prompt.best}
    return {**own, **defaults}


def _foreign(prompts: Iterable[Prompt], cells: Iterable[Cell], measured: Measured) -> dict[str, list[Cell]]:
    """Model -> the cells of other models' prompts that can be compared there."""
    own = {prompt.candidate.id: prompt.candidate.model for prompt in prompts}
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.candidate is not None and own[cell.prompt] != cell.model and measured.covered(cell.candidate):
            found.setdefault(cell.model, []).append(cell)
    return found


def answer(
    prompts: Sequence[Prompt], found: Sequence[TransferResult], best: BestTransfer | None, new: Sequence[str]
) -> str:
    """The result in words: which prompt transfers best, and what it brings on each new model.

    Args:
        prompts: What was transferred.
        found: The best transferred prompt of each model.
        best: The prompt that transfers best.
        new: Names of the new models; without any, the study's own are spoken of.
    """
    said = []
    if best is not None and len(best.models) > 1:
        baseline = "the plain default" if new else "their own best"
        said.append(
            f"{_named(prompts, best.prompt)} transfers best: {_interval(best.gain)} to {baseline}, "
            f"on average over {', '.join(_short(model) for model in best.models)}."
        )
    for result in found:
        if new and result.model not in new:
            continue
        cost = "" if result.cost_ratio is None else f", at {result.cost_ratio:.0%} of its cost"
        said.append(
            f"On {_short(result.model)}, {_named(prompts, result.prompt)} is the best of "
            f"{result.compared} transferred: {result.quality.mean:.3f} against "
            f"{result.baseline_quality.mean:.3f} of its {result.baseline}, {_interval(result.gain)}"
            f"{cost}: {_verdict(result.gain)}."
        )
    return " ".join(said) or "No prompt could be compared on a model it was not made for."


def _named(prompts: Iterable[Prompt], candidate: str) -> str:
    prompt = next(prompt for prompt in prompts if prompt.candidate.id == candidate)
    return f"prompt {prompt.number} (of {_short(prompt.candidate.model)})"


def _short(model: str) -> str:
    return model.rsplit("/", 1)[-1].removesuffix(".gguf")


def _interval(difference: Difference) -> str:
    return (
        f"{difference.mean:+.3f} (95% interval {difference.low:+.3f} to {difference.high:+.3f}, "
        f"n = {difference.n})"
    )


def _verdict(difference: Difference) -> str:
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not told apart"
