"""A predictor whose answer is one request: its messages, its parameters, and the model that serves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import dspy

from optimizers.errors import ExportError
from optimizers.export.point import TO_DSPY, one_reply_each
from optimizers.models.keys import OPENAI_KIND
from optimizers.models.llama import llama_sampling
from optimizers.models.lm import call_settings, language_model
from optimizers.models.provider_quirks import older_limit
from optimizers.prompting.compile import PromptedPredict, adapter_of
from optimizers.prompting.renderings.completion import output_lines
from optimizers.prompting.renderings.rendering import abilities, response_format

if TYPE_CHECKING:
    from optimizers.export.point import Exported
    from optimizers.models.model import Model
    from optimizers.models.sampling import Sampling
    from optimizers.prompting.renderings.rendering import Prompt, Rendering

ELSEWHERE = "export to openai, python or dspy"
"""What helps where a tool cannot hold a prompt that a request can."""


@dataclass(frozen=True)
class SingleRequest:
    """What one predictor sends.

    Attributes:
        name: The predictor.
        file: Its name as a file's, unlike every other's.
        signature: Inputs and outputs.
        adapter: Its rendering.
        demos: The demos in its prompt.
        model: The model that serves it.
        raw: Whether the one message is text to continue.
        parameters: What is sent next to the messages, by OpenAI's names.
    """

    name: str
    file: str
    signature: type[dspy.Signature]
    adapter: Rendering
    demos: tuple[Mapping[str, Any], ...]
    model: Model
    raw: bool
    parameters: Mapping[str, Any]

    def measured(self, inputs: Mapping[str, Any]) -> list[dict[str, str]]:
        """The messages that the compiled program sends."""
        demos = [dict(demo) for demo in self.demos]
        made: list[dict[str, str]] = self.adapter.format(self.signature, demos, dict(inputs))
        return made


Request = TypeVar("Request", bound=SingleRequest)


def single_requests(exported: Exported) -> list[SingleRequest]:
    """What each predictor sends, in the program's order.

    Raises:
        ExportError: The answer of the program or of a predictor takes more than one request, or the
            request depends on more than the inputs.
    """
    one_reply_each(exported)
    return [_request(exported, *named) for named in exported.compiled.module.named_predictors()]


def _request(exported: Exported, name: str, predictor: dspy.Predict) -> SingleRequest:
    adapter, signature = adapter_of(predictor, exported.compiled.adapter()), predictor.signature
    why = _why_not(predictor)
    if any(info.annotation is dspy.History for info in signature.input_fields.values()):
        why = "A request template cannot hold a conversation's history."
    if why:
        raise ExportError(why, where=name, fix=TO_DSPY)
    demos = [dict(demo) for demo in predictor.demos]
    prompt = adapter.prompt(signature, demos, dict.fromkeys(signature.input_fields, ""))
    model, sampling = exported.serving(name)
    return SingleRequest(
        name=name,
        file=exported.file(name),
        signature=signature,
        adapter=adapter,
        demos=tuple(demos),
        model=model,
        raw=prompt.raw,
        parameters=parameters_of(model, sampling, prompt, abilities(predictor.lm)),
    )


def _why_not(predictor: dspy.Predict) -> str | None:
    """Why one request is not all that was measured, if it is not."""
    if not isinstance(predictor, PromptedPredict):
        return None
    if predictor.shown is not None:
        return "The demos are chosen anew for every input, which a request template cannot hold."
    technique = predictor.technique
    if technique.run is None:
        return None
    return (
        f"The technique {technique.name} takes up to {technique.calls(predictor.signature)} calls for one "
        "answer and decides between them, which a request template cannot hold."
    )


def parameters_of(model: Model, sampling: Sampling, prompt: Prompt, able: frozenset[str]) -> dict[str, Any]:
    """What is sent next to the messages, by OpenAI's names: all that the measured calls sent, nothing else.

    Args:
        model: The model that serves it.
        sampling: How tokens are drawn.
        prompt: What is sent.
        able: What the engine takes, from :func:`optimizers.prompting.renderings.rendering.abilities`.
    """
    settings = call_settings(model, sampling)
    limit = settings.pop("max_tokens")
    if model.engine == "llama":
        settings = llama_sampling(**settings)
    # OpenAI's reasoning models refuse the older name of the limit; some servers ignore the newer one.
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


def only_request(requests: Sequence[Request], refusal: str) -> Request:
    """The request of a program of one predictor.

    Args:
        requests: The requests of all predictors.
        refusal: The error's first sentence where there are several.

    Raises:
        ExportError: There are several.
    """
    if len(requests) > 1:
        raise ExportError(
            f"{refusal}, and the program's own code runs between its steps.",
            where=", ".join(request.name for request in requests),
            fix=ELSEWHERE,
        )
    return requests[0]


def check_protocol(model: Model, tool: str) -> None:
    """Check that a tool reaches a model by OpenAI's protocol, as the study did.

    Raises:
        ExportError: The tool reaches it by another protocol than was measured.
    """
    provider = model.name.partition("/")[0]
    own_address = model.api_base is not None and provider in OPENAI_KIND
    if not (model.is_local or own_address or provider == "openai"):
        raise ExportError(
            f"{tool} reaches models of {provider} by another protocol than was measured.",
            where=model.name,
            fix="serve it behind the litellm export and measure it there, or export to openai",
        )


def shown_reply(adapter: dspy.Adapter, signature: type[dspy.Signature], outputs: Mapping[str, Any]) -> str:
    """Outputs as a demo under a rendering shows them: a well-formed reply."""
    inputs = dict.fromkeys(signature.input_fields, "x")
    messages = adapter.format(signature, [{**inputs, **outputs}], inputs)
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    return replies[-1] if replies else "\n".join(output_lines(signature, outputs))
