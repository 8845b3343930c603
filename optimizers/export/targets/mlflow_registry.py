"""Export to MLflow: the prompts in its prompt registry, the program as a registered model that it serves.

Both go to the store that studies are recorded in. The alias ``champion`` moves to the new versions when all
of them are registered. A prompt that no template can hold (demos chosen for each input, techniques of several
calls) is not in the prompt registry; the model has it all the same.

The model has the task's name, its prompts ``TASK.PREDICTOR``: the registry keeps both in one list of names.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from optimizers.errors import ExportError, ParityError
from optimizers.export.mlflow_model import example_of, save_model
from optimizers.export.mlflow_prompts import RegistryPrompt, registry_prompts
from optimizers.export.point import Exported
from optimizers.records.folder import plain_name
from optimizers.records.tracking.mlflow_log import choices_of, study_run
from optimizers.records.tracking.mlflow_store import experiment_of, open_store, tracking_uri
from optimizers.task.program_file import IN_CODE

if TYPE_CHECKING:
    from mlflow import MlflowClient

RECORD = "mlflow.json"
ALIAS = "champion"
PORT = 5001


class RegisteredPrompt(BaseModel):
    """A predictor's prompt in the registry.

    Attributes:
        predictor: The predictor.
        uri: This version of it.
        alias: What its latest export goes by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictor: str
    uri: str
    alias: str


class Registration(BaseModel):
    """What was registered, and how to use it: ``mlflow.json``.

    Attributes:
        study: The study it comes from.
        candidate: Id of the candidate.
        tracking_uri: The store, a local one from this file's folder; None for the one that
            MLFLOW_TRACKING_URI names.
        prompts: The prompts.
        prompts_refused: Why there are none; None where there are.
        model: The model by its alias.
        version: This version of it.
        serve: A command that serves it, in this file's folder.
        ask: A command that asks it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    study: str
    candidate: str
    tracking_uri: str | None
    prompts: tuple[RegisteredPrompt, ...]
    prompts_refused: str | None
    model: str
    version: str
    serve: str
    ask: str


def write_mlflow(exported: Exported, folder: Path) -> list[Path]:
    """Register prompts and model, and write ``mlflow.json`` with their names.

    Raises:
        ExportError: The program has no file that could travel, or the model would not behave as measured;
            nothing is registered.
        ParityError: The store cannot be used.
    """
    if exported.folder is None or IN_CODE in exported.manifest.program:
        raise ExportError(
            "A program handed over in code has no file that MLflow could serve.",
            where=exported.manifest.program,
            fix="write it into a program file that declares a task, or export to dspy",
        )
    from mlflow.exceptions import MlflowException

    runs, task = exported.folder.path.parent, exported.manifest.task
    prompts, refused = _prompts(exported)
    client, uri = open_store(runs), tracking_uri(runs)
    try:
        experiment = experiment_of(client, task, runs)
        with _in_use(uri, experiment), TemporaryDirectory() as work:
            model = save_model(exported, Path(work))
            versions = _register(client, experiment, exported, prompts, model)
    except MlflowException as error:
        raise ParityError(f"MLflow refused: {error.message.splitlines()[0][:300]}", where=uri) from error
    record = _registration(exported, prompts, versions, refused, _from(exported.out or folder, uri))
    path = folder / RECORD
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return [path]


def _prompts(exported: Exported) -> tuple[list[RegistryPrompt], str | None]:
    try:
        return registry_prompts(exported), None
    except ExportError as error:
        print(f"note: no prompt is registered: {error.what}", file=sys.stderr)
        return [], error.what


@dataclass(frozen=True)
class Versions:
    """What the registry calls an export.

    Attributes:
        model: The model's name and version.
        prompts: The same of each prompt, in the predictors' order.
    """

    model: tuple[str, str]
    prompts: tuple[tuple[str, int], ...]


def _register(
    client: MlflowClient,
    experiment: str,
    exported: Exported,
    prompts: Sequence[RegistryPrompt],
    model: Path,
) -> Versions:
    """Register all prompts and the model, then move the alias to them."""
    task, tags = plain_name(exported.manifest.task), _tags(exported)
    names = [f"{task}.{prompt.file}" for prompt in prompts]
    if len(set(names)) < len(names):
        raise ExportError("Two predictors would have one name in the registry.", where=", ".join(names))
    made = tuple(
        (name, _register_prompt(client, name, prompt, tags))
        for name, prompt in zip(names, prompts, strict=True)
    )
    uris = [f"prompts:/{name}/{version}" for name, version in made]
    version = _register_model(client, experiment, exported, task, model, tags, uris)
    for name, number in made:
        client.set_prompt_alias(name, ALIAS, number)
    client.set_registered_model_alias(task, ALIAS, version)
    return Versions((task, version), made)


def _register_prompt(client: MlflowClient, name: str, prompt: RegistryPrompt, tags: dict[str, str]) -> int:
    from mlflow.entities.model_registry import PromptModelConfig

    known = {key: value for key, value in prompt.config.items() if key in PromptModelConfig.model_fields}
    others = {key: value for key, value in prompt.config.items() if key not in known}
    registered = client.register_prompt(
        name,
        prompt.template,
        commit_message=f"{tags['parity.study']}, candidate {tags['parity.candidate']}",
        tags=tags | {"parity.outputs": json.dumps(prompt.outputs)},
        response_format=prompt.response_format,
        model_config=PromptModelConfig(**known, extra_params=others),
    )
    # MLflow links a prompt to its experiment on a thread of its own: two writers lock a local store.
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt_to_experiment"):
            thread.join()
    return int(registered.version)


def _register_model(
    client: MlflowClient,
    experiment: str,
    exported: Exported,
    name: str,
    folder: Path,
    tags: dict[str, str],
    prompts: Sequence[str],
) -> str:
    """Log the folder as a model of the study's run, and register it; returns its version."""
    from mlflow.models import Model

    run = study_run(client, experiment, exported.manifest)
    run_id = run.info.run_id if run else None
    logged = client.create_logged_model(
        experiment, name, run_id, tags, choices_of(exported.point.candidate), "dspy program"
    )
    content = Model.load(str(folder))
    content.model_id = content.model_uuid = logged.model_id
    content.run_id, content.prompts = run_id, list(prompts)
    content.artifact_path = logged.artifact_location
    content.save(str(folder / "MLmodel"))
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    for uri in prompts:
        prompt, version = uri.removeprefix("prompts:/").rsplit("/", 1)
        client.link_prompt_version_to_model(prompt, version, logged.model_id)
    # Names of prompts are not found here, and refused by what follows.
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"models:/{logged.model_id}"
    made = client.create_model_version(name, source, run_id, tags, model_id=logged.model_id)
    # By this the model's page finds its versions.
    linked = json.dumps([{"name": name, "version": made.version}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": linked})
    return str(made.version)


@contextmanager
def _in_use(uri: str, experiment: str) -> Iterator[None]:
    """Have MLflow work on a store: parts of it ask the process rather than the client."""
    import mlflow

    # A project's lock file would go before the requirements that are pinned here.
    ours = {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_EXPERIMENT_ID": experiment,
        "MLFLOW_UV_AUTO_DETECT": "false",
    }
    before = {name: os.environ.get(name) for name in ours}
    mlflow.set_tracking_uri(uri)
    os.environ |= ours
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # takes it, for "as before"
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _tags(exported: Exported) -> dict[str, str]:
    point = exported.point
    tags = {"parity.study": exported.manifest.name, "parity.candidate": point.candidate.id}
    for split, seen in (("test", point.test), ("dev", point.dev)):
        if seen is not None:
            tags[f"parity.{split}_score"] = f"{seen.mean:.4f}"
            tags[f"parity.{split}_interval"] = f"{seen.low:.4f} to {seen.high:.4f}, n = {seen.n}"
    return tags


def _from(folder: Path, uri: str) -> str | None:
    """The store's address as seen from a folder; None for a declared one, which may hold a password."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return f"sqlite:///{os.path.relpath(uri.removeprefix('sqlite:///'), folder.resolve())}"


def _registration(
    exported: Exported,
    prompts: Sequence[RegistryPrompt],
    versions: Versions,
    refused: str | None,
    store: str | None,
) -> Registration:
    name, version = versions.model
    serve = f"mlflow models serve -m models:/{name}@{ALIAS} --env-manager local -p {PORT}"
    asked = json.dumps({"dataframe_records": [example_of(exported)]}, ensure_ascii=False)
    ask = f"curl http://127.0.0.1:{PORT}/invocations -H 'Content-Type: application/json'"
    return Registration(
        study=exported.manifest.name,
        candidate=exported.point.candidate.id,
        tracking_uri=store,
        prompts=tuple(
            RegisteredPrompt(
                predictor=prompt.predictor, uri=f"prompts:/{own}/{number}", alias=f"prompts:/{own}@{ALIAS}"
            )
            for prompt, (own, number) in zip(prompts, versions.prompts, strict=True)
        ),
        prompts_refused=refused,
        model=f"models:/{name}@{ALIAS}",
        version=version,
        serve=f"MLFLOW_TRACKING_URI={shlex.quote(store)} {serve}" if store else serve,
        ask=f"{ask} -d {shlex.quote(asked)}",
    )
