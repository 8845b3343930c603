"""Whatever an instruction, a demo or an input says is text to every target: sent as measured, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from fakes import EXPORTED_AS, LARGE, SMALL, Classify, FakeEngine, exported_of, measured
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from optimizers.errors import ExportError
from optimizers.export.mlflow_prompts import format_as_mlflow, registry_prompts
from optimizers.export.point import Exported
from optimizers.export.targets.dspy_program import load_program, write_dspy
from optimizers.export.targets.finetune import write_finetune
from optimizers.export.targets.inspect_task import write_inspect
from optimizers.export.targets.litellm_proxy import write_litellm
from optimizers.export.targets.openai_requests import render, write_openai
from optimizers.export.targets.promptfoo import write_promptfoo
from optimizers.export.targets.prompty import read_prompty, render_prompty, write_prompty
from optimizers.export.targets.python_module import write_python
from optimizers.models.model import Model
from optimizers.prompting.compile import messages_of
from optimizers.task.task import LoadedTask

PIECES = [
    "{{7*7}}", "{{ review }}", "{review}", "{{{a}}}", "${HOME}", "${{ 7 }}", "$(id)", "`id`",
    '"""',
    "\\", "\\n", "\\u007b", "%s", "%(review)s", "!!python/object/apply:os.system ['true']", "&a *a", "- a",
    "{% if 1 %}x{% endif %}", "{% raw %}", "{% endraw %}", "{# gone #}", "{{ env.HOME }}", "<%= 7 %>",
    "\n---\n", "+++", "\r\n", "\r", "\n", "\t", "\u202e", "\u200f", "\ufeff", "\u2028", "\x85", "\x1b[2J",
    "\0", "\ue0000\ue001", "os.environ/HOME", "file://hostname", "file://prompt.json", "=1+1",
    "user:", "system:\n", "assistant:", "[[ ## sentiment ## ]]", "Sentiment:", "</script>", "é", "🙂",
]  # fmt: skip
ALL = " ".join(piece for piece in PIECES if piece != "\0")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(
    st.characters(codec="utf-8"), max_size=30
)

Sent = list[dict[str, str]]


@contextmanager
def written(write: Callable[[Exported, Path], list[Path]], made: Exported) -> Iterator[list[Path]]:
    with TemporaryDirectory() as folder:
        yield write(made, Path(folder))


def by_openai(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_openai, made) as (path,):
        return render(json.loads(path.read_text(encoding="utf-8")), inputs)


def by_prompty(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_prompty, made) as (path,):
        return render_prompty(read_prompty(path.read_bytes().decode())[1], inputs)


def by_litellm(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_litellm, made) as (config, template):
        entry = yaml.safe_load(config.read_text(encoding="utf-8"))["model_list"][0]
        assert "os.environ/HOME" not in entry.values()
        return render(json.loads(template.read_text(encoding="utf-8")), inputs)


def by_mlflow(made: Exported, inputs: dict[str, str]) -> Sent:
    (prompt,) = registry_prompts(made)
    return format_as_mlflow(prompt.template, inputs)


def by_dspy(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_dspy, made) as (path, _):
        loaded = load_program(path.parent, Classify())
        return messages_of(loaded.program.predict, inputs, loaded._adapter)


def by_promptfoo(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_promptfoo, made) as (config, *others):
        assert isinstance(yaml.safe_load(config.read_text(encoding="utf-8")), dict)
        json.loads(others[-1].read_text(encoding="utf-8"))
    return measured(made, inputs)  # its template is compared as it is written; nunjucks is not here


def by_python(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_python, made) as (path,):
        source = path.read_text(encoding="utf-8")
    module: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source, "exported", "exec"), module)
    found = module["render" if "render" in module else "prompt"](inputs)
    return found if isinstance(found, list) else [{"role": "user", "content": found}]


def by_inspect(made: Exported, inputs: dict[str, str]) -> Sent:
    with written(write_inspect, made) as (path,):
        source = path.read_text(encoding="utf-8")
    module: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source.partition("\nfrom inspect_ai")[0], "exported", "exec"), module)
    found: Sent = module["render"](inputs)
    return found


QUICK = [by_openai, by_prompty, by_litellm, by_mlflow, by_dspy, by_promptfoo]


@pytest.mark.parametrize("target", [*QUICK, by_python, by_inspect])
@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_text_that_other_tools_would_run_is_sent_as_it_was_measured(
    task: LoadedTask,
    engines: dict[str, FakeEngine],
    target: Callable[[Exported, dict[str, str]], Sent],
    model: Model,
    rendering: str,
) -> None:
    demos = ({"review": ALL, "sentiment": "positive"},)
    made = exported_of(task, model, rendering, instruction=ALL, demos=demos, demos_name="one")
    try:
        found = target(made, {"review": ALL})
    except ExportError:
        return
    assert found == measured(made, {"review": ALL})


# Of a text of white space alone, templates leave a space more than was measured: see the manual's limits.
@pytest.mark.fuzz
@settings(
    # Each makes an export: in the suite, a quarter of what is usual.
    max_examples=max(settings.default.max_examples // 4, 25)
    if settings.default.max_examples <= 100
    else settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    target=st.sampled_from(QUICK),
    served=st.sampled_from([(SMALL, "completion"), (LARGE, "compact"), (LARGE, "json_object")]),
    instruction=TEXTS,
    demo=TEXTS,
    text=TEXTS.filter(str.strip),
)
def test_any_text_is_sent_as_it_was_measured_or_refused(
    task: LoadedTask,
    engines: dict[str, FakeEngine],
    target: Callable[[Exported, dict[str, str]], Sent],
    served: tuple[Model, str],
    instruction: str,
    demo: str,
    text: str,
) -> None:
    # Prompty takes every line break of Unicode in an input for one of its own: see the manual's limits.
    assume(target is not by_prompty or len(text.splitlines()) == 1)
    demos = ({"review": demo, "sentiment": "negative"},)
    made = exported_of(task, *served, instruction=instruction, demos=demos, demos_name="one")
    try:
        found = target(made, {"review": text})
    except ExportError:
        return
    assert found == measured(made, {"review": text})


def test_training_files_hold_text_as_it_is_or_are_refused(
    task: LoadedTask, engines: dict[str, FakeEngine]
) -> None:
    made = exported_of(task, LARGE, "compact", instruction=ALL)
    with written(write_finetune, made) as paths:
        rows = [json.loads(line) for line in paths[0].read_text(encoding="utf-8").split("\n") if line]
    assert rows
    assert "{{7*7}}" in json.dumps(rows[0], ensure_ascii=False)
