"""Keys planted wherever a user may keep them: nothing that Parity writes or says holds one."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fakes import reviews
from faults.server import Faults, FaultServer

KEY = "sk-Canary/7Fq2+xVb9LmWz4Tn\\R=="
"""A key that JSON and addresses write otherwise than it is."""

PROGRAM = '''
import os
import dspy
from typing import Literal
from optimizers import Task, model

class ClassifySentiment(dspy.Signature):
    """Say whether a review is positive or negative."""
    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()

def exact(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)

task = Task(
    program=dspy.Predict(ClassifySentiment), metric=exact, data="rows.json", reference="openai/large",
    min_coverage=0.5,
    models=[
        model("openai/small", api_base="ADDRESS", price=(0.1, 0.2), size=0.1, timeout=0.7),
        model("openai/large", api_base="ADDRESS", price=(1.0, 2.0), size=1.0, timeout=0.7),
        model("openai/base", kind="base", api_base="ADDRESS", price=(0.1, 0.2), size=0.1, timeout=0.7),
    ],
)
'''

SCRIPT = """
import json, sys
from optimizers.cli.app import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["optimize", *command]
    try:
        main()
    except SystemExit as end:
        print(command[0], "ended with", end.code)
"""

TARGETS = ("dspy", "openai", "python", "promptfoo", "inspect", "prompty", "litellm", "mlflow", "finetune")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\nversion = '0'\n")
    (tmp_path / "rows.json").write_text(json.dumps(reviews(80)))
    return tmp_path


def optimize(project: Path, *commands: list[str]) -> str:
    """What commands say, one after the other in one process; it is also kept beside what they write."""
    keys = {"OPENAI_API_KEY": KEY, "HF_TOKEN": KEY, "MLFLOW_TRACKING_TOKEN": KEY, "DATABASE_PASSWORD": KEY}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=project,
        env=os.environ | keys,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    with (project / "said.txt").open("a") as file:
        file.write(said)
    return said


def forms(key: str) -> set[bytes]:
    """Half a key and more, as text, JSON, Python, addresses and HTTP write it."""
    half = len(key) // 2
    pieces = (key[:half], key[half:])
    texts = {
        form for one in pieces for form in (one, json.dumps(one)[1:-1], repr(one)[1:-1], quote(one, safe=""))
    }
    shifted = {base64.b64encode(b" " * shift + key.encode())[4:-4].decode() for shift in range(3)}
    return {form.encode() for form in texts | shifted}


def holding(folder: Path, key: str) -> Iterator[str]:
    """The files below a folder that hold a key in some form, program and data aside."""
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            yield from (f"{file.relative_to(folder)}: {form!r}" for form in forms(key) if form in content)


def test_no_key_is_in_anything_that_studies_exports_and_errors_write(project: Path) -> None:
    faults = Faults(rate=0.15, kinds=("400", "400", "400", "reset", "hang"), hang=2.0)
    with FaultServer(faults) as server:
        (project / "task.py").write_text(PROGRAM.replace("ADDRESS", server.address))
        exports = [["export", "s", "--to", target] for target in TARGETS]
        said = optimize(
            project,
            ["task.py", "--budget", "3", "--study", "s"],
            *exports,
            ["report", "s", "--out", "report.html"],
            ["report", "s", "--json"],
            ["advise", "s", "--json"],
            ["doctor", "task.py"],
        )
        assert server.stats()["faulted"] > 10
    assert said.count("ended with 0") == len(TARGETS) + 5, said
    assert list(holding(project, KEY)) == []


LITERAL = "sk-literal4Tn7RwZq9LmWz"
"""A key written in a program file and nowhere else."""

WRONG = {
    "userinfo.py": ('"ADDRESS"', f'"http://me:{LITERAL}@127.0.0.1:9/v1"'),
    "query.py": ('"ADDRESS"', f'"http://127.0.0.1:9/v1?api_key={LITERAL}"'),
    "path.py": ('"ADDRESS"', '"http://127.0.0.1:9/" + os.environ["OPENAI_API_KEY"]'),
    "setting.py": ("size=0.1", f'api_key="{LITERAL}"'),
    "headers.py": ("size=0.1", f'headers={{"Authorization": "Bearer {LITERAL}"}}'),
    "raises.py": ("task =", f'raise ValueError("no {LITERAL} " + os.environ["HF_TOKEN"])\ntask ='),
    "lm.py": ("dspy.Predict(ClassifySentiment)", f'dspy.LM("openai/x", api_key="{LITERAL}")'),
    "metric.py": ("    return", '    raise OSError(os.environ["OPENAI_API_KEY"])\n    return'),
    "judge.py": (
        "    return",
        f'    dspy.LM("openai/x", api_base="ADDRESS", api_key="{LITERAL}", num_retries=0)("?")\n    return',
    ),
}
"""A program file's name -> what is wrong in it: its part in :data:`PROGRAM`, and what stands in its place."""


def test_errors_that_hold_a_key_are_shown_without_it(project: Path) -> None:
    with FaultServer() as calm, FaultServer(Faults(rate=1.0, kinds=("401",))) as refusing:
        for name, (part, wrong) in WRONG.items():
            text = PROGRAM.replace(part, wrong.replace("ADDRESS", refusing.address))
            (project / name).write_text(text.replace("ADDRESS", calm.address))
        (project / "task.py").write_text(PROGRAM.replace("ADDRESS", refusing.address))
        commands = [[name, "--budget", "20calls", "--study", name[:-3]] for name in ("task.py", *WRONG)]
        commands += [
            ["task.py", "--model", f"openai/x,api_base=http://me:{LITERAL}@h/v1"],
            ["task.py", "--model", f"openai/x,api_key={LITERAL}"],
            ["task.py", "--proposer", f"openai/x,price=1/1,api_base=http://127.0.0.1:9/v1?key={LITERAL}"],
        ]
        said = optimize(project, *commands)
    for name in WRONG:
        (project / name).unlink()
    assert [*holding(project, KEY), *holding(project, LITERAL)] == []
    assert said.count("ended with") == len(commands)
    assert "ended with 0" not in said
    assert "Traceback" not in said
    assert "is refused at" in said
