"""Does an export give its own tool the outputs that were measured? Every target, in a fresh environment.

    python tests/benchmarks/exports.py STUDY [STUDY ...]
    python tests/benchmarks/exports.py classify-448c10 --target prompty

Each target is tried on one greedy point with text to continue and one with chat prompts: a frontier point
if the target can carry one, the best on test first, from the first study that has one. Sampled replies do
not repeat, so points with a temperature are left out. The compiled program is run directly on dev
examples, with the embedded engine and past any cache; then each tool is installed in an environment of its
own and answers the same examples from the export, one at a time. Tools that need a server use one on
loopback with the same weights and settings, which records the requests.

Studies are copied to the work folder first, so that nothing is registered in their own store. Outcomes are
kept there: `--target` measures one again, and the table has all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablations import write_between
from benchmarks.export_direct import DirectRun, endpoint, in_order, rows_of, run_directly
from benchmarks.export_server import serving
from benchmarks.export_tools import ROOT, TOOLS, Found, Use

from optimizers.errors import ExportError, ParityError
from optimizers.export import TARGETS
from optimizers.export.mlflow_model import MARK, answers_of
from optimizers.export.point import Exported, rebuild
from optimizers.export.program_sources import sources_of
from optimizers.export.targets.dspy_program import MANIFEST
from optimizers.models.llama import shared_engine
from optimizers.prompting.renderings.fields import format_value, label, one_line
from optimizers.records.folder import StudyFolder

RESULTS = ROOT / "tests" / "benchmarks" / "RESULTS.md"
BEGIN, END = "<!-- exports: begin -->", "<!-- exports: end -->"
ROWS = 50
KINDS = {"completion": "text to continue", "chat": "chat"}
NOT_SETTINGS = ("prompt", "messages", "cache_prompt", "model")
"""Parts of a request that are no setting."""


@dataclass(frozen=True)
class Outcome:
    """A line of the table.

    Attributes:
        target: The export's.
        kind: Of :data:`KINDS`.
        point: The point; empty where the target carries none.
        tool: Its name and version.
        rows: Examples run, or rows of files read.
        same: Rows with identical outputs; None where there is nothing to compare.
        alike: Requests with identical messages; None where the tool shows none.
        requests: Requests compared.
        notes: Remarks.
    """

    target: str
    kind: str
    point: str = ""
    tool: str = ""
    rows: int = 0
    same: int | None = None
    alike: int | None = None
    requests: int = 0
    notes: str = ""


@dataclass(frozen=True)
class Chosen:
    """The point that a target is tried on.

    Attributes:
        target: The target.
        kind: Of :data:`KINDS`.
        exported: The point.
        app: Folder with the export.
        notes: Why it is not a better point.
    """

    target: str
    kind: str
    exported: Exported
    app: Path
    notes: str

    @property
    def key(self) -> tuple[str, str]:
        """The point, as direct runs are kept by it."""
        return self.exported.manifest.name, self.exported.point.candidate.id


def choose(target: str, kind: str, studies: Sequence[StudyFolder], work: Path) -> Chosen | Outcome:
    """Export the best point that a target can carry, or say why there is none."""
    app, refused = work / f"{target}-{kind}", ""
    known = [(study, point) for study in studies for point in in_order(study.read_report())]
    known = [(study, point) for study, point in known if endpoint(point.candidate) == kind]
    for study, point in sorted(known, key=lambda one: "frontier" not in one[1].roles):
        shutil.rmtree(app, ignore_errors=True)
        (app / "export").mkdir(parents=True)
        exported = rebuild(study, point.candidate.id)
        try:
            TARGETS[target](exported, app / "export")
        except ExportError as error:
            refused = refused or error.what
            continue
        notes = (
            ""
            if "frontier" in point.roles
            else "a point of the search: the target carries none of the frontier with such prompts"
        )
        return Chosen(target, kind, exported, app, notes)
    return Outcome(target, kind, notes=refused or f"no greedy point of these studies is {KINDS[kind]}")


def prepare(chosen: Chosen, rows: Sequence[DirectRun]) -> None:
    """Write the questions for the tool, and next to a DSPy export its program."""
    questions = [
        {
            "id": row.id,
            "inputs": row.inputs,
            "steps": [{"predictor": step.predictor, "inputs": step.inputs} for step in row.steps],
        }
        for row in rows
    ]
    content = {"outputs": list(answers_of(chosen.exported)), "rows": questions}
    (chosen.app / "questions.json").write_text(json.dumps(content), encoding="utf-8")
    if (chosen.app / "export" / MANIFEST).is_file():
        (chosen.app / "pyproject.toml").write_text(MARK, encoding="utf-8")
        for file in sources_of(ROOT / chosen.exported.manifest.program, ROOT).files:
            copied = chosen.app / file.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)


def compared(chosen: Chosen, rows: Sequence[DirectRun], found: Found, sent: list[Any], tool: str) -> Outcome:
    """Compare a tool's outputs and requests with those of the direct runs."""
    notes = [chosen.notes] if chosen.notes else []
    same = [_same(row, given) for row, given in zip(rows, found["rows"], strict=True)]
    if False in same:
        notes.append(f"the first that differs is example {rows[same.index(False)].id}")
    sent = sent or [body for given in found["rows"] for body in given.get("bodies", ())]
    direct = [step.body for row in rows for step in row.steps]
    alike, requests = None, 0
    if sent and len(sent) != len(direct):
        notes.append(f"{len(sent)} requests rather than {len(direct)}")
    elif sent:
        pairs, requests = list(zip(direct, sent, strict=True)), len(sent)
        alike = sum(_prompt(one) == _prompt(other) for one, other in pairs)
        notes += _settings(pairs)
    formatted = [prompt for given in found["rows"] for prompt in given.get("prompts", ())]
    if formatted:
        requests, notes = len(formatted), [*notes, "messages: as the prompt registry formats them"]
        alike = sum(_prompt(one) == other for one, other in zip(direct, formatted, strict=True))
    if "passed" in found:
        agree = sum(passed == (row.score == 1) for passed, row in zip(found["passed"], rows, strict=True))
        notes.append(f"its checks judge {agree} of {len(rows)} as the metric does")
    return Outcome(
        chosen.target,
        chosen.kind,
        _named(chosen),
        tool,
        len(rows),
        sum(same),
        alike,
        requests,
        "; ".join(notes),
    )


def _same(row: DirectRun, given: dict[str, Any]) -> bool:
    wanted = {
        "answer": row.answer,
        "values": [step.values for step in row.steps],
        "replies": [step.reply for step in row.steps],
    }
    shared = wanted.keys() & given.keys()
    return bool(shared) and all(given[name] == wanted[name] for name in shared)


def _prompt(body: Any) -> Any:
    return body.get("prompt", body.get("messages"))


def _settings(pairs: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    """Notes on settings that differ and on additional settings."""
    differing = {
        name for one, other in pairs for name in one.keys() - {*NOT_SETTINGS} if one[name] != other.get(name)
    }
    more = {name for one, other in pairs for name in other.keys() - one.keys() - {*NOT_SETTINGS}}
    if differing:
        yield f"settings that differ: {', '.join(sorted(differing))}"
    if more:
        yield f"also sent: {', '.join(sorted(more))}"


def _named(chosen: Chosen) -> str:
    study, point = chosen.key
    candidate = chosen.exported.point.candidate
    serving = [candidate.serving(name) for name in candidate.predictors]
    served = dict.fromkeys(
        f"{one.model.partition('/')[2]}, {one.rendering}, {one.technique}" for one in serving
    )
    steps = f", {len(serving)} predictors" if len(serving) > 1 else ""
    return f"{study} {point}: {'; '.join(served)}{steps}"


def leaked(exported: Exported, folder: Path) -> int:
    """Number of dev and test examples with an input that is a line of a fine-tuning file."""
    lines = {
        line.removeprefix(f"{label(name)}: ").strip()
        for path in folder.glob("*.jsonl")
        for row in path.read_text(encoding="utf-8").splitlines()
        for line in "\n".join(_texts(json.loads(row))).splitlines()
        for name in _inputs_of(exported)
    }
    kept = [*exported.task.dataset.dev, *exported.task.dataset.test]
    return sum(
        any(one_line(format_value(value)) in lines for value in each.inputs().values()) for each in kept
    )


def _inputs_of(exported: Exported) -> set[str]:
    return {
        name
        for predictor in exported.compiled.module.predictors()
        for name in predictor.signature.input_fields
    }


def _texts(value: Any) -> Iterator[str]:
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, str):
        yield value
    for one in held:
        yield from _texts(one)


def try_files(chosen: Chosen, use: Use) -> Outcome:
    """Let the readers of fine-tuning files read them."""
    tool = TOOLS[chosen.target]
    (chosen.app / "questions.json").write_text("{}", encoding="utf-8")
    found = tool.use(use)
    said = ", ".join(f"{name} {count}" for name, count in sorted(found["taken"].items()))
    dataset, leaks = chosen.exported.task.dataset, leaked(chosen.exported, use.export)
    notes = f"rows taken: {said}; of {len(dataset.dev) + len(dataset.test)} dev and test examples "
    notes += f"{leaks} are in them"
    if chosen.kind == "completion":
        notes += "; Mistral takes chat alone"
    return Outcome(
        chosen.target, chosen.kind, _named(chosen), tool.version(use.work), found["files"], notes=notes
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """A line per target and kind of prompt."""
    lines = ["| target | prompt | point | tool | rows | identical outputs | identical messages | notes |"]
    lines.append("|---" * 8 + "|")
    order = list(TARGETS)
    for one in sorted(outcomes, key=lambda one: (order.index(one.target), one.kind != "completion")):
        cells = [
            one.target,
            KINDS[one.kind],
            one.point or "none",
            one.tool,
            str(one.rows or ""),
            "" if one.same is None else f"{one.same} of {one.rows}",
            "" if one.alike is None else f"{one.alike} of {one.requests}",
            one.notes.replace("|", "\\|").replace("\n", " "),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class Bench:
    """One run of the command: direct runs are made once per point, outcomes are kept as they come."""

    def __init__(self, work: Path, count: int, results: Path) -> None:
        self.work, self.count, self.results = work, count, results
        self.direct: dict[tuple[str, str], list[DirectRun]] = {}

    def keep(self, outcome: Outcome) -> None:
        """Write an outcome down, and the table of all."""
        folder = self.work / "outcomes"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{outcome.target}-{outcome.kind}.json"
        path.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        kept = [Outcome(**json.loads(each.read_text(encoding="utf-8"))) for each in folder.glob("*.json")]
        write_between(self.results, BEGIN, END, table(kept))
        print(table([outcome]).splitlines()[-1], flush=True)

    def run(self, chosen: Chosen) -> None:
        """Run the program directly."""
        if chosen.key not in self.direct:
            print(f"directly: {_named(chosen)}", flush=True)
            examples = rows_of(chosen.exported, self.count)
            self.direct[chosen.key] = run_directly(chosen.exported, examples)
        prepare(chosen, self.direct[chosen.key])

    def measure(self, chosen: Chosen, address: str = "", sent: list[Any] | None = None) -> None:
        """Measure one tool; if it cannot be installed or fails, the table says so."""
        tool, use = TOOLS[chosen.target], Use(self.work, chosen.app, address)
        if chosen.target == "mlflow":
            # MLflow serves the newest export of the task, and another point was exported since.
            shutil.rmtree(use.export)
            use.export.mkdir()
            TARGETS[chosen.target](chosen.exported, use.export)
        try:
            if chosen.target == "finetune":
                outcome = try_files(chosen, use)
            else:
                found = tool.use(use)
                label = f"{tool.title} {tool.version(self.work)}"
                outcome = compared(chosen, self.direct[chosen.key], found, sent or [], label)
        except (ParityError, OSError) as error:
            said = " ".join(str(error).split())[-400:]
            outcome = Outcome(chosen.target, chosen.kind, _named(chosen), tool.title, notes=f"failed: {said}")
        self.keep(outcome)


def main() -> None:
    """Measure the requested targets, and write all outcomes into RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("study", nargs="+", help="finished studies on embedded models, the preferred first")
    parser.add_argument("--target", action="append", choices=TOOLS, help="only this one; repeatable")
    parser.add_argument("--rows", type=int, default=ROWS, help="dev examples, 50 at most")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where the studies are")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "exports", help="environments, outcomes")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file with the markers to write between"
    )
    options = parser.parse_args()
    work = options.work.resolve()
    studies = [_copied(options.runs, name, work / "studies") for name in options.study]
    bench = Bench(work, min(options.rows, ROWS), options.results)
    targets = [name for name in TOOLS if name in (options.target or TOOLS)]
    chosen = []
    for target in targets:
        for kind in KINDS:
            one = choose(target, kind, studies, work)
            if isinstance(one, Outcome):
                bench.keep(one)
            else:
                chosen.append(one)
    for one in chosen:
        if one.target != "finetune":
            bench.run(one)
    models = {model.name: model for one in chosen for model in one.exported.manifest.models}
    for model in models.values():
        shared_engine(model.name, model.context).close()
    for one in chosen:
        if not TOOLS[one.target].served:
            bench.measure(one)
    with serving(list(models.values())) as server:
        for one in chosen:
            if TOOLS[one.target].served:
                server.requests.clear()
                bench.measure(one, server.address, server.requests)


def _copied(runs: Path, name: str, to: Path) -> StudyFolder:
    """A copy of a study, so that exports are not registered in the study's own store."""
    folder = to / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(StudyFolder.at(runs, name).path, folder)
    return StudyFolder.at(to, name)


if __name__ == "__main__":
    main()
