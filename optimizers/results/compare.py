"""Two finished studies compared, from their records: no model, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from optimizers.errors import StudyError
from optimizers.records.candidate import Candidate
from optimizers.records.fingerprint import Part, changes, study_fingerprint
from optimizers.records.folder import StudyFolder
from optimizers.records.prediction import Amount
from optimizers.records.record import Record
from optimizers.records.report import Comparison, Point
from optimizers.records.rows import StudyManifest
from optimizers.results.finished_study import Gap, Measured, Study, open_study
from optimizers.results.headline import is_binary
from optimizers.results.statistics.intervals import unpaired_difference
from optimizers.results.statistics.pareto import hypervolume
from optimizers.results.verdict import Contender, compare_pairs

FEWEST_SHARED = 30
"""Shared test examples below which nothing is paired."""

SHARED_SHARE = 0.5
"""Share of the smaller test set that must be shared, or a pairing would leave most of both out."""

METRIC: tuple[Part, ...] = ("metric", "metric_source")
"""What two studies must share for their scores to be comparable."""

ALL_MODELS = "all models"

NONE = "none"


class Difference(Record):
    """Something in which two studies, or two candidates, differ.

    Attributes:
        what: What differs.
        a: What it is in the first.
        b: What it is in the second.
    """

    what: str
    a: str
    b: str


class Contest(Record):
    """A candidate of the second study and its counterpart in the first.

    Attributes:
        of: What they are the best of: ``all models``, a model's name, or both.
        a: The first study's.
        b: The second study's.
        same: Whether they are one and the same candidate, measured twice.
        gap: The second's test score minus the first's; None where either has none.
        comparison: Non-inferiority of the second to the first; None where not paired.
        cost_ratio: Serving cost of the second over the first's, each at its own study's prices;
            None where the first costs nothing.
        choices: In which choices they differ.
    """

    of: str
    a: Measured
    b: Measured
    same: bool
    gap: Gap | None
    comparison: Comparison | None
    cost_ratio: float | None
    choices: tuple[Difference, ...]


class StudyComparison(Record):
    """Two finished studies compared, the second with the first.

    Attributes:
        a: Name of the first.
        b: Name of the second.
        task_a: The first's task.
        task_b: The second's task.
        margin: Quality that may be lost: the smaller of both studies' margins.
        differences: In what the studies themselves differ.
        shared: Test examples that bests of both studies have a score for.
        tests: Test examples that the bests of each have a score for.
        contests: The best of all, then each model's that both studies have.
        covered: Share of the quality-cost plane that each frontier dominates on test, on common
            bounds of cost; None where a frontier has no tested point of known cost.
        spend_a: What the first used.
        spend_b: What the second used.
        notes: What a reader must know before trusting the numbers.
        binary: Whether every score of both is 0 or 1.
    """

    a: str
    b: str
    task_a: str
    task_b: str
    margin: float
    differences: tuple[Difference, ...]
    shared: int
    tests: tuple[int, int]
    contests: tuple[Contest, ...]
    covered: tuple[float, float] | None
    spend_a: Amount | None
    spend_b: Amount | None
    notes: tuple[str, ...]
    binary: bool


def compare_studies(a: StudyFolder, b: StudyFolder) -> StudyComparison:
    """Compare the second study with the first.

    Raises:
        StudyError: One has not finished, its records cannot be read, or their metrics differ.
    """
    with ExitStack() as stack:
        first, second = (stack.enter_context(open_study(folder)) for folder in (a, b))
        _check_metric(first.manifest, second.manifest)
        return _compare(first, second)


def _check_metric(a: StudyManifest, b: StudyManifest) -> None:
    """Refuse scores of two metrics.

    Raises:
        StudyError: The metrics differ, by name or by source.
    """
    differing = {one.part for one in changes(study_fingerprint(a), study_fingerprint(b), METRIC)}
    if "metric" in differing:
        what = f"{a.name} is scored by {a.metric}, {b.name} by {b.metric}"
    # Studies of earlier versions did not record the source.
    elif differing and a.metric_hash and b.metric_hash:
        what = f"the source of {a.metric} is another in {a.name} than in {b.name}"
    else:
        return
    raise StudyError(
        f"The studies' scores cannot be compared: {what}.",
        where="optimize compare",
        fix="run one of them again with the other's metric",
    )


def _compare(a: Study, b: Study) -> StudyComparison:
    margin = min(a.manifest.margin, b.manifest.margin)
    bests = _pairs_of_bests(a, b)
    fought = [(_contender(b, other), _contender(a, one)) for _, one, other in bests]
    contests = tuple(_contests(bests, fought, margin, max(a.manifest.min_coverage, b.manifest.min_coverage)))
    tests = [set[str]().union(*(both[place].scores for both in fought)) for place in (1, 0)]
    return StudyComparison(
        a=a.manifest.name,
        b=b.manifest.name,
        task_a=a.manifest.task,
        task_b=b.manifest.task,
        margin=margin,
        differences=tuple(differences(a.manifest, b.manifest)),
        shared=len(tests[0] & tests[1]),
        tests=(len(tests[0]), len(tests[1])),
        contests=contests,
        covered=_covered(a, b),
        spend_a=a.report.spend.total if a.report.spend else None,
        spend_b=b.report.spend.total if b.report.spend else None,
        notes=tuple(_notes(a.manifest, b.manifest, contests)),
        binary=is_binary(a.report) and is_binary(b.report),
    )


def differences(a: StudyManifest, b: StudyManifest) -> Iterable[Difference]:
    """In what two studies differ, what matters most first; their names and dates left out."""
    told: list[tuple[str, object, object]] = [
        ("task", a.task, b.task),
        ("program file (hash)", a.program_hash, b.program_hash),
        ("data (hash of the examples and their split)", a.data_hash, b.data_hash),
        ("examples", _sizes(a), _sizes(b)),
        ("models", _models(a), _models(b)),
        *((f"price of {name}", *both) for name, both in _prices(a, b)),
        ("reference", a.reference, b.reference),
        ("margin", f"{a.margin:g}", f"{b.margin:g}"),
        ("coverage needed", f"{a.min_coverage:g}", f"{b.min_coverage:g}"),
        ("objectives", ", ".join(a.objectives), ", ".join(b.objectives)),
        ("budget", str(a.budget) or NONE, str(b.budget) or NONE),
        ("seed", a.seed, b.seed),
        ("proposer", a.proposer.name if a.proposer else NONE, b.proposer.name if b.proposer else NONE),
        ("began with the prompts of", a.started_from or NONE, b.started_from or NONE),
    ]
    packages = dict.fromkeys([*a.versions, *b.versions])
    told += [(name, a.versions.get(name, NONE), b.versions.get(name, NONE)) for name in packages]
    return [Difference(what=what, a=str(one), b=str(other)) for what, one, other in told if one != other]


def _sizes(manifest: StudyManifest) -> str:
    sizes = manifest.sizes
    return f"{sizes.train} train, {sizes.dev} dev, {sizes.test} test"


def _models(manifest: StudyManifest) -> str:
    return ", ".join(sorted(model.name for model in manifest.models))


def _prices(a: StudyManifest, b: StudyManifest) -> Iterable[tuple[str, tuple[str, str]]]:
    """Prices of the models that both studies have, in US dollars per million tokens in and out."""
    prices = [
        {model.name: f"{model.price.input:g} / {model.price.output:g}" for model in study.models}
        for study in (a, b)
    ]
    return [(name, (price, prices[1][name])) for name, price in prices[0].items() if name in prices[1]]


def _contests(
    bests: Sequence[tuple[str, Point, Point]],
    fought: Sequence[tuple[Contender, Contender]],
    margin: float,
    min_coverage: float,
) -> Iterable[Contest]:
    """Each pair of bests with its verdict: all verdicts are of one family."""
    paired = [place for place, both in enumerate(fought) if _is_paired(*both)]
    comparisons = compare_pairs(
        [fought[place] for place in paired],
        against=[bests[place][1].candidate.id for place in paired],
        margin=margin,
        min_coverage=min_coverage,
    )
    judged = dict(zip(paired, comparisons, strict=True))
    for place, (of, one, other) in enumerate(bests):
        yield Contest(
            of=of,
            a=Measured.of(one),
            b=Measured.of(other),
            same=one.candidate.id == other.candidate.id,
            gap=_paired(judged[place]) if place in judged else _unpaired(other, one),
            comparison=judged.get(place),
            cost_ratio=other.cost / one.cost if one.cost > 0 else None,
            choices=tuple(choice_differences(one.candidate, other.candidate)),
        )


def _pairs_of_bests(a: Study, b: Study) -> list[tuple[str, Point, Point]]:
    """What is compared: each study's best, and the best of each model both have."""
    pairs = [(ALL_MODELS, _best(a), _best(b))]
    pairs += [
        (a.names[model.name], a.with_role(model.name, "best"), b.with_role(model.name, "best"))
        for model in a.manifest.models
    ]
    found: dict[tuple[str, str], tuple[str, Point, Point]] = {}
    for of, one, other in pairs:
        if one is not None and other is not None:
            # Often the best of all is the best of a model: such a pair is compared once.
            both = one.candidate.id, other.candidate.id
            found[both] = (f"{found[both][0]}, {of}" if both in found else of, one, other)
    return list(found.values())


def _best(study: Study) -> Point | None:
    """The best of a study by dev, among each model's best."""
    bests = [study.with_role(model.name, "best") for model in study.manifest.models]
    return max((point for point in bests if point), key=lambda point: point.dev.mean, default=None)


def _contender(study: Study, point: Point) -> Contender:
    return Contender(
        scores=study.scores(point, "test"),
        cost=point.cost,
        coverage=point.test.coverage if point.test else 1.0,
        groups=study.groups,
    )


def _is_paired(one: Contender, other: Contender) -> bool:
    """Whether two candidates ran enough of the same test examples."""
    shared, smaller = len(one.scores.keys() & other.scores.keys()), min(len(one.scores), len(other.scores))
    return shared >= FEWEST_SHARED and shared >= SHARED_SHARE * smaller


def _paired(found: Comparison) -> Gap:
    return Gap(difference=found.difference, low=found.low, high=found.high, n=found.n, split="test")


def _unpaired(one: Point, other: Point) -> Gap | None:
    if not (one.test and other.test and one.test.n and other.test.n):
        return None
    difference, low, high = unpaired_difference(one.test, other.test)
    n = min(one.test.n, other.test.n)
    return Gap(difference=difference, low=low, high=high, n=n, split="test", paired=False)


def choice_differences(a: Candidate, b: Candidate) -> Iterable[Difference]:
    """In which choices two candidates differ, predictor by predictor."""
    if a.predictors.keys() != b.predictors.keys():
        yield Difference(what="predictors", a=", ".join(a.predictors), b=", ".join(b.predictors))
        return
    for name in a.predictors:
        prefix = f"{name}: " if len(a.predictors) > 1 else ""
        first, second = _choices(a, name), _choices(b, name)
        for what in first:
            if first[what] != second[what]:
                yield Difference(what=prefix + what, a=first[what], b=second[what])
        demos = [candidate.predictors[name].demos for candidate in (a, b)]
        if demos[0] != demos[1] and first["demos"] == second["demos"]:
            common = sum(demo in demos[1] for demo in demos[0])
            what = f"{prefix}the demos themselves, {common} in common"
            yield Difference(what=what, a=str(len(demos[0])), b=str(len(demos[1])))


def _choices(candidate: Candidate, predictor: str) -> dict[str, str]:
    serving, prompt = candidate.serving(predictor), candidate.predictors[predictor]
    return {
        "model": serving.model,
        "rendering": serving.rendering,
        "technique": serving.technique,
        "sampling": serving.sampling.summary or "greedy",
        "most tokens of a reply": str(serving.sampling.max_tokens),
        "instruction": prompt.instruction_name,
        "its text": prompt.instruction,
        "demos": prompt.demos_name,
    }


def _covered(a: Study, b: Study) -> tuple[float, float] | None:
    """What each frontier covers on test, between the cheapest and the dearest candidate of both."""
    costs = [point.cost for study in (a, b) for point in study.points if point.cost > 0]
    fronts = [
        [
            point
            for point in study.report.with_role("frontier")
            if point.cost > 0 and point.test and point.test.n
        ]
        for study in (a, b)
    ]
    if not all(fronts):
        return None
    first, second = (_volume(front, min(costs), max(costs) * 1.1) for front in fronts)
    return first, second


def _volume(front: Sequence[Point], cheapest: float, dearest: float) -> float:
    return hypervolume(
        [point.test.mean if point.test else 0.0 for point in front],
        [point.cost for point in front],
        best_cost=cheapest,
        worst_cost=dearest,
    )


def _notes(a: StudyManifest, b: StudyManifest, contests: Sequence[Contest]) -> Iterable[str]:
    differing = {one.part for one in changes(study_fingerprint(a), study_fingerprint(b))}
    if differing & {"task", "program"}:
        yield "The programs differ: a difference may come from the program as well as from its prompts."
    if "margin" in differing:
        yield f"The margins differ; the smaller one, {min(a.margin, b.margin):g}, is used."
    if any(contest.gap and not contest.gap.paired for contest in contests):
        yield (
            "Unpaired: too few test examples are shared to pair them (at least "
            f"{FEWEST_SHARED}, and half of the smaller test set). The interval is of two separate "
            "measurements, and the difference is of the prompts and of the examples. Without pairs there is "
            "no verdict."
        )
    if "data" in differing:
        yield (
            "The data differ. Only examples that were sealed in both studies are paired, and each frontier "
            "is measured on its own study's test examples."
        )
    yield (
        "Choosing a study by this table chooses on test: the more studies are compared, the more luck is in "
        "the winner's score."
    )
