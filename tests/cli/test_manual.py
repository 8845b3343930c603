"""`optimize help`: the topics, a page on a terminal and in a pipe, a topic that there is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import optimizers
from optimizers.cli.app import main
from optimizers.cli.manual import TOPICS, about, page

DOCS = Path(optimizers.__file__).parent / "cli" / "docs"
MOST_LINES = 150


def asked(monkeypatch: pytest.MonkeyPatch, *topic: str) -> int:
    """Run the command; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["optimize", "help", *topic])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_every_page_is_a_topic_and_has_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.stem for path in DOCS.iterdir()} == set(TOPICS)
    assert asked(monkeypatch) == 0
    listed = capsys.readouterr().out
    for topic in TOPICS:
        assert f"{topic:<12}{about(topic)}" in listed.splitlines()


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_short_and_begins_with_what_it_is_about(topic: str) -> None:
    title, blank, line, after, *rest = page(topic).splitlines()
    assert title.startswith("# ")
    assert (blank, after) == ("", "")
    assert line.endswith(".")
    assert len(rest) < MOST_LINES


def test_a_pipe_gets_the_page_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, "Models") == 0
    assert capsys.readouterr().out == (DOCS / "models.md").read_text(encoding="utf-8")


def test_a_terminal_gets_it_laid_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert asked(monkeypatch, "models") == 0
    shown = capsys.readouterr().out
    assert "Kinds" in shown
    assert not {"## Kinds", "```bash", "|---|"} & {line.strip() for line in shown.splitlines()}


def test_an_unknown_topic_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(monkeypatch, "prices") == 2
    said = capsys.readouterr().err
    assert "'prices'" in said
    assert ", ".join(TOPICS) in said


def test_a_page_is_shown_without_loading_anything_heavy() -> None:
    code = "import sys; sys.argv = ['optimize', 'help', 'start']\nfrom optimizers.cli.app import main\n" + (
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'dspy', 'optuna', 'mlflow', 'litellm', 'datasets', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Start")
