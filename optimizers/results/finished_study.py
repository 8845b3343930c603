"""A finished study's records, open for reading, and what is said of its candidates: no model, no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from optimizers.errors import StudyError
from optimizers.records.folder import StudyFolder
from optimizers.records.ledger import Ledger
from optimizers.records.read_only import reading
from optimizers.records.record import Record
from optimizers.records.report import Estimate, FrontierReport, Point, Role
from optimizers.records.rows import ExampleRow, Rollout, Split, StudyManifest
from optimizers.results.wording import labels_of


class Measured(Record):
    """A candidate in a few words, and what it scored.

    Attributes:
        candidate: Its id.
        label: Its models' short names.
        summary: Its choices in a few words.
        roles: Why it is in the study's report.
        dev: Quality on dev.
        test: Quality on the sealed test, where it was tested.
        cost: Mean serving cost of a rollout, US dollars.
        latency: Median seconds of a rollout.
    """

    candidate: str
    label: str
    summary: str
    roles: tuple[Role, ...]
    dev: Estimate
    test: Estimate | None
    cost: float
    latency: float

    @classmethod
    def of(cls, point: Point) -> Measured:
        """A point of the study's report."""
        return cls(
            candidate=point.candidate.id,
            label=point.candidate.label,
            summary=point.candidate.summary,
            roles=point.roles,
            dev=point.dev,
            test=point.test if point.test and point.test.n else None,
            cost=point.cost,
            latency=point.latency,
        )


class Gap(Record):
    """The difference of two candidates in mean score.

    Attributes:
        difference: First minus second.
        low: Lower end of its 95% interval.
        high: Upper end of it.
        n: Pairs compared; the smaller number of examples where they are not paired.
        split: The examples it is measured on.
        paired: Whether both were measured on the same examples.
    """

    difference: float
    low: float
    high: float
    n: int
    split: Split
    paired: bool = True


@dataclass(frozen=True)
class Study:
    """A finished study's records, open.

    Attributes:
        manifest: What it is about.
        report: Its result.
        ledger: Its ledger.
        examples: Example id -> example, of dev and test.
        names: Model name -> short name, the whole one where two share that.
    """

    manifest: StudyManifest
    report: FrontierReport
    ledger: Ledger
    examples: Mapping[str, ExampleRow]
    names: Mapping[str, str]

    @property
    def points(self) -> list[Point]:
        """What was measured, from cheapest to dearest."""
        return [point for point in self.report.points if point.dev.n or (point.test and point.test.n)]

    @property
    def groups(self) -> dict[str, str]:
        """Example id -> group, for examples that come in groups."""
        return {row.id: row.group for row in self.examples.values() if row.group is not None}

    def with_role(self, model: str, role: Role) -> Point | None:
        """The point that plays a role for a model."""
        own = (point for point in self.points if point.candidate.models == (model,))
        return next((point for point in own if role in point.roles), None)

    def rows(self, point: Point, split: Split) -> dict[str, Rollout]:
        """Example id -> a point's first rollout of it, failures included."""
        rows = self.ledger.rollouts(candidate=point.candidate.id, split=split)
        return {row.example: row for row in rows if row.number == 0}

    def scores(self, point: Point, split: Split) -> dict[str, float]:
        """Example id -> a point's score."""
        return {example: r.score for example, r in self.rows(point, split).items() if r.score is not None}


@contextmanager
def open_study(folder: StudyFolder) -> Iterator[Study]:
    """A finished study's records, to be read while the block runs.

    Raises:
        StudyError: The study has not finished, or its ledger is gone.
    """
    manifest, report = folder.read_manifest(), folder.read_report()
    if not folder.ledger.is_file():
        raise StudyError(
            "The study's ledger is missing, so nothing is known of its rollouts.",
            where=str(folder.ledger),
            fix="restore the file; optimize frontier shows the result without it",
        )
    with reading(folder.ledger) as ledger:
        yield Study(
            manifest=manifest,
            report=report,
            ledger=ledger,
            examples=ledger.examples(),
            names=labels_of(model.name for model in manifest.models),
        )
