"""From what a user writes about a model to a Model with nothing left to guess."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from optimizers.errors import ModelError, scrubbed
from optimizers.models.keys import address_of, key_variables
from optimizers.models.model import ACCEPTABLE, CONTINUING, LEAST_CONTEXT, LOCAL_PREFIX, Engine, Kind, Model
from optimizers.models.pricing import BY_SIZE, DeclaredPrice, price_of
from optimizers.models.quantized import PINNED_BITS, check_quantization
from optimizers.models.reasoning import EFFORTS, USUAL_EFFORTS, known_efforts, leaves_sampling_open

LOCAL_CONTEXT = 4096
"""Tokens a local model is given room for, when it is not said: demos fit, and memory stays small."""

LOCAL_CONCURRENCY = 4
"""Rollouts of a local model that run together: as many as its engine has slots."""

REMOTE_CONTEXT = 8192
"""Tokens that fit in one call of a model over HTTP, when it is not said."""

REASONING_CONTEXT = 32_768
"""The same for a model that reasons: twice the room it is given for that."""

KEYS = (
    "kind", "size", "price", "api_base", "engine", "context", "concurrency", "timeout", "rpm", "tpm",
    "accepts", "reasoning_efforts",
)  # fmt: skip


def model(
    name: str,
    *,
    kind: Kind | None = None,
    size: float | None = None,
    price: DeclaredPrice = None,
    api_base: str | Sequence[str] | None = None,
    engine: Engine = "auto",
    context: int | None = None,
    concurrency: int | None = None,
    timeout: float | None = None,
    rpm: int | None = None,
    tpm: int | None = None,
    accepts: Sequence[str] = (),
    reasoning_efforts: Sequence[str] | None = None,
) -> Model:
    """Declare a model.

    Args:
        name: ``local/NAME`` or ``local/NAME@q8_0``, ``local//path/to/file.gguf``, or a DSPy/LiteLLM model
            string.
        kind: ``base``, ``instruct`` or ``chat``; chat for models over HTTP if left out.
        size: Billions of parameters.
        price: (input, output) in US dollars per million tokens, or ``"by-size"``.
        api_base: Address of your own OpenAI-compatible server, or of several that serve this model.
        engine: DSPy backend of a model over HTTP: ``auto``, ``lm15`` or ``litellm``.
        context: Tokens that fit in one call.
        concurrency: Calls in flight at once, over all servers.
        timeout: Seconds to wait for a reply over HTTP; 120 if left out.
        rpm: Calls per minute at most.
        tpm: Tokens per minute at most: the prompt's, about, and all that a reply may hold.
        accepts: Sampling parameters that your server takes beyond the usual: some of ``top_k``,
            ``min_p``, ``repetition_penalty`` and ``reasoning_effort``. llama.cpp's in this process
            are known.
        reasoning_efforts: Levels of native reasoning, such as ``("low", "medium", "high")``; from
            LiteLLM's cost map if left out, none if empty.

    Raises:
        ModelError: The model is unknown, or the declaration is not complete.
        PriceError: No price is known.
    """
    if kind is not None and kind not in get_args(Kind):
        raise ModelError(
            f"There is no model kind {kind!r}.", where=name, fix=f"one of {', '.join(get_args(Kind))}"
        )
    if engine not in ("auto", "lm15", "litellm"):
        raise ModelError(f"There is no engine {engine!r}.", where=name, fix="one of auto, lm15, litellm")
    for what, given, least in (
        ("size", size, 0.0), ("context", context, LEAST_CONTEXT), ("concurrency", concurrency, 1),
        ("timeout", timeout, 0.0),
    ):  # fmt: skip
        if given is not None and (given < least or given == 0 or not isfinite(given)):
            fix = f"at least {least}" if least else "above 0"
            raise ModelError(f"{what} is {given}.", where=name, fix=f"give one {fix}, or leave it out")
    if name.startswith(LOCAL_PREFIX):
        if api_base or rpm or tpm:
            what = "A local model runs in this process: it has no address and no limits per minute."
            raise ModelError(what, where=name, fix="leave api_base, rpm and tpm out")
        if accepts or reasoning_efforts:
            what = "What a local model takes is known, and is not declared."
            raise ModelError(what, where=name, fix="leave accepts and reasoning_efforts out")
        return _local(name, kind, size, price, context, concurrency)
    if "/" not in name:
        from optimizers.models.catalogue import CATALOGUE

        local = f"{LOCAL_PREFIX}{name}"
        fix = f"write {local}" if local in CATALOGUE else f"for example openai/{name}"
        raise ModelError("A model needs its provider in front.", where=name, fix=fix)
    if api_base is not None and name.startswith(("ollama/", "ollama_chat/")) and engine == "auto":
        engine = "lm15"  # the two engines want different addresses of Ollama
    declared: list[str | None] = [api_base] if isinstance(api_base, str) else [*(api_base or ())]
    addresses = tuple(filter(None, (address_of(name, one) for one in declared or [None])))
    _check_addresses(name, addresses, engine)
    provider = name.partition("/")[0]
    if kind == "base" and provider not in CONTINUING:
        raise ModelError(
            f"{provider} has no endpoint that continues text unchanged, which a base model needs.",
            where=name,
            fix="declare another kind, or name it openai/NAME with the api_base of a server of OpenAI's kind",
        )
    accepted, efforts = _beyond_the_usual(name, kind, accepts, reasoning_efforts)
    samples = kind == "base" or leaves_sampling_open(name)
    return Model(
        name=name,
        kind=kind or "chat",
        size=size,
        price=price_of(name, size=size, declared=price),
        engine=engine,
        api_base=addresses[0] if addresses else None,
        replicas=addresses[1:],
        context=context or (REASONING_CONTEXT if efforts or not samples else REMOTE_CONTEXT),
        concurrency=concurrency or 8 * max(1, len(addresses)),
        timeout=timeout or 120.0,
        rpm=_per_minute(name, "rpm", rpm),
        tpm=_per_minute(name, "tpm", tpm),
        accepts=accepted,
        reasoning_efforts=efforts,
        takes_temperature=samples,
    )


def _check_addresses(name: str, addresses: Sequence[str], engine: Engine) -> None:
    """Refuse addresses that studies could not keep, or that no engine would use.

    Raises:
        ModelError: One holds a key, is there twice, or there are several for DSPy's native engine.
    """
    for address in addresses:
        if scrubbed(address) != address:
            raise ModelError(
                "The address of the model holds a key or a password, and studies keep no keys.",
                where=f"{name}: api_base {address}",
                fix=f"leave it out of the address, and set {key_variables(name)[0]} in the environment",
            )
    if len(set(addresses)) < len(addresses):
        raise ModelError("One address is given twice.", where=name, fix="give each server once")
    if len(addresses) > 1 and engine == "lm15" and not name.startswith(("ollama/", "ollama_chat/")):
        what = "DSPy's native engine knows one address."
        raise ModelError(what, where=name, fix="leave engine out: several servers go through LiteLLM")


def _per_minute(name: str, what: str, limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ModelError(
            f"{what} is {limit}: no call could be sent.", where=name, fix=f"{what}=60, or leave it out"
        )
    return limit


def _beyond_the_usual(
    name: str, kind: Kind | None, accepts: Sequence[str], efforts: Sequence[str] | None
) -> tuple[frozenset[str], tuple[str, ...]]:
    """What a model over HTTP accepts, and its reasoning efforts, lowest first.

    Raises:
        ModelError: A name is not one of those there are, or a base model would reason.
    """
    for what, given, legal in (
        ("sampling parameter beyond the usual", accepts, ACCEPTABLE),
        ("reasoning effort", efforts or (), EFFORTS),
    ):
        unknown = [given] if isinstance(given, str) else sorted(set(given) - set(legal))
        if unknown:
            raise ModelError(
                f"{unknown[0]!r} is no {what}.", where=name, fix=f"a list of some of {', '.join(legal)}"
            )
    if kind == "base":
        if efforts or "reasoning_effort" in accepts:
            fix = "leave reasoning efforts out, or declare another kind"
            raise ModelError("A base model continues text and does not reason.", where=name, fix=fix)
        return frozenset(accepts), ()
    if efforts is None:
        efforts = known_efforts(name) or (USUAL_EFFORTS if "reasoning_effort" in accepts else ())
    accepted = frozenset(accepts) - {"reasoning_effort"} | ({"reasoning_effort"} if efforts else set())
    return accepted, tuple(effort for effort in EFFORTS if effort in efforts)


def parse_model(text: str) -> Model:
    """A model from the command line: ``NAME[,key=value...]``.

    Keys are kind, size, price (``IN/OUT`` or ``by-size``), api_base (again for each further server), engine,
    context, concurrency, timeout, rpm, tpm, accepts (``top_k/min_p``) and reasoning_efforts
    (``low/medium/high``).

    Raises:
        ModelError: A key is unknown or a value is not of its type.
    """
    name, *parts = text.split(",")
    options: dict[str, Any] = {}
    for part in parts:
        key, found, value = part.partition("=")
        if not found or key not in KEYS:
            raise ModelError(
                f"{part!r} is no setting of a model.", where=text, fix=f"settings are {', '.join(KEYS)}"
            )
        try:
            read = _value(key, value)
            options[key] = (*options.get(key, ()), read) if key == "api_base" else read
        except ValueError:
            raise ModelError(
                f"{value!r} is no {key}.", where=text, fix="for example price=0.1/0.4,size=7"
            ) from None
    return model(name, **options)


def _value(key: str, value: str) -> Any:
    if key == "price":
        if value == BY_SIZE:
            return value
        given, found, generated = value.partition("/")
        return float(given), float(generated if found else given)
    if key in ("size", "timeout"):
        return float(value)
    if key in ("accepts", "reasoning_efforts"):
        return tuple(filter(None, value.split("/")))
    return int(value) if key in ("context", "concurrency", "rpm", "tpm") else value


def _local(
    name: str,
    kind: Kind | None,
    size: float | None,
    price: DeclaredPrice,
    context: int | None,
    concurrency: int | None,
) -> Model:
    from optimizers.models.catalogue import CATALOGUE

    base, _, quantization = name.partition("@")
    known = CATALOGUE.get(base)
    if known is None:
        quantization = ""  # what follows an @ in a path is part of it
    elif quantization == known.quantization:
        name, quantization = base, ""
    if known is not None and quantization:
        check_quantization(name, quantization, known.quantization)
    rest = name.removeprefix(LOCAL_PREFIX)
    if known is None and not (rest.startswith(("/", ".", "~")) or rest.endswith(".gguf")):
        close = difflib.get_close_matches(base, CATALOGUE, n=1, cutoff=0.6)
        meant = f"did you mean {close[0]}? " if close else ""
        raise ModelError(
            "There is no local model of this name.",
            where=name,
            fix=f"{meant}there are {', '.join(CATALOGUE)}; your own weights are local//path/to/file.gguf",
        )
    if known is None and not Path(rest).expanduser().is_file():
        raise ModelError(
            "There are no weights at this path.", where=name, fix="give local//path of a GGUF file"
        )
    kind = kind or (known.kind if known else _guessed_kind(name))
    size = size or (known.size if known else _size_in(name))
    share = PINNED_BITS[quantization] / PINNED_BITS[known.quantization] if known and quantization else 1.0
    return Model(
        name=name,
        kind=kind,
        size=size,
        quantization=quantization or (known.quantization if known else _quantization_in(name)),
        weights=round(known.asset.bytes * share) if known else Path(rest).expanduser().stat().st_size,
        price=price_of(name, size=size, declared=price, share=share),
        engine="llama",
        context=context or LOCAL_CONTEXT,
        concurrency=concurrency or LOCAL_CONCURRENCY,
    )


def _guessed_kind(name: str) -> Kind:
    """The kind a file's name gives away.

    Raises:
        ModelError: It gives nothing away.
    """
    words = set(re.split(r"[^a-z0-9]+", Path(name).name.lower()))
    if words & {"chat", "it"}:
        return "chat"
    if "instruct" in words:
        return "instruct"
    if "base" in words:
        return "base"
    raise ModelError(
        "The file's name does not say what kind of model it is.",
        where=name,
        fix='declare it: model("local//path", kind="base"), or instruct, or chat',
    )


def _quantization_in(name: str) -> str | None:
    """How a file is quantized, from a part of its name such as ``Q4_K_M`` or ``f16``."""
    found = re.search(
        r"(?<![a-z0-9])(i?q\d(?:_[a-z0-9]+)*|b?f16|f32|mxfp4)(?![a-z0-9])", Path(name).stem.lower()
    )
    return found[1] if found else None


def _size_in(name: str) -> float | None:
    """Billions of parameters, from a part of the name such as ``0.5b`` or ``135m``."""
    found = re.search(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(b|m)(?![a-z0-9])", Path(name).name.lower())
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2] == "m" else 1)
