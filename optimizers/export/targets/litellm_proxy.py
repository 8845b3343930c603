"""Export to the LiteLLM proxy: a configuration that serves the measured model under the task's name.

Format: docs.litellm.ai/docs/proxy/configs. Parameters of ``litellm_params`` are defaults of every request
to that name; what a request says itself goes before them. Those that OpenAI has no name for are in
``extra_body``, which LiteLLM passes on to servers of OpenAI's kind.

The messages are not in the configuration. LiteLLM's own way, ``.prompt`` files (docs.litellm.ai/docs/
proxy/prompt_management), does not keep them: as of ``litellm/integrations/dotprompt/dotprompt_manager.py``
in 1.106 every line loses the space around it, a line of an input that begins with ``User:`` starts a
message, and the request's own messages are added. So each predictor's template is next to the
configuration as the ``openai`` target writes it, with the name to ask for as its ``model``; an app fills
it in and sends it to the proxy.

A model that runs inside the process is asked at ``OPENAI_BASE_URL``, where a server of OpenAI's kind is
expected. Keys are named, never written: ``os.environ/NAME`` for models of OpenAI's kind; for other
providers LiteLLM reads their own variables.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from optimizers.errors import ExportError
from optimizers.export.prompt_parts import PromptParts, parts_of
from optimizers.export.standalone import as_sent
from optimizers.export.targets.openai_requests import write_openai
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
        ExportError: A value would be taken for a variable's name, or one request is not all that was
            measured; nothing is written.
    """
    prompts = parts_of(exported)
    names = _names(exported.manifest.task, prompts)
    entries = [_entry(name, parts) for name, parts in zip(names, prompts, strict=True)]
    config = {"model_list": entries}
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    if yaml.safe_load(text) != config:
        raise ExportError("The configuration would not be read as it is.", where=CONFIG)
    templates = write_openai(exported, folder)
    for name, template in zip(names, templates, strict=True):
        content = json.loads(template.read_text(encoding="utf-8"))
        # The proxy has the parameters; what it is asked for is a name of its own.
        content["parameters"] = {"model": name}
        template.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    path = folder / CONFIG
    path.write_bytes(text.encode())
    return [path, *templates]


def _names(task: str, prompts: list[PromptParts]) -> list[str]:
    """What clients ask for: a plain name, no two alike."""
    plain = plain_name(task)
    if len(prompts) == 1:
        return [plain]
    return [f"{plain}-{parts.file}" for parts in prompts]


def _entry(name: str, parts: PromptParts) -> dict[str, Any]:
    model, sent = parts.model, dict(parts.parameters)
    provider, _, served = model.name.partition("/")
    alike = model.is_local or provider == "openai"
    if alike:
        # A server's own name may hold slashes, so the provider always precedes it.
        provider = "text-completion-openai" if parts.raw else "openai"
    elif parts.raw:
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
    if alike:
        params["api_key"] = KEY
    params |= as_sent(sent)
    found = [value for key, value in params.items() if key != "api_key" and value != ADDRESS]
    if _names_a_variable(found):
        raise ExportError("LiteLLM would take a value for a variable's name.", where=parts.name)
    return {"model_name": name, "litellm_params": params, "model_info": {"mode": _mode(parts)}}


def _mode(parts: PromptParts) -> str:
    return "completion" if parts.raw else "chat"


def _names_a_variable(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("os.environ/")
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_names_a_variable, held))
