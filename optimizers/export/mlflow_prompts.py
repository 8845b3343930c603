"""A compiled prompt as MLflow's prompt registry keeps it: a template, and what is sent with it.

A template is in MLflow's own form, ``{{ field }}``, where that gives what was measured. Otherwise it is a
Jinja template, which MLflow renders too: MLflow takes a template for Jinja where a message has both ``{%``
and ``%}`` (``mlflow.entities.model_registry.PromptVersion.format``). Its own form

- replaces one variable after the other, so that an input with ``{{ other }}`` in it would be filled in again;
- takes every ``{{ word }}`` for a variable, in demos too;
- cannot turn the line breaks of an input into spaces, as the renderings of plain lines do.

A Jinja template names every input as ``{{ field }}`` too, because MLflow finds its variables by that form.
Inputs reach a template as texts; a list or record as compact JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizers.errors import ExportError
from optimizers.export.prompt_parts import Place, PromptParts, known_inputs, parts_of
from optimizers.export.single_request import ELSEWHERE
from optimizers.export.targets.prompty import ONE_LINE, RESERVED
from optimizers.prompting.renderings.constraints import output_schema
from optimizers.prompting.renderings.fields import format_value

if TYPE_CHECKING:
    from optimizers.export.point import Exported

MOST_CHARACTERS = 100_000
"""The longest template that the registry takes, messages as JSON."""

KNOWN = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop": "stop_sequences",
}
"""OpenAI's names -> those of the registry's model configuration."""

_OWN_ARGUMENTS = frozenset({"allow_partial", "use_jinja_sandbox"})

Template = str | list[dict[str, str]]


@dataclass(frozen=True)
class RegistryPrompt:
    """One predictor's prompt, ready to register.

    Attributes:
        predictor: The predictor's name.
        file: The same as part of a name that MLflow takes.
        template: Messages; a text where the prompt is text to continue.
        response_format: JSON schema that replies must match; None where none is sent.
        config: Model, sampling, and under ``request`` all that is sent with the messages.
        outputs: JSON schema of the outputs, however they are written.
    """

    predictor: str
    file: str
    template: Template
    response_format: dict[str, Any] | None
    config: Mapping[str, Any]
    outputs: Mapping[str, Any]


def registry_prompts(exported: Exported) -> list[RegistryPrompt]:
    """The prompts of all predictors, each checked against the compiled program.

    Raises:
        ExportError: One request is not all that was measured of a predictor, or MLflow's formatting
            of a template would not give the messages that were measured.
    """
    return [_prompt(exported, parts) for parts in parts_of(exported)]


def format_as_mlflow(template: Template, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages that MLflow's ``PromptVersion.format`` makes of a template; a text as one of the user."""
    from mlflow.entities.model_registry import PromptVersion

    texts: dict[str, Any] = {name: format_value(value) for name, value in inputs.items()}
    version = PromptVersion("prompt", 1, template)  # type: ignore[abstract]  # unused parts
    made: Any = version.format(**texts)
    return [{"role": "user", "content": made}] if isinstance(made, str) else made


def _prompt(exported: Exported, parts: PromptParts) -> RegistryPrompt:
    odd = sorted((_OWN_ARGUMENTS | RESERVED) & set(parts.signature.input_fields))
    if odd:
        raise ExportError("MLflow reserves this name.", where=f"{parts.name}: {odd[0]}", fix=ELSEWHERE)
    template = _template(exported, parts)
    if len(template if isinstance(template, str) else json.dumps(template)) > MOST_CHARACTERS:
        raise ExportError(
            f"MLflow keeps prompts of at most {MOST_CHARACTERS:,} characters.",
            where=parts.name,
            fix=ELSEWHERE,
        )
    declared = parts.parameters.get("response_format", {})
    return RegistryPrompt(
        predictor=parts.name,
        file=parts.file,
        template=template,
        response_format=declared.get("json_schema", {}).get("schema"),
        config=_config(parts),
        outputs=output_schema(parts.signature),
    )


def _config(parts: PromptParts) -> dict[str, Any]:
    provider, _, name = parts.model.name.partition("/")
    sent = parts.parameters
    config: dict[str, Any] = {"provider": provider, "model_name": name}
    config |= {own: sent[key] for key, own in KNOWN.items() if key in sent}
    # Separate, because MLflow refuses some measured values, such as a top_k of 0 (off).
    config["request"] = dict(sent)
    return config | ({"api_base": parts.model.api_base} if parts.model.api_base else {})


def _template(exported: Exported, parts: PromptParts) -> Template:
    """The first form that MLflow formats as measured."""
    inputs = [*known_inputs(exported, parts), *_naming(parts)]
    wrong: Mapping[str, Any] | None = None
    for write in (_plain, jinja_of):
        template = _written(parts, write)
        wrong = next((values for values in inputs if not _gives(template, parts, values)), None)
        if wrong is None:
            return template
    raise ExportError(
        f"MLflow's templates cannot carry this prompt{_suspect(parts)}.",
        where=f"{parts.name}: {str(wrong)[:200]}",
        fix=ELSEWHERE,
    )


def _naming(parts: PromptParts) -> Iterator[dict[str, Any]]:
    """Inputs that name each other as variables."""
    fields = list(parts.signature.input_fields)
    yield dict.fromkeys(fields, " ".join(f"{{{{{name}}}}} {{{{ {name} }}}}" for name in fields))


def _gives(template: Template, parts: PromptParts, values: Mapping[str, Any]) -> bool:
    from jinja2 import TemplateError
    from mlflow.exceptions import MlflowException

    try:
        return format_as_mlflow(template, values) == parts.measured(values)
    except (TemplateError, MlflowException):
        return False


def _suspect(parts: PromptParts) -> str:
    """The text that looks like a template, if there is one."""
    for turn in parts.turns:
        for piece in turn.parts:
            found = re.search(r"\{[{%#].{0,40}", piece) if isinstance(piece, str) else None
            if found:
                return f", which contains {found[0]!r}"
    return ""


Writer = Callable[[str | Place, bool], str]


def _written(parts: PromptParts, write: Writer) -> Template:
    texts = ["".join(write(piece, parts.lines) for piece in turn.parts) for turn in parts.turns]
    if parts.raw:
        return texts[0]
    turns = zip(parts.turns, texts, strict=True)
    return [{"role": turn.role, "content": text} for turn, text in turns]


def _plain(piece: str | Place, lines: bool) -> str:
    return piece if isinstance(piece, str) else f"{' ' if piece.led else ''}{{{{ {piece.field} }}}}"


def jinja_of(piece: str | Place, lines: bool) -> str:
    """A piece of a prompt as Jinja that renders to it, whatever it contains.

    Args:
        piece: A fixed text, or the place of an input.
        lines: Whether line breaks in inputs become spaces, and space around them goes.
    """
    if isinstance(piece, str):
        # Jinja turns all line ends into one kind and drops the last one. Braces open what replaces them.
        return re.sub(
            r"\{(?=[{%#\r]|\n?\Z)|\r|\n\Z", lambda found: f"{{{{ {json.dumps(found[0])} }}}}", piece
        )
    if not lines:
        return f"{{% filter string %}}{{{{ {piece.field} }}}}{{% endfilter %}}"
    taken = f"{{% set _text %}}{{{{ {piece.field} }}}}{{% endset %}}"
    if not piece.led:
        return f"{taken}{{{{ _text{ONE_LINE} }}}}"
    return f'{taken}{{% set _text = _text{ONE_LINE} %}}{{{{ " " ~ _text if _text }}}}'
