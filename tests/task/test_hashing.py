"""Hashes of code: equal in every process, other when what counts has changed, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from fakes import Classify, sentiment_matches

from optimizers.task.hashing import metric_hash, program_hash

SCRIPT = '''
import dspy
from typing import Literal
from optimizers.task.hashing import metric_hash, program_hash

BUDGET = 100
TIERS = {"a", "b"}

class Sign(dspy.Signature):
    """Say which."""
    text: str = dspy.InputField()
    label: Literal["x", "y"] = dspy.OutputField()

class Program(dspy.Module):
    def __init__(self):
        super().__init__()
        self.predict = dspy.Predict(Sign)
    def forward(self, text):
        return self.predict(text=text.strip())

def plain(text):
    return text in {"one", "two", "three"}

def metric(example, pred, trace=None):
    return float(plain(example.label) == pred.label)

print(metric_hash(metric), program_hash(Program()))
'''


def hashes(folder: Path, text: str) -> tuple[str, str]:
    path = folder / "script.py"
    path.write_text(text)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    metric, program = done.stdout.split()
    return metric, program


def test_of_a_script_only_what_the_metric_and_the_program_use_counts(tmp_path: Path) -> None:
    metric, program = hashes(tmp_path, SCRIPT)
    assert hashes(tmp_path, SCRIPT.replace("BUDGET = 100", "BUDGET = 200  # more")) == (metric, program)
    helper = hashes(tmp_path, SCRIPT.replace('"two", ', ""))
    assert helper[0] != metric
    assert helper[1] == program
    labels = hashes(tmp_path, SCRIPT.replace('["x", "y"]', '["x", "z"]'))
    assert labels[0] == metric
    assert labels[1] != program
    forward = hashes(tmp_path, SCRIPT.replace("text.strip()", "text.lower()"))
    assert forward[0] == metric
    assert forward[1] != program


class Judge:
    def __init__(self, field: str) -> None:
        self.field = field

    def __call__(self, example: Any, prediction: Any, trace: Any = None) -> float:
        return float(example[self.field] == prediction[self.field])


def of_field(field: str) -> Any:
    def metric(example: Any, prediction: Any, trace: Any = None) -> float:
        return float(example[field] == prediction[field])

    return metric


def named(field: str, example: Any, prediction: Any, trace: Any = None) -> float:
    return float(example[field] == prediction[field])


@pytest.mark.parametrize("make", [Judge, of_field, partial(partial, named), lambda f: Judge(f).__call__])
def test_what_a_metric_holds_on_to_counts(make: Any) -> None:
    assert metric_hash(make("a")) == metric_hash(make("a"))
    assert metric_hash(make("a")) != metric_hash(make("b"))


def test_a_programs_words_demos_labels_and_settings_count_and_its_model_does_not() -> None:
    def changed(change: Any) -> str:
        program = Classify()
        change(program)
        return program_hash(program)

    def relabelled(program: Any) -> None:
        signature = program.predict.signature
        program.predict.signature = signature.with_updated_fields("sentiment", type_=Literal["up", "down"])

    plain = program_hash(Classify())
    others = [
        changed(lambda p: setattr(p.predict, "demos", [{"review": "fine", "sentiment": "positive"}])),
        changed(lambda p: setattr(p.predict, "config", {"n": 2})),
        changed(lambda p: setattr(p, "top", 3)),
        changed(relabelled),
        program_hash(dspy.Predict("review -> sentiment")),
        program_hash(dspy.ChainOfThought("review -> sentiment")),
    ]
    assert len({plain, *others}) == len(others) + 1
    assert changed(lambda p: p.set_lm(dspy.LM("openai/gpt-4o"))) == plain
    assert metric_hash(sentiment_matches) != plain
