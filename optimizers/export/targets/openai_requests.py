"""Export to OpenAI's wire format: a request template per predictor, for any client in any language.

Placeholders are ``{{field}}``. Each is replaced once; a replaced value is not searched again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizers.errors import ExportError
from optimizers.export.files import as_json, write_files
from optimizers.export.point import TO_DSPY
from optimizers.export.prompt_parts import known_inputs
from optimizers.export.single_request import SingleRequest, single_requests
from optimizers.prompting.renderings.constraints import output_schema
from optimizers.prompting.renderings.fields import format_value, one_line

if TYPE_CHECKING:
    from optimizers.export.point import Exported

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def write_openai(exported: Exported, folder: Path) -> list[Path]:
    """Write one ``PREDICTOR.json`` per predictor: endpoint, template, parameters, output schema.

    Raises:
        ExportError: A template does not give the messages that were measured, or one request is
            not all that was measured. Nothing is written.
    """
    requests = single_requests(exported)
    return write_files(folder, {f"{one.file}.json": as_json(template_of(exported, one)) for one in requests})


def render(template: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """Fill in a template: what a client must do, in a few lines.

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


def template_of(exported: Exported, request: SingleRequest) -> dict[str, Any]:
    """The content of a predictor's file.

    Raises:
        ExportError: A template does not give the messages that were measured.
    """
    fields = list(request.signature.input_fields)
    content: dict[str, Any] = {
        "schema_version": 1,
        "task": exported.manifest.task,
        "study": exported.manifest.name,
        "candidate": exported.point.candidate.id,
        "endpoint": "/completions" if request.raw else "/chat/completions",
        "inputs": {"fields": fields, "line_breaks": "keep"},
        "messages": request.measured({field: f"{{{{{field}}}}}" for field in fields}),
        "parameters": request.parameters,
        "output_schema": output_schema(request.signature),
    }
    inputs = known_inputs(exported, request)
    for line_breaks in ("keep", "space"):
        content["inputs"]["line_breaks"] = line_breaks
        wrong = next(
            (values for values in inputs if render(content, values) != request.measured(values)), None
        )
        if wrong is None:
            return content
    raise ExportError(
        "A template cannot give the messages that were measured.",
        where=f"{request.name}: {str(wrong)[:200]}",
        fix=TO_DSPY,
    )
