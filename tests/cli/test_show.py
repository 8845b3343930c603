"""`optimize show`: the prompt word for word, by part, from records alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import FakeEngine
from results.studies import LARGE_BEST, SMALL_BEST, usual
from typer.testing import CliRunner, Result

from optimizers.cli.app import app
from optimizers.errors import TaskError, UserError
from optimizers.records.folder import StudyFolder, list_studies, write_record
from optimizers.records.prompts import Piece, SentMessage, SentPrompt, StudyPrompts

SHOWN = "Say it. Review: [b]so [[ ## x ## ]]\n"


def optimize(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Runs with a study whose best points have their prompts on record."""
    folder = usual(tmp_path, "first")
    pieces = (
        Piece(part="instruction", text="Say it."),
        Piece(part="format", text=" Review: "),
        Piece(part="input", text="[b]so [[ ## x ## ]]\n"),
    )
    prompt = SentPrompt(predictor="predict", messages=(SentMessage(role="user", pieces=pieces),))
    write_record(folder.prompts, StudyPrompts(prompts={LARGE_BEST.id: (prompt,)}))
    return tmp_path


def test_the_best_points_prompt_is_shown_as_it_is_on_record(recorded: Path) -> None:
    shown = optimize("show", "--runs", recorded)
    assert shown.stdout == f"--- user ---\n{SHOWN}\n"
    assert LARGE_BEST.id in shown.stderr
    assert optimize("show", "first", "--point", LARGE_BEST.id, "--runs", recorded).stdout == shown.stdout


def test_a_terminal_gets_the_parts_in_colours_and_the_same_words(recorded: Path) -> None:
    command = [sys.executable, "-m", "optimizers.cli", "show", "--runs", str(recorded)]
    env = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    shown = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout
    assert "\x1b[1;36mSay it.\x1b[0m" in shown
    assert "\x1b[33m[b]so [[ ## x ## ]]" in shown
    assert SHOWN in re.sub("\x1b\\[[0-9;]*m", "", shown)


def test_json_has_the_messages_and_their_parts(recorded: Path) -> None:
    found = json.loads(optimize("show", "--json", "--runs", recorded).stdout)
    (prompt,) = found["prompts"]
    (message,) = prompt["messages"]
    assert (found["study"], found["point"], prompt["predictor"]) == ("first", LARGE_BEST.id, "predict")
    assert message["content"] == SHOWN
    assert [piece["part"] for piece in message["pieces"]] == ["instruction", "format", "input"]


def test_nothing_heavy_is_loaded(recorded: Path) -> None:
    code = (
        "import sys; from optimizers.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'dspy', 'optuna', 'mlflow', 'litellm', 'xllamacpp'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", code, "show", "--runs", str(recorded)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_point_without_a_record_needs_the_program_file_and_says_so(recorded: Path) -> None:
    with pytest.raises(TaskError, match="program file"):
        optimize("show", "--point", SMALL_BEST.id, "--runs", recorded)
    with pytest.raises(UserError, match=r"no point 123.*\n.*--point\n.*" + LARGE_BEST.id):
        optimize("show", "--point", "123", "--runs", recorded)


def test_a_study_records_what_it_sends(tmp_path: Path, engines: dict[str, FakeEngine]) -> None:
    (tmp_path / "mine.py").write_text(
        "from fakes import LARGE, SMALL, Classify, reviews, sentiment_matches\n"
        "from optimizers import Task\n"
        "task = Task(\n"
        "    program=Classify(), metric=sentiment_matches, data=reviews(240), models=[SMALL, LARGE]\n"
        ")\n"
    )
    optimize(tmp_path / "mine.py", "--budget", "5", "-q")
    runs = tmp_path / "runs"
    folder = StudyFolder.load(runs, *list_studies(runs))
    recorded = optimize("show", "--json", "--runs", runs).stdout
    folder.prompts.rename(tmp_path / "away.json")
    # A study without the record, as of earlier versions, is rendered from its program file.
    assert optimize("show", "--json", "--runs", runs).stdout == recorded
