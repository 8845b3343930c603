"""The manual and the README: commands run, Python compiles and runs, links lead somewhere."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shlex
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import typer.main
from dspy.lm15 import Message, Request, Response
from fakes import FakeEngine, Untracked, reviews

import optimizers
from optimizers.cli.app import app, main
from optimizers.cli.manual import TOPICS, page
from optimizers.errors import ParityError
from optimizers.export import TARGETS
from optimizers.models.resolve import KEYS, parse_model
from optimizers.records import budget
from optimizers.records.budget import Budget, parse_budget
from optimizers.task.data import cards as packaged_data
from optimizers.task.data.cards import CardSplit, DataCard
from optimizers.task.task import Task, load_task

ROOT = Path(__file__).parents[2]
DOCS = Path(optimizers.__file__).parent / "cli" / "docs"
TEXTS = {
    **{topic: page(topic) for topic in TOPICS},
    "README": (ROOT / "README.md").read_text(encoding="utf-8"),
}

NOT_RUN = {
    "api_base=": "a server at that address",
    "ollama_chat/": "Ollama",
    "local//path/": "a file of weights",
    "--storage": "a database server",
    "optimize dashboard": "it serves until it is interrupted",
}
"""Part of a command that no test can run -> what it needs. Such commands are taken apart all the same."""

ELSEWHERE = {
    "cd": "the workspace is where all commands run",
    "python3": "the installation, which CI runs",
    "pip": "the installation of an extra",
    ".venv/bin/pip": "the installation, which CI runs",
    ".venv/bin/python": "the tests themselves",
    "vllm": "another program's server",
    "llama-server": "another program's server",
}
"""First word of a command that is none of Parity's -> why it stands there."""

TO_DSPY = "fix:   export to dspy"
"""How an export is refused that would not behave as the point does: which point leads is up to the search."""

UNMET = 3

MOST_TRIALS = 5
"""Trials of a study here: what a command does is looked at, not what a search finds."""


@dataclasses.dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in some languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language in languages]


def commands(text: str) -> list[str]:
    """The commands in a page's blocks, in order."""
    typed = "".join(blocks(text, "bash"))
    typed += "".join(re.findall(r"^\$ (.*\n)", "".join(blocks(text, "console")), re.MULTILINE))
    lines = typed.replace("\\\n", " ").splitlines()
    return [part.strip() for line in lines if line.strip() for part in line.split(" && ")]


def arguments(command: str) -> list[str] | None:
    """What stands after ``optimize``, the name of the command first; None for another program."""
    program, *words = shlex.split(command)
    if Path(program).name != "optimize":
        return None
    return words if words[0] in known_commands() else ["run", *words]


def known_commands() -> dict[str, Any]:
    """Name -> command."""
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def taken_apart(words: list[str]) -> dict[str, Any]:
    """Parameter -> value, by the command's own parser, which refuses what it does not know."""
    name, *rest = words
    return dict(known_commands()[name].make_context(name, rest).params)


def inline(text: str) -> list[str]:
    """What stands in backticks outside of blocks, on one line."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def first_cells(text: str, header: str) -> list[str]:
    """What stands in backticks in the first column of the table that begins with a header."""
    table = text.partition(f"\n{header}\n")[2].partition("\n\n")[0]
    assert table, header
    return [name for line in table.splitlines() for name in re.findall(r"`([^`]+)`", line.split("|")[1])]


class Answering(FakeEngine):
    """Knows the task of the manual's own program too, and says of every message what billing does."""

    def complete(self, request: Request) -> Response:
        said = super().complete(request)
        if "team" not in str(request):
            return said
        text = (said.text or "").replace("sentiment", "team")
        text = text.replace("positive", "billing").replace("negative", "technical")
        return Response(
            id=None,
            model=said.model,
            message=Message.assistant(text),
            finish_reason=said.finish_reason,
            usage=said.usage,
        )


EVERY = list(dict.fromkeys(command for text in TEXTS.values() for command in commands(text)))
OURS = [command for command in EVERY if arguments(command) is not None]
RUN = [command for command in OURS if not any(part in command for part in NOT_RUN)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder in which commands run on fake models and made-up data."""
    engines = {"local/smollm2-135m-instruct": Answering(0.6), "local/gemma-3-270m": Answering(0.85)}
    real_card = packaged_data.read_card

    def small_card(path: Path) -> DataCard:
        return real_card(path).model_copy(update={"split": CardSplit(train=60, dev=20, test=20)})

    def short(texts: Iterable[str]) -> Budget:
        asked = parse_budget(texts)
        return asked.model_copy(update={"trials": min(asked.trials, MOST_TRIALS)}) if asked.trials else asked

    def unsynced(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    patch = pytest.MonkeyPatch()
    own = [name for name in sys.modules if name.partition(".")[0] == "metrics"]
    for name in own:  # the workspace has its own
        patch.delitem(sys.modules, name)
    for variable in ("OPTIMIZE_RUNS", "OPTIMIZE_BUDGET", "OPTIMIZE_SEED", "MLFLOW_TRACKING_URI"):
        patch.delenv(variable, raising=False)
    patch.setattr(sys, "path", [*sys.path])
    patch.setattr(budget, "parse_budget", short)
    patch.setattr(packaged_data, "card_rows", lambda card: reviews(120))
    patch.setattr(packaged_data, "read_card", small_card)
    patch.setattr("optimizers.cli.console.pull_weights", lambda models: None)
    for user in ("optimizers.models.lm", "optimizers.search.study"):
        patch.setattr(f"{user}.llama_engine", lambda model: engines.setdefault(model.name, Answering(0.7)))
    patch.setattr("optimizers.search.study.StudyRun.open", lambda manifest, folder: Untracked())
    patch.setattr("optimizers.search.outcome.draw_frontier", lambda report, path: None)
    sa.event.listen(sa.Engine, "connect", unsynced)
    folder = tmp_path_factory.mktemp("manual")
    patch.chdir(folder)
    yield folder
    sa.event.remove(sa.Engine, "connect", unsynced)
    for name in [name for name in sys.modules if name.partition(".")[0] == "metrics"]:
        del sys.modules[name]
    patch.undo()


def run(command: str, patch: pytest.MonkeyPatch) -> Ran:
    """Run a command in this process; a traceback counts as the exit code that Python gives it."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    patch.setattr(sys, "argv", ["optimize", *shlex.split(command)[1:]])
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Exception:
            code = 1
            traceback.print_exc()
    return Ran(code, out.getvalue(), err.getvalue())


def write_files(folder: Path) -> None:
    """Write what the manual has its reader write: files that say their path, and the rows of a table."""
    for text in TEXTS.values():
        for code in blocks(text, "python"):
            if path := re.match(r"# (\w+/\w+\.py)\n", code):
                (folder / path[1]).write_text(code, encoding="utf-8")
    header, *rows = csv.reader(io.StringIO(blocks(TEXTS["task"], "csv")[0]))
    lines = [[f"{row[0]} (case {number * 7919})", *row[1:]] for number in range(30) for row in rows]
    for place in (folder / "data" / "messages.csv", folder / "messages.csv"):
        with place.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *lines])


@pytest.fixture(scope="module")
def ran(workspace: Path) -> dict[str, Ran]:
    """Every command that can be run, run in the order of the pages, as someone does who reads them all."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for command in RUN:
            found[command] = run(command, patch)
            if command.startswith("optimize init ") and "--csv" not in command:
                folder = workspace / shlex.split(command)[2]
                write_files(folder)
                patch.chdir(folder)
    return found


@pytest.mark.parametrize("command", RUN)
def test_a_command_runs(command: str, ran: dict[str, Ran]) -> None:
    done = ran[command]
    assert "Traceback" not in done.err, done.err
    if "--require-match" in command and done.code == UNMET:
        return
    if " export " in command and done.code == 1:
        assert TO_DSPY in done.err, done.err
        return
    assert done.code == 0, done.err
    assert done.out.strip()


def test_most_exports_are_written(ran: dict[str, Ran]) -> None:
    exports = [done.code for command, done in ran.items() if " export " in command]
    assert exports.count(0) >= 2


@pytest.mark.parametrize("command", OURS)
def test_every_option_and_value_of_a_command_is_one_there_is(command: str) -> None:
    given = taken_apart(arguments(command) or [])
    parse_budget(given.get("budget") or ())
    for text in given.get("model") or ():
        if "local//path/" not in text:
            assert parse_model(text).name


@pytest.mark.parametrize("name", TEXTS)
def test_commands_in_the_text_are_ones_there_are(name: str) -> None:
    codes = inline(TEXTS[name])
    options = {
        option for command in known_commands().values() for one in command.params for option in one.opts
    }
    for code in codes:
        if code.startswith("--"):
            assert re.split(r"[ =]", code)[0] in options
        if code.startswith("optimize "):
            words = arguments(code.replace("[", "").replace("]", "")) or []
            assert words[0] in known_commands()
            if len(words) > 1:
                taken_apart(words)


def test_what_is_not_run_is_named_with_its_reason() -> None:
    assert all(any(part in command for command in OURS) for part in NOT_RUN)
    others = {shlex.split(command)[0] for command in EVERY if command not in OURS}
    assert others == set(ELSEWHERE)


@pytest.mark.parametrize("name", TEXTS)
def test_python_compiles(name: str) -> None:
    for code in blocks(TEXTS[name], "python", "py"):
        compile(code, name, "exec", dont_inherit=True)


@pytest.mark.parametrize("topic", TOPICS)
def test_python_of_the_manual_runs(
    topic: str, workspace: Path, ran: dict[str, Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace / "my-prompts"
    monkeypatch.syspath_prepend(str(folder))
    for code in blocks(TEXTS[topic], "python"):
        path = re.match(r"# (programs/\w+\.py)\n", code)
        if path is not None:
            assert load_task(folder / path[1]).dataset.test
        else:
            exec(compile(code, topic, "exec", dont_inherit=True), {"__name__": topic})


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    place = ROOT if name == "README" else DOCS
    for target in re.findall(r"\]\(([^)#]+)", TEXTS[name]):
        assert target.startswith("https://") or (place / target).is_file(), target


def test_lists_are_whole() -> None:
    fields = [field.name for field in dataclasses.fields(Task)]
    assert first_cells(TEXTS["task"], "| field | meaning | default |") == fields
    assert set(first_cells(TEXTS["models"], "| setting | meaning | default |")) == set(KEYS)
    assert set(first_cells(TEXTS["export"], "| `--to` | what is written | what for |")) == set(TARGETS)
    for topic in TOPICS:
        assert f"`{topic}`" in TEXTS["README"]


def test_amounts_are_budgets() -> None:
    units = TEXTS["budget"].partition("| unit | examples |")[2].partition("\n\n")[0]
    amounts = re.findall(r"`([^`]+)`", units)
    assert len(amounts) > 10
    for amount in amounts:
        try:
            parse_budget([amount])
        except ParityError as error:
            pytest.fail(f"{amount}: {error}")
