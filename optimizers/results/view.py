"""A finished study as people read it: one view model, which every renderer lays out.

Everything is computed and worded here, from records alone. A renderer chooses fonts and columns, and
escapes what it writes: names, notes and sentences hold text of users and models.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from optimizers.models.pricing import is_assumed
from optimizers.records.prediction import Amount
from optimizers.records.record import Record
from optimizers.records.report import FrontierReport, Point
from optimizers.records.rows import StudyManifest
from optimizers.results.headline import Headline, headline, is_binary, label_of, names_of
from optimizers.results.wording import (
    PHASES,
    allowed,
    briefs_of,
    clock,
    examples_in,
    interval,
    level,
    level_range,
    loss,
    money,
    points,
    right,
    to_settle,
    verdict,
)

ASSUMED = "*"
"""Marks a price that is assumed from the model's size."""

NOTHING_GAINED = "Prompting gained nothing measurable on this task."


class Table(Record):
    """Cells in words.

    Attributes:
        columns: Headings; empty ones for columns that need none.
        rows: Cells, as many per row as there are columns.
        right: Columns aligned on the right.
        ids: Candidate id of each row, where a row is about one.
        bare: Whether it reads without its headings.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    bare: bool = False


class Section(Record):
    """A part of what is shown: a title, then a table, then named facts, then lines. Any may be absent."""

    title: str = ""
    table: Table | None = None
    facts: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()


class ResultView(Record):
    """What the end of a run shows.

    Attributes:
        study: The study's name.
        headline: The question and its answer.
        bests: The best prompt of each model, and how far each falls short of the reference's.
        gains: What the search gained over each model's plain prompt.
        prices: What each price buys: the frontier and each model's best, cheapest first.
        closing: What to do, how far to trust it, what was spent.
    """

    study: str
    headline: Headline
    bests: Section
    gains: Section
    prices: Section
    closing: tuple[tuple[str, str], ...]


def result_view(
    report: FrontierReport, manifest: StudyManifest | None = None, *, runs: str = ""
) -> ResultView:
    """What the end of a run shows, from a study's result.

    Args:
        report: The result.
        manifest: The study; without it no price is marked as assumed and no command is named.
        runs: Folder of studies that commands must be told, where it is not the one they look in.
    """
    return _View(report, manifest, runs).whole()


class _View:
    """The parts of one view, which share names, kind of scores and prices."""

    def __init__(self, report: FrontierReport, manifest: StudyManifest | None, runs: str) -> None:
        self.report, self.manifest = report, manifest
        self.runs = f" --runs {quote(runs)}" if runs else ""
        self.binary = is_binary(report)
        self.names = names_of(report)
        self.briefs = briefs_of(self.names)
        self.headline = headline(report)
        priced = manifest.models if manifest else ()
        self.assumed = {model.name for model in priced if is_assumed(model.price)}
        self.tested = [p for p in report.points if p.test is not None and p.test.n]
        self.rows = max((p.test.n for p in self.tested if p.test), default=0)

    def whole(self) -> ResultView:
        return ResultView(
            study=self.report.study,
            headline=self.headline,
            bests=self.bests(),
            gains=self.gains(),
            prices=self.prices(),
            closing=tuple(self.closing()),
        )

    def bests(self) -> Section:
        """The reference's best first, then the others', dearest last, and the gap of each."""
        subject = [p for p in self.tested if p.candidate.id == self.headline.point]
        shown = {p.candidate.id: p for p in [*self._bests(), *subject]}.values()
        if not shown:
            return Section()
        ordered = sorted(shown, key=lambda p: ("reference" not in p.roles, p.cost))
        reference = next((p for p in ordered if "reference" in p.roles), None)
        others = [p for p in ordered if p is not reference]
        rows = [
            (label_of(p, self.names), self._scored(p), self._priced(p), self._part(p, reference))
            for p in ordered
        ]
        return Section(
            title=f"Best prompt of each, {self.rows:,} sealed rows"
            if others
            else f"On {self.rows:,} sealed rows",
            table=Table(
                columns=("model", "sealed test", "cost", "of the reference's cost"),
                rows=tuple(rows),
                ids=tuple(p.candidate.id for p in ordered),
                bare=True,
            ),
            facts=tuple(self._gaps(others)),
        )

    def _bests(self) -> list[Point]:
        return [p for p in self.tested if "best" in p.roles or "reference" in p.roles]

    def _reached(self, point: Point) -> str:
        if point.test is None or not point.test.n:
            return "not tested"
        return right(point.test, binary=self.binary, of=self.rows)

    def _scored(self, point: Point) -> str:
        """A tested point's score and its 95% interval."""
        assert point.test is not None
        unit = " right" if self.binary else ""
        return f"{self._reached(point)}{unit} ({level_range(point.test, binary=self.binary)})"

    def _priced(self, point: Point) -> str:
        mark = f" {ASSUMED}" if self.assumed & set(point.candidate.models) else ""
        return f"${money(1000 * point.cost)} per 1,000{mark}"

    def _part(self, point: Point, reference: Point | None) -> str:
        """The share of the reference's cost."""
        if point is reference or point.comparison is None:
            return "reference" if point is reference and len(self._bests()) > 1 else ""
        ratio = point.comparison.cost_ratio
        return "" if ratio is None else f"{ratio:.0%}"

    def _gaps(self, others: list[Point]) -> Iterable[tuple[str, str]]:
        for point in others:
            found = point.comparison
            if found is None:
                continue
            name = "gap" if len(others) == 1 else f"gap of {label_of(point, self.briefs)}"
            said = f"{loss(found)}; you allowed {allowed(found.margin)}"
            yield name, said if len(others) == 1 else f"{said}: {verdict(found)}"
        yield from self._exceptions()

    def _exceptions(self) -> Iterable[tuple[str, str]]:
        """Cheaper prompts that are not settled, where the answer is no."""
        if self.headline.answer != "NO":
            return
        open_ = [
            number
            for number, point in self._numbered()
            if point.comparison and point.comparison.verdict == "indecisive" and not self._is_reference(point)
        ]
        if open_:
            named = f"rows {', '.join(open_)} below are" if len(open_) > 1 else f"row {open_[0]} below is"
            yield "but", f"{named} not settled"

    def _is_reference(self, point: Point) -> bool:
        return point.candidate.models == (self.report.reference,)

    def gains(self) -> Section:
        """Each model's plain prompt and its best, on the test."""
        best = {p.candidate.models: p for p in self._bests()}
        rows, short = [], set()
        gains: list[float | None] = []
        for default in self.report.with_role("default"):
            point = best.get(default.candidate.models, default)
            if default.test is None or not default.test.n or point.test is None:
                continue
            first, then = (level(p.test.mean, binary=self.binary) for p in (default, point) if p.test)
            if default.test.n < self.rows:
                short.add(default.test.n)
            rows.append((label_of(default, self.names), f"{first} -> {then}", _unread(default)))
            gains.append(0.0 if point is default else point.gain.low if point.gain else None)
        if not rows:
            return Section()
        ran = f" (plain prompts ran {' or '.join(map(str, sorted(short)))} of the rows)" if short else ""
        lines = [NOTHING_GAINED] if all(low is not None and low <= 0 for low in gains) else []
        return Section(
            title=f"Your plain prompt -> best{ran}",
            table=Table(columns=("model", "plain -> best", ""), rows=tuple(rows), bare=True),
            lines=(*lines, *self._above_plain()),
        )

    def _above_plain(self) -> Iterable[str]:
        """What the cheaper model's best does against the reference with the plain prompt."""
        about = next((p for p in self.tested if p.candidate.id == self.headline.point), None)
        if about is None or about.against_default is None or self._is_reference(about):
            return
        found = about.against_default.difference
        side = "above" if found >= 0 else "below"
        small, large = label_of(about, self.names), self.names[self.report.reference]
        yield f"The best of {small} is {points(abs(found))} points {side} {large} with your plain prompt."

    def _numbered(self) -> list[tuple[str, Point]]:
        """What the table of prices shows, cheapest first; without a number what is not on the frontier."""
        frontier = self.report.with_role("frontier")
        numbers = {point.candidate.id: str(place) for place, point in enumerate(frontier, start=1)}
        shown = [
            p
            for p in self.report.points
            if {"frontier", "best", "reference"} & set(p.roles) or p.candidate.id == self.headline.point
        ]
        return [(numbers.get(p.candidate.id, "-"), p) for p in shown]

    def prices(self) -> Section:
        """A row for each point that may be chosen."""
        numbered = self._numbered()
        if not numbered:
            return Section()
        rows = [
            (
                number,
                label_of(point, self.briefs),
                examples_in(point.candidate),
                self._reached(point),
                money(1000 * point.cost),
                points(-point.comparison.difference) if point.comparison else "",
                "; ".join(self._standing(point)),
            )
            for number, point in numbered
        ]
        mark = f" {ASSUMED}" if self.assumed else ""
        score = "right" if self.binary else "score"
        return Section(
            title="What each price buys",
            table=Table(
                columns=("", "model", "prompt", score, f"$/1,000{mark}", "short by", ""),
                rows=tuple(rows),
                right=(0, 3, 4, 5),
                ids=tuple(point.candidate.id for _, point in numbered),
            ),
        )

    def _standing(self, point: Point) -> Iterable[str]:
        """The verdict on a point, and how much of its score changes on a second run."""
        if "reference" in point.roles:
            yield "reference"
        elif point.comparison is not None:
            found = point.comparison
            open_ = f" ({interval(-found.high, -found.low)})" if found.verdict == "indecisive" else ""
            yield f"{verdict(found, unit='')}{open_}"
        if point.noise is not None and point.noise.changed:
            yield f"{point.noise.changed:.0%} of scores change on a rerun"

    def closing(self) -> Iterable[tuple[str, str]]:
        """What to do, how far to trust it, what it took."""
        if do := self._do():
            yield "Do", do
        if trust := self._trust():
            yield "Trust", trust
        if self.assumed:
            yield ASSUMED, "price assumed from model size"
        if self.report.spend is not None:
            yield "Spent", self._spent(self.report.spend.total)
        yield from (("Next", command) for command in self._commands())

    def _do(self) -> str:
        found = next((p for p in self.tested if p.candidate.id == self.headline.point), None)
        large = self.names[self.report.reference]
        if self.headline.answer is None or found is None or found.comparison is None:
            return ""
        if self.headline.answer == "YES":
            return f"use {label_of(found, self.names)}, prompt {found.candidate.id}."
        if self.headline.answer == "NO":
            return f"keep {large}."
        return f"keep {large} for now. {to_settle(found.comparison)}".rstrip()

    def _trust(self) -> str:
        predicted = self.report.prediction
        if predicted is None or self.headline.answer is None or predicted.detectable <= self.report.margin:
            return ""
        return (
            f"{self.rows:,} rows show gaps of {points(predicted.detectable)} points and more; "
            f"you allowed {allowed(self.report.margin)}."
        )

    def _spent(self, total: Amount) -> str:
        spend, predicted = self.report.spend, self.report.prediction
        said = f"{total.calls:,.0f} calls, ${money(total.dollars)}, {clock(total.seconds)}"
        if predicted is not None:
            of = predicted.total
            said += f" (predicted {of.calls:,.0f}, ${money(of.dollars)}, {clock(of.seconds)})"
        calls = spend.by_phase if spend else {}
        order = [*(key for key in PHASES if key in calls), *(key for key in calls if key not in PHASES)]
        if phases := [f"{PHASES.get(key, key)} {calls[key]:,}" for key in order]:
            said += f": {', '.join(phases)}"
        trouble = [
            f"{spend.by_state[s]:,} {s}" for s in ("failed", "lost") if spend and spend.by_state.get(s)
        ]
        return said + (f"; {' and '.join(trouble)} without an answer" if trouble else "")

    def _commands(self) -> Iterable[str]:
        """Commands that run: an export needs a program file."""
        if self.manifest is None:
            return
        study = quote(self.report.study)
        chosen = self.headline.point if self.headline.answer == "YES" else self.headline.reference
        chosen = chosen or self.headline.point
        if chosen and self.manifest.has_program_file:
            yield f"optimize export {study} --point {chosen}{self.runs}"
        yield f"optimize report {study}{self.runs}"
        if self.tested:
            yield f"optimize advise {study}{self.runs}"


def _unread(default: Point) -> str:
    """Why a plain prompt scored low, where replies could not be read."""
    if default.test is None or 2 * default.unread < default.test.n:
        return ""
    if default.unread == default.test.n:
        return "no plain reply kept the output format"
    return f"{default.unread} of {default.test.n} plain replies did not keep the output format"
