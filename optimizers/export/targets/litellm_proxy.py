"""Export to the LiteLLM proxy: a configuration that serves the measured model under the task's name.

Format: docs.litellm.ai/docs/proxy/configs. Parameters of ``litellm_params`` are defaults of every request
to that name; a request's own parameters override them. Parameters that OpenAI has no name for are in
``extra_body``, which LiteLLM passes on to OpenAI-compatible servers.

The messages are not in the configuration. LiteLLM's own ``.prompt`` files (docs.litellm.ai/docs/
proxy/prompt_management) do not keep them: as of ``litellm/integrations/dotprompt/dotprompt_manager.py``
in 1.106 every line loses the space around it, a line of an input that begins with ``User:`` starts a
message, and the request's own messages are added. So each predictor's template is written next to the
configuration, as by the ``openai`` target, with the name to ask for as its ``model``. An app fills it in
and sends it to the proxy.

A model that ran inside the process is asked at ``OPENAI_BASE_URL``, where an OpenAI-compatible server is
expected. Keys are named, never written: ``os.environ/NAME`` for OpenAI-compatible models; for other
providers LiteLLM reads their own variables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from optimizers.errors import ExportError
from optimizers.export.files import as_json, texts_in, write_files
from optimizers.export.single_request import SingleRequest, single_requests
from optimizers.export.standalone import as_sent
from optimizers.export.targets.openai_requests import template_of
from optimizers.models.keys import litellm_address
from optimizers.records.folder import plain_name

if TYPE_CHECKING:
    from optimizers.export.point import Exported

CONFIG = "config.yaml"
KEY, ADDRESS = "os.environ/OPENAI_API_KEY", "os.environ/OPENAI_BASE_URL"


def write_litellm(exported: Exported, folder: Path) -> list[Path]:
    """Write ``config.yaml``, and one ``PREDICTOR.json`` per predictor with its messages.

    A program of one predictor is served under the task's name, one of several under ``TASK-PREDICTOR``.

    Raises:
        ExportError: LiteLLM would take a value for a variable's name, or one request is not all that
            was measured. Nothing is written.
    """
    requests, task = single_requests(exported), plain_name(exported.manifest.task)
    names = [task] if len(requests) == 1 else [f"{task}-{request.file}" for request in requests]
    config = {"model_list": [_entry(name, one) for name, one in zip(names, requests, strict=True)]}
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    if yaml.safe_load(text) != config:
        raise ExportError("The configuration would not be read as it is.", where=CONFIG)
    contents = {CONFIG: text}
    for name, request in zip(names, requests, strict=True):
        # The proxy has the parameters; the app asks it for a name of its own.
        template = template_of(exported, request) | {"parameters": {"model": name}}
        contents[f"{request.file}.json"] = as_json(template)
    return write_files(folder, contents)


def _entry(name: str, request: SingleRequest) -> dict[str, Any]:
    model, sent = request.model, dict(request.parameters)
    provider, _, served = model.name.partition("/")
    openai_kind = model.is_local or provider == "openai"
    if openai_kind:
        # A server's own name may hold slashes, so the provider is always put before it.
        provider = "text-completion-openai" if request.raw else "openai"
    elif request.raw:
        raise ExportError(
            f"LiteLLM has no text completion of {provider} that is known to be what was measured.",
            where=model.name,
            fix="export to openai",
        )
    del sent["model"]
    params: dict[str, Any] = {"model": f"{provider}/{served}"}
    if model.is_local:
        params["api_base"] = ADDRESS
    elif model.api_base:
        params["api_base"] = litellm_address(model.name, model.api_base)
    if openai_kind:
        params["api_key"] = KEY
    params |= as_sent(sent)
    found = [value for key, value in params.items() if key != "api_key" and value != ADDRESS]
    if any(text.startswith("os.environ/") for text in texts_in(found)):
        raise ExportError("LiteLLM would take a value for a variable's name.", where=request.name)
    return {
        "model_name": name,
        "litellm_params": params,
        "model_info": {"mode": "completion" if request.raw else "chat"},
    }
