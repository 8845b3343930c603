"""Program files that disturb the process that runs them: no harm comes of it, or one clear error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizers.errors import TaskError
from optimizers.task.program_file import find_program, prints_on_stderr, run_program
from optimizers.task.task import load_task

SOUND = """
import os, signal, subprocess, sys, threading
from pathlib import Path
import dspy
from optimizers import Task

HEAD

class Steps(dspy.Module):
    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("review -> sentiment: bool")

    def forward(self, review):
        BODY
        return self.answer(review=review)

def metric(example, pred, trace=None):
    METRIC
    return float(example.sentiment == pred.sentiment)

task = Task(program=Steps(), metric=metric, data="rows.csv", models=["openai/gpt-4o-mini"])
"""


def program(folder: Path, head: str = "", body: str = "pass", metric: str = "pass") -> Path:
    rows = "".join(f"review number {number} of a cup,{number % 2 == 0}\n" for number in range(60))
    (folder / "rows.csv").write_text("review,sentiment\n" + rows)
    text = SOUND.replace("HEAD", head).replace("BODY", body).replace("METRIC", metric)
    (folder / "task.py").write_text(text)
    return folder / "task.py"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("sys.exit()", "ends the process"),
        ("sys.exit(0)", "ends the process"),
        ("raise ValueError('odd')", "ValueError: odd"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("def f(): f()\nf()", "RecursionError"),
        ("Path(__file__).unlink()", "removes itself"),
        ("import no_such_module_here", "no_such_module_here"),
        ("x = '\0'", "null byte"),
        ("(" * 10_000, "raises"),
        ("    odd", "IndentationError"),
    ],
)
def test_a_program_that_does_not_run_to_its_end_is_refused(tmp_path: Path, head: str, said: str) -> None:
    with pytest.raises(TaskError, match=said) as refused:
        load_task(program(tmp_path, head))
    assert "task.py" in str(refused.value)


def test_what_a_program_changes_at_import_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    heads = [
        "sys.path.clear()",
        "sys.path.insert(0, '/no/such/folder')",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "threading.Thread(target=print, args=('from a thread',)).start()",
        "print('from print')\nos.system('echo from a shell')\nsubprocess.run(['echo', 'from a process'])",
        "sys.stdout.write('x' * 100_000)",
        "if os.fork() == 0: sys.stdout = None",
        "os.chdir('/')",
    ]
    monkeypatch.chdir(tmp_path)
    before, interrupt = list(sys.path), signal.getsignal(signal.SIGINT)
    program(tmp_path, "\n".join(heads))
    loaded = load_task(Path("task.py"))
    assert len(loaded.dataset.dev) > 0
    assert set(before) <= set(sys.path)
    assert signal.getsignal(signal.SIGINT) is interrupt
    said = capfd.readouterr()
    assert said.out == ""
    assert "from a shell" in said.err
    assert Path(loaded.path) == tmp_path / "task.py"


def test_stdout_is_as_it_was_after_prints_were_kept_off_it(capfd: pytest.CaptureFixture[str]) -> None:
    with prints_on_stderr():
        print("aside")
        os.system("echo aside")
    print("result")
    os.system("echo result")
    said = capfd.readouterr()
    assert "aside" not in said.out
    assert said.out.count("result") == 2


def test_a_study_of_a_program_that_prints_writes_nothing_but_json_on_stdout(tmp_path: Path) -> None:
    noise = "print('noise'); os.write(1, b'noise'); subprocess.run(['echo', 'noise'])"
    program(tmp_path, noise)
    command = [sys.executable, "-m", "optimizers.cli", "estimate", "task.py", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["calls"] > 0
    assert done.stderr.count("noise") == 3


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.py", "a/../../outside.py", "nul\0.py"])
def test_a_record_cannot_name_a_program_outside_its_project(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "inside" / "a").mkdir(parents=True)
    with pytest.raises(TaskError, match="outside its project"):
        find_program(name, tmp_path / "inside")


@pytest.mark.parametrize("name", ["x" * 300 + ".py", "nul\0.py", ".", "pipe.py", "loop.py"])
def test_what_is_no_file_is_no_program(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "loop.py").symlink_to("loop.py")
    with pytest.raises(TaskError, match="no program file"):
        load_task(tmp_path / name)


WORDS = [
    "task",
    "=",
    "Task(",
    ")",
    "None",
    "1",
    "'\\ud800'",
    "\n",
    " ",
    ":",
    "def f",
    "raise",
    "lambda",
    "\ufeff",
    "é",
]


@pytest.mark.fuzz
@given(
    source=st.binary(max_size=200)
    | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join).map(str.encode)
)
def test_any_text_is_run_or_refused(tmp_path_factory: pytest.TempPathFactory, source: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.py"
    file.write_bytes(source)
    with suppress(TaskError):
        run_program(file)
