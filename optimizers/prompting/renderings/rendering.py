"""How a signature, its demos and inputs reach a model, and how the reply is read.

A rendering is a ``dspy.Adapter``, so a compiled program is an ordinary DSPy program.
Unlike DSPy's own adapters it makes exactly one call: a reply that does not parse is
the model's wrong answer, and asking again would hide what that costs.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import dspy
from dspy.adapters.utils import apply_output_field_defaults
from dspy.lm15 import Config, Message, Reasoning, Request, Response
from dspy.utils.exceptions import AdapterParseError

from optimizers.errors import ModelError
from optimizers.models.model import Kind
from optimizers.models.provider_errors import RefusalError
from optimizers.models.provider_quirks import older_limit, takes_seed
from optimizers.prompting.renderings.constraints import is_closed, without_lengths
from optimizers.prompting.renderings.fields import format_value, label, one_line

CONFIG_SETTINGS = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
"""Generation settings that go to the engine as they are."""

EXTENSIONS = ("min_p", "repetition_penalty")
"""Generation settings that DSPy has no field for: servers that know them take them with the others."""

CALL_OPTIONS = ("cache", "rollout_id")
"""Settings of DSPy's own reply cache."""

CONNECTION = frozenset(
    {
        "api_base", "api_key", "api_version", "azure_ad_token_provider", "base_url", "custom_llm_provider",
        "extra_headers", "extra_query", "headers", "organization", "project", "timeout",
    }
)  # fmt: skip
"""Settings of an LM that its engine already holds."""

SEEDS = 2**31

NO_SPACES = {"x-guidance": {"whitespace_flexible": False}}
"""Tells llama.cpp's schema engine to allow no space between JSON tokens.

Left free, a small model may write spaces until the reply is cut. Demos have none either.
"""


@dataclass(frozen=True)
class Prompt:
    """What a model is sent.

    Attributes:
        messages: (role, text) in order; roles are ``user`` and ``assistant``.
        system: System message, or None.
        stop: Texts that end the reply, sent to engines that are given raw text or a grammar.
            The others end their own turn, and some refuse stop sequences.
        raw: The one message is text to continue, not a turn of a conversation.
        grammar: GBNF of the replies allowed.
        schema: JSON schema of the replies allowed.
    """

    messages: tuple[tuple[str, str], ...]
    system: str | None = None
    stop: tuple[str, ...] = ()
    raw: bool = False
    grammar: str | None = None
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class LostCall:
    """A call that gave no values: its reply could not be read, or there was none.

    Attributes:
        predictor: Who called; None where nobody did through a predictor.
        inputs: Values of the input fields.
        error: What was raised.
    """

    predictor: dspy.Predict | None
    inputs: Mapping[str, Any]
    error: Exception


class Rendering(dspy.Adapter):  # type: ignore[misc]
    """Builds one request, makes one call and reads its one reply.

    A subclass says what the prompt is and how a reply is read; grammars, schemas and raw
    text are sent only to engines able to take them.

    Args:
        seed: Seed of the first call at a temperature; each further call of this instance adds
            one, so that repeats differ and can be repeated. None leaves the seed to the engine.
        callbacks: DSPy callbacks for ``format`` and ``parse``.

    Attributes:
        lost: The last call that gave no values: a program may catch what it raised.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[Kind]]
    needs_raw: ClassVar[bool] = False

    def __init__(self, seed: int | None = None, callbacks: list[Any] | None = None) -> None:
        super().__init__(callbacks=callbacks)
        self.seed = seed
        self.lost: deque[LostCall] = deque(maxlen=1)
        self._calls = itertools.count()

    def count_with(self, other: Rendering) -> None:
        """Take seeds alternately with another rendering of the program, so that no two calls share one."""
        self.seed, self._calls, self.lost = other.seed, other._calls, other.lost

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Leave ``format`` and ``parse`` as inherited: DSPy would wrap them in callbacks again."""

    @abstractmethod
    def prompt(
        self, signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Prompt:
        """What the model is sent, whatever the engine can do.

        Args:
            signature: Instructions, input fields and output fields.
            demos: Examples; those that lack some fields are shown without them.
            inputs: Values of the input fields; a missing or None value is left out.
        """

    @abstractmethod
    def read(self, signature: type[dspy.Signature], reply: str) -> dict[str, Any]:
        """The output values in a reply.

        Raises:
            ValueError: The reply does not keep the format.
        """

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Call the model once.

        Args:
            lm: Serves the model.
            lm_kwargs: Generation settings of this call, over the LM's own.
            signature: Instructions, input fields and output fields.
            demos: Examples.
            inputs: Values of the input fields.

        Returns:
            One dictionary with a value for every output field.

        Raises:
            AdapterParseError: The reply is empty or does not keep the format.
            ModelError: The engine cannot take this rendering, or a setting is unknown.
        """
        request, options = self._request(lm, lm_kwargs, signature, demos, inputs, abilities(lm))
        with self._noting_loss(signature, inputs):
            return [self._values(signature, lm(request, **options))]

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """As calling the rendering, with ``await``."""
        request, options = self._request(lm, lm_kwargs, signature, demos, inputs, abilities(lm))
        with self._noting_loss(signature, inputs):
            answer = (
                lm.acall(request, **options) if _awaits(lm) else asyncio.to_thread(lm, request, **options)
            )
            return [self._values(signature, await answer)]

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The messages as they are sent; raw text shows as a single user message."""
        prompt = self.prompt(signature, demos, inputs)
        system = [{"role": "system", "content": prompt.system}] if prompt.system else []
        return system + [{"role": role, "content": text} for role, text in prompt.messages]

    def format_user_message_content(
        self,
        signature: type[dspy.Signature],
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Values as a ``Label: value`` line each: ``dspy.ReAct`` has its trajectory written so."""
        known = [name for name in signature.input_fields if inputs.get(name) is not None]
        lines = [f"{label(name)}: {one_line(format_value(inputs[name]))}" for name in known]
        return "\n".join(part for part in (prefix, *lines, suffix) if part)

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """The output values in a reply, defaults filled in.

        Raises:
            AdapterParseError: The reply is empty or does not keep the format.
        """
        if not completion.strip():
            raise AdapterParseError(self.name, signature, completion, message="The reply is empty.")
        try:
            read = self.read(signature, completion)
        except ValueError as error:
            raise AdapterParseError(self.name, signature, completion, message=str(error)) from error
        values: dict[str, Any] = apply_output_field_defaults(signature, read)
        if values.keys() != signature.output_fields.keys():
            raise AdapterParseError(self.name, signature, completion, parsed_result=values)
        return values

    def _request(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
        able: frozenset[str],
    ) -> tuple[Request, dict[str, Any]]:
        if self.needs_raw and "raw" not in able:
            raise ModelError(
                f"The rendering {self.name} sends raw text, and this model only takes conversations.",
                where=lm.model,
                fix="serve it locally, declare it as a base model, or take another rendering",
            )
        prompt = self.prompt(signature, demos, inputs)
        settings, options = _settings(lm, lm_kwargs)
        if self.seed is not None and (settings.get("temperature") or 0) > 0 and takes_seed(lm):
            settings["seed"] = (self.seed + next(self._calls)) % SEEDS
        request = Request(
            model=lm.model,
            messages=tuple(_message(role, text) for role, text in prompt.messages),
            system=prompt.system or None,
            config=_config(prompt, settings, able, beside=_beside(lm)),
        )
        return request, options

    @contextmanager
    def _noting_loss(self, signature: type[dspy.Signature], inputs: Mapping[str, Any]) -> Iterator[None]:
        """Note a call that gives no values; a refusal is a reply without them."""
        try:
            yield
        except Exception as error:
            lost = error
            if isinstance(error, RefusalError):
                lost = AdapterParseError(self.name, signature, error.message, message="It was refused.")
            callers = dspy.settings.caller_modules or [None]
            caller = callers[-1] if isinstance(callers[-1], dspy.Predict) else None
            self.lost.append(LostCall(caller, inputs, lost))
            if lost is error:
                raise
            raise lost from error

    def _values(self, signature: type[dspy.Signature], response: Response) -> dict[str, Any]:
        if response.text is None:
            said = "\n".join(getattr(part, "text", "") for part in response.message.parts)
            raise AdapterParseError(self.name, signature, said, message="The model did not answer in text.")
        values: dict[str, Any] = self.parse(signature, response.text)
        return values


def abilities(lm: dspy.BaseLM) -> frozenset[str]:
    """What an LM's engine takes in addition to a conversation.

    Engines of this package say so themselves: ``raw`` text, ``grammar`` and ``schema``
    constraints. Of others only DSPy's word on structured output is known.
    """
    declared = getattr(getattr(lm, "engine", None), "abilities", None)
    if isinstance(declared, frozenset):
        return declared
    return frozenset({"schema"}) if lm.supports_response_schema else frozenset()


def _awaits(lm: dspy.BaseLM) -> bool:
    """Whether an LM can be awaited: engines of this package answer on the thread that asks."""
    own = getattr(lm, "engine", None)
    return own is None or isinstance(own, str) or getattr(lm, "_async_engine_spec", None) is not None


def _settings(lm: dspy.BaseLM, lm_kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Generation settings and cache options, the call's over the LM's."""
    own = {key: value for key, value in lm.kwargs.items() if key not in CONNECTION}
    merged = {**_renamed(own), **_renamed(lm_kwargs)}
    settings = {key: value for key, value in merged.items() if value is not None}
    if settings.pop("n", 1) != 1:
        raise ModelError("A rendering asks for one reply per call.", where="setting n", fix="leave n out")
    options = {key: settings.pop(key) for key in CALL_OPTIONS if key in settings}
    known = (*CONFIG_SETTINGS, *EXTENSIONS, "reasoning_effort", "stop")
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise ModelError(
            f"Unknown generation settings: {', '.join(unknown)}.",
            where=lm.model,
            fix=f"known are {', '.join(known)}",
        )
    return settings, options


def _renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    named = dict(settings)
    newer = named.pop("max_completion_tokens", None)
    return named if newer is None else {**named, "max_tokens": newer}


def _beside(lm: dspy.BaseLM) -> tuple[str, ...]:
    """Settings that go with the others under their own name, as DSPy's field for them would not do.

    OpenAI's format has none for ``top_k``; that for ``max_tokens`` becomes ``max_completion_tokens``.
    """
    own_engine = not isinstance(getattr(lm, "engine", None), str)
    has_top_k = own_engine or lm.model.startswith(("anthropic/", "gemini/"))
    return (() if has_top_k else ("top_k",)) + (("max_tokens",) if older_limit(lm) else ())


def _config(
    prompt: Prompt, settings: Mapping[str, Any], able: frozenset[str], *, beside: Sequence[str]
) -> Config:
    fields = {key: settings[key] for key in CONFIG_SETTINGS if key in settings and key not in beside}
    extensions = {key: settings[key] for key in (*EXTENSIONS, *beside) if key in settings}
    if effort := settings.get("reasoning_effort"):
        fields["reasoning"] = Reasoning(effort="off" if effort == "none" else effort)
    if prompt.raw:
        extensions["raw"] = True
    if prompt.grammar is not None and "grammar" in able:
        extensions["grammar"] = prompt.grammar
    asked = settings.get("stop", ())
    stop = (asked,) if isinstance(asked, str) else tuple(asked)
    if prompt.raw or "grammar" in able:
        stop += tuple(text for text in prompt.stop if text not in stop)
    return Config(
        stop=stop,
        response_format=response_format(prompt, able),
        extensions=extensions or None,
        **fields,
    )


def response_format(prompt: Prompt, able: frozenset[str]) -> dict[str, Any] | None:
    """What a reply is constrained to by schema, as DSPy's requests say it; None where it is not.

    Args:
        prompt: What is sent.
        able: What the engine takes, from :func:`abilities`.
    """
    if prompt.schema is None or "schema" not in able:
        return None
    # Services in strict mode refuse a length; max_tokens bounds their replies.
    schema = prompt.schema | NO_SPACES if "grammar" in able else without_lengths(prompt.schema)
    return {"type": "json_schema", "name": "outputs", "schema": schema, "strict": is_closed(schema)}


def _message(role: str, text: str) -> Message:
    return Message.user(text) if role == "user" else Message.assistant(text)
