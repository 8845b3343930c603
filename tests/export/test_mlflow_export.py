"""MLflow: prompts that it formats as measured, and a model that it serves as measured."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dspy
import mlflow
import pandas as pd
import pytest
from dspy.utils.exceptions import AdapterParseError
from fakes import EXPORTED_AS, LARGE, TEMPLATE_DEMOS, FakeEngine, Make, maker, manifest, measured
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from optimizers.errors import ExportError
from optimizers.export import export_point
from optimizers.export.mlflow_prompts import (
    MOST_CHARACTERS,
    format_as_mlflow,
    jinja_of,
    registry_prompts,
)
from optimizers.export.point import AWKWARD, Exported, rebuild
from optimizers.export.prompt_parts import Place
from optimizers.export.targets.mlflow_registry import Registration, write_mlflow
from optimizers.models.model import Model
from optimizers.models.sampling import Sampling
from optimizers.records.candidate import Candidate, PredictorPrompt
from optimizers.records.folder import StudyFolder
from optimizers.records.report import Estimate, FrontierReport, Point
from optimizers.records.tracking.mlflow_log import StudyRun
from optimizers.task.task import LoadedTask, load_task

INJECTED = (
    "Say which. {{ review }} {% raw %} {# gone #} {{x}} {{ env.HOME }} }} {\r\nSo {{{ a }}} \\1 \\g<0>\n"
)
ODD = (*AWKWARD, "", " \x1f\x85 x \ufeff", "{{ review }} {% endraw %} {{ \\1 \\g<0>", "x\n")


class Compare(dspy.Signature):
    """Which is better?"""

    first: str = dspy.InputField()
    second: str = dspy.InputField()
    better: str = dspy.OutputField()


@pytest.fixture
def make(task: LoadedTask, engines: dict[str, FakeEngine]) -> Make:
    return maker(task, INJECTED)


@pytest.mark.parametrize(("model", "rendering"), EXPORTED_AS)
def test_mlflow_formats_a_prompt_as_it_was_measured(make: Make, model: Model, rendering: str) -> None:
    made = make(model, rendering)
    (prompt,) = registry_prompts(made)
    assert isinstance(prompt.template, str) == (rendering == "completion")
    for text in ODD:
        assert format_as_mlflow(prompt.template, {"review": text}) == measured(made, {"review": text})
    assert prompt.config["temperature"] == 0.3
    assert prompt.config["request"]["max_tokens"] == 60
    assert prompt.outputs["properties"]["sentiment"]["enum"] == ["positive", "negative"]
    assert (prompt.response_format is not None) == (rendering == "json_object")


@given(
    st.lists(st.text("{}%#-+\r\n\\\"' xé"), min_size=1, max_size=3),
    st.text("{}%#\r\n\\\"' review"),
)
def test_no_text_is_taken_for_jinja(texts: list[str], value: str) -> None:
    place = jinja_of(Place("review", led=False), lines=False)
    template = place.join(jinja_of(text, lines=False) for text in texts) + place
    made = format_as_mlflow(template, {"review": value})
    assert made == [{"role": "user", "content": value.join(texts) + value}]


def test_a_prompt_that_needs_no_more_is_in_mlflows_own_form(make: Make) -> None:
    (prompt,) = registry_prompts(make(LARGE, "json_object", instruction='Give {"so": {"as": 1}}', demos=()))
    assert "{{ review }}" in prompt.template[-1]["content"]
    assert "{%" not in str(prompt.template)


def test_an_input_that_names_another_is_not_filled_in_again(make: Make, task: LoadedTask) -> None:
    rows = [dspy.Example(first="a", second="b", better="a").with_inputs("first", "second")]
    two = replace(task, program=dspy.Predict(Compare), dataset=replace(task.dataset, train=tuple(rows)))
    made = make(LARGE, "json_object", of=two, demos=(), instruction="Which?")
    (prompt,) = registry_prompts(made)
    inputs = {"first": "{{ second }} {{second}}", "second": "{{first}}"}
    assert format_as_mlflow(prompt.template, inputs) == measured(made, inputs)


def test_what_the_registry_cannot_keep_is_refused(make: Make, task: LoadedTask) -> None:
    with pytest.raises(ExportError, match="self_check takes up to"):
        registry_prompts(make(LARGE, "compact", technique="self_check"))
    with pytest.raises(ExportError, match=f"at most {MOST_CHARACTERS:,}"):
        registry_prompts(make(LARGE, "compact", instruction="so " * MOST_CHARACTERS))
    own = dspy.Signature("allow_partial -> sentiment")
    rows = (dspy.Example(allow_partial="x", sentiment="y").with_inputs("allow_partial"),)
    named = replace(task, program=dspy.Predict(own), dataset=replace(task.dataset, train=rows))
    with pytest.raises(ExportError, match="allow_partial"):
        registry_prompts(make(LARGE, "compact", of=named, demos=()))


PROGRAM = '''
from pathlib import Path
from typing import Literal

import dspy

from labels.sentiment import KNOWN
from optimizers import Task


class Say(dspy.Signature):
    """Say whether a review is positive or negative."""

    review: str = dspy.InputField()
    sentiment: Literal[tuple(KNOWN)] = dspy.OutputField()


class Classify(dspy.Module):
    def __init__(self):
        super().__init__()
        self.say = dspy.Predict(Say)

    def forward(self, review):
        return self.say(review=review)


def right(example, pred, trace=None):
    return float(example.sentiment == pred.sentiment)


task = Task(program=Classify(), metric=right, data="reviews.csv")
'''


@dataclass(frozen=True)
class Workspace:
    """A project with a finished study in it."""

    folder: StudyFolder
    project: Path

    def point(self, technique: str = "direct") -> Point:
        candidate = Candidate(
            model=LARGE.name,
            rendering="compact",
            technique=technique,
            predictors={"say": PredictorPrompt(instruction=INJECTED, demos=TEMPLATE_DEMOS)},
            sampling=Sampling(max_tokens=60),
        )
        seen = Estimate(mean=0.8, low=0.7, high=0.9, n=50)
        return Point(
            candidate=candidate, kind="instruct", roles=("frontier",), dev=seen, test=seen, cost=1e-6,
            latency=0.1, prompt_tokens=50, completion_tokens=2,
        )  # fmt: skip

    def export(self, technique: str = "direct") -> Registration:
        (path,) = export_point(self.folder, target="mlflow", point=self.point(technique).candidate.id)
        return Registration.model_validate_json(path.read_text(encoding="utf-8"))

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.folder.path.parent / 'mlflow.db'}")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    project = tmp_path_factory.mktemp("project")
    for name, text in {
        "pyproject.toml": "",
        "programs/reviews.py": PROGRAM,
        "labels/sentiment.py": 'KNOWN = ["positive", "negative"]\n',
        "labels/private.py": "",
    }.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    words = ["lamp", "chair", "phone", "kettle", "radio", "book", "bag", "clock", "pen", "cup"]
    rows = [
        f"the {word} number {n} is {'good' if n % 2 else 'poor'},{'positive' if n % 2 else 'negative'}"
        for n in range(12)
        for word in words
    ]
    (project / "reviews.csv").write_text("\n".join(["review,sentiment", *rows]) + "\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        patched.syspath_prepend(str(project))
        task = load_task(project / "programs" / "reviews.py", models=[LARGE])
        study = manifest(
            program="programs/reviews.py", program_hash=task.program_hash, models=(LARGE,), task="my reviews"
        )
        made = Workspace(StudyFolder.create(project / "runs", study), project)
        points = tuple(map(made.point, ("direct", "self_check")))
        made.folder.write_report(
            FrontierReport(
                study="study", task="my reviews", metric="right", reference=LARGE.name, margin=0.02,
                points=points, hypervolume=0.1, trials=2, rollouts=1, seconds=1.0, answer="",
            )
        )  # fmt: skip
        with StudyRun.open(study, made.folder):
            pass
        yield made


@pytest.fixture(scope="module")
def registered(workspace: Workspace) -> Registration:
    return workspace.export()


@pytest.fixture
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the other process, which one export has had."""
    monkeypatch.setattr("optimizers.export.mlflow_model._verify", lambda *given: None)


@pytest.fixture
def model(
    workspace: Workspace,
    registered: Registration,
    engines: dict[str, FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """The registered model, loaded here, where its engine is a fake one."""
    monkeypatch.setattr("sys.path", sys.path.copy())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.folder.path.parent / 'mlflow.db'}")
    loaded = mlflow.pyfunc.load_model(registered.model)
    loaded.unwrap_python_model().program.program.say.lm.cache = False
    return loaded


def test_the_record_says_where_it_is_and_how_to_serve_it(
    workspace: Workspace, registered: Registration
) -> None:
    assert registered.tracking_uri == "sqlite:///../../../mlflow.db"
    assert (workspace.folder.exports / "mlflow" / "../../../mlflow.db").resolve().is_file()
    assert registered.model == "models:/my-reviews@champion"
    assert f"-m {registered.model}" in registered.serve
    assert [prompt.uri for prompt in registered.prompts] == ["prompts:/my-reviews.say/1"]
    assert registered.prompts_refused is None


def test_the_process_is_left_as_it_was(registered: Registration) -> None:
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ
    assert not mlflow.is_tracking_uri_set()


def test_the_registered_prompt_is_what_was_measured(
    workspace: Workspace, registered: Registration, engines: dict[str, FakeEngine]
) -> None:
    made = rebuild(workspace.folder, registered.candidate)
    prompt = workspace.client.load_prompt(registered.prompts[0].alias)
    for text in ODD:
        assert prompt.format(review=text) == measured(made, {"review": text})
    assert prompt.variables == {"review"}
    assert prompt.tags["parity.candidate"] == registered.candidate
    assert prompt.tags["parity.test_score"] == "0.8000"
    assert prompt.model_config["model_name"] == "large"
    assert prompt.model_config["request"]["grammar"]


def test_the_model_is_the_studys_and_holds_code_and_json_alone(
    workspace: Workspace, registered: Registration
) -> None:
    client = workspace.client
    version = client.get_model_version_by_alias("my-reviews", "champion")
    run = client.get_run(version.run_id)
    assert run.data.tags["mlflow.runName"] == "study"
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    assert logged.params["rendering"] == "compact"
    folder = Path(unquote(logged.artifact_location.removeprefix("file://")))
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    program = {
        name.removeprefix("artifacts/program/") for name in files if name.startswith("artifacts/program/")
    }
    assert program == {
        "manifest.json", "program.json", "programs/reviews.py", "labels/sentiment.py", "pyproject.toml"
    }  # fmt: skip
    assert "code/optimizers/prompting/compile.py" in files
    assert not [name for name in files if name.endswith((".pkl", ".pyc", ".csv"))]
    pinned = (folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in pinned)
    assert f"mlflow=={mlflow.__version__}" in pinned


def test_the_served_model_answers_as_the_compiled_program(
    workspace: Workspace, registered: Registration, model: Any, engines: dict[str, FakeEngine]
) -> None:
    made = rebuild(workspace.folder, registered.candidate)
    made.compiled.module.say.lm.cache = False
    *_, body = shlex.split(registered.ask)
    assert len(served(model, body)) == 1
    texts = [*AWKWARD, *(example.review for example in made.task.dataset.dev[:10])]
    wanted = [{"sentiment": answer(made, text)} for text in texts]
    sent = engines[LARGE.name].requests[-len(texts) :]
    assert served(model, json.dumps({"dataframe_records": [{"review": text} for text in texts]})) == wanted
    assert engines[LARGE.name].requests[-len(texts) :] == sent
    with pytest.raises(MlflowException, match="review"):
        served(model, json.dumps({"dataframe_records": [{"text": "x"}]}))


def answer(made: Exported, text: str) -> str | None:
    """What the compiled program says; None where the reply breaks the format."""
    with suppress(AdapterParseError):
        said: str = made.compiled({"review": text}).sentiment
        return said
    return None


def served(model: Any, body: str) -> list[dict[str, Any]]:
    """What MLflow's server replies to a request's body."""
    reply = scoring_server.invocations(body, "application/json", model, model.metadata.get_input_schema())
    predictions: list[dict[str, Any]] = json.loads(reply.response)["predictions"]
    return predictions


def test_a_reply_that_breaks_the_format_is_null_and_a_failure_is_an_error(
    model: Any, engines: dict[str, FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.DataFrame({"review": ["the lamp is good"]})
    engine, complete = engines[LARGE.name], engines[LARGE.name].complete

    def nonsense(request: Any) -> Any:
        return replace(complete(request), message=dspy.lm15.Message.assistant("nonsense"))

    monkeypatch.setattr(engine, "complete", nonsense)
    assert model.predict(rows) == [{"sentiment": None}]

    def down(request: Any) -> Any:
        raise ConnectionError("down")

    monkeypatch.setattr(engine, "complete", down)
    with pytest.raises(Exception, match="down"):
        model.predict(rows)


@pytest.mark.usefixtures("unverified", "registered")
def test_what_no_template_can_hold_is_served_without_a_prompt(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = workspace.client.get_model_version_by_alias("my-reviews", "champion").version
    record = workspace.export("self_check")
    assert record.prompts == ()
    assert record.prompts_refused is not None
    assert "self_check takes up to" in record.prompts_refused
    assert "no prompt is registered" in capsys.readouterr().err
    after = workspace.client.get_model_version_by_alias("my-reviews", "champion").version
    assert int(after) == int(before) + 1 == int(record.version)


@pytest.mark.usefixtures("registered")
def test_a_model_that_would_behave_otherwise_is_not_registered(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked = json.loads(Path(command[-2]).read_text())
        assert all(inputs["review"] for inputs in asked["say"])
        loaded = {"technique": "direct", "model": LARGE.name, "settings": {}, "requests": [], "read": []}
        Path(command[-1]).write_text(json.dumps({"say": loaded}))
        return subprocess.CompletedProcess(command, 0, "", "")

    before = workspace.client.search_model_versions("")
    monkeypatch.setattr("optimizers.export.mlflow_model.subprocess.run", other)
    with pytest.raises(ExportError, match="would not have the settings"):
        workspace.export()
    assert len(workspace.client.search_model_versions("")) == len(before)


@pytest.mark.usefixtures("registered")
def test_a_program_that_needs_what_does_not_travel_is_not_registered(
    workspace: Workspace,
) -> None:
    module = workspace.project / "labels" / "sentiment.py"
    (workspace.project / "words.txt").write_text("positive negative")
    before = workspace.client.search_model_versions("")
    text = module.read_text()
    module.write_text(
        'from pathlib import Path\nKNOWN = Path(__file__, "../../words.txt").resolve().read_text().split()\n'
    )
    try:
        with pytest.raises(ExportError, match=r"words\.txt(.|\n)*files that it reads do not"):
            workspace.export()
    finally:
        module.write_text(text)
    assert len(workspace.client.search_model_versions("")) == len(before)


def test_a_program_handed_over_in_code_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="handed over in code"):
        write_mlflow(make(LARGE, "compact"), tmp_path)
    assert list(tmp_path.iterdir()) == []
