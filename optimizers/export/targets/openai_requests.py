"""Export to OpenAI's wire format: a request template per predictor, for any client in any language.

Placeholders are ``{{field}}``, replaced once and never again inside a replaced value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.errors import ExportError
from optimizers.export.point import TO_DSPY, Exported, one_reply_each, samples
from optimizers.models.llama import llama_sampling
from optimizers.models.lm import call_settings, language_model
from optimizers.models.provider_quirks import older_limit
from optimizers.prompting.compile import PromptedPredict, adapter_of
from optimizers.prompting.renderings.constraints import output_schema
from optimizers.prompting.renderings.fields import format_value, one_line
from optimizers.prompting.renderings.rendering import abilities, response_format

if TYPE_CHECKING:
    import dspy

    from optimizers.models.model import Model
    from optimizers.models.sampling import Sampling
    from optimizers.prompting.renderings.rendering import Prompt

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def write_openai(exported: Exported, folder: Path) -> list[Path]:
    """Write one ``PREDICTOR.json`` per predictor: endpoint, template, parameters, output schema.

    Raises:
        ExportError: A template does not give the messages that were measured, or one request is
            not all that was measured; nothing is written.
    """
    one_reply_each(exported)
    for name, predictor in exported.compiled.module.named_predictors():
        if why := why_not(predictor):
            raise ExportError(why, where=name, fix=TO_DSPY)
    contents = {
        name: _template(exported, name, predictor)
        for name, predictor in exported.compiled.module.named_predictors()
    }
    written = []
    for name, content in contents.items():
        path = folder / f"{exported.file(name)}.json"
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def render(template: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """Fill a template in: what a client must do, in a few lines.

    Args:
        template: The content of an exported file.
        inputs: Values of the input fields.
    """

    def fill(found: re.Match[str]) -> str:
        text = format_value(inputs[found[1]])
        return one_line(text) if template["inputs"]["line_breaks"] == "space" else text

    names = set(template["inputs"]["fields"])
    return [
        {
            "role": message["role"],
            "content": _PLACEHOLDER.sub(lambda m: fill(m) if m[1] in names else m[0], message["content"]),
        }
        for message in template["messages"]
    ]


def _template(exported: Exported, name: str, predictor: dspy.Predict) -> dict[str, Any]:
    adapter, signature = adapter_of(predictor, exported.compiled.adapter()), predictor.signature
    fields = list(signature.input_fields)
    demos = [dict(demo) for demo in predictor.demos]
    prompt = adapter.prompt(signature, demos, dict.fromkeys(fields, ""))
    messages = adapter.format(signature, demos, {field: f"{{{{{field}}}}}" for field in fields})
    content: dict[str, Any] = {
        "schema_version": 1,
        "task": exported.manifest.task,
        "study": exported.manifest.name,
        "candidate": exported.point.candidate.id,
        "endpoint": "/completions" if prompt.raw else "/chat/completions",
        "inputs": {"fields": fields, "line_breaks": "keep"},
        "messages": messages,
        "parameters": parameters_of(*exported.serving(name), prompt, abilities(predictor.lm)),
        "output_schema": output_schema(signature),
    }
    inputs = [values for values in samples(exported, signature) if None not in values.values()]
    for line_breaks in ("keep", "space"):
        content["inputs"]["line_breaks"] = line_breaks
        wrong = next((v for v in inputs if render(content, v) != adapter.format(signature, demos, v)), None)
        if wrong is None:
            return content
    raise ExportError(
        "A template cannot give the messages that were measured.",
        where=f"{name}: {str(wrong)[:200]}",
        fix="export to dspy, which carries the program itself",
    )


def why_not(predictor: dspy.Predict) -> str | None:
    """Why one request is not all that was measured, if it is not."""
    if not isinstance(predictor, PromptedPredict):
        return None
    if predictor.shown is not None:
        return "The demos are chosen anew for every input, which a request template cannot hold."
    technique = predictor.technique
    if technique.run is None:
        return None
    most = technique.calls(predictor.signature)
    return (
        f"The technique {technique.name} takes up to {most} calls for one answer and decides between "
        "them, which a request template cannot hold."
    )


def parameters_of(model: Model, sampling: Sampling, prompt: Prompt, able: frozenset[str]) -> dict[str, Any]:
    """What is sent with the messages, by OpenAI's names; nothing that the measured calls did without.

    Args:
        model: Who serves it.
        sampling: How tokens are drawn.
        prompt: What is sent.
        able: What the engine takes, from :func:`optimizers.prompting.renderings.rendering.abilities`.
    """
    settings = call_settings(model, sampling)
    limit = settings.pop("max_tokens")
    if model.engine == "llama":
        settings = llama_sampling(**settings)
    # OpenAI's reasoning models refuse the older name of the limit; some servers pass over the newer one.
    newer = model.reasoning_room and not older_limit(language_model(model, measured=False))
    name = "max_completion_tokens" if newer else "max_tokens"
    parameters: dict[str, Any] = {"model": model.name.partition("/")[2], name: limit, **settings}
    if prompt.stop and (prompt.raw or "grammar" in able):
        parameters["stop"] = list(prompt.stop)
    if prompt.grammar and "grammar" in able:
        parameters["grammar"] = prompt.grammar
    if declared := response_format(prompt, able):
        kind = declared.pop("type")
        parameters["response_format"] = {"type": kind, kind: declared}
    return parameters
