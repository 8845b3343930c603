"""What a provider's error means, where DSPy takes it for another one.

DSPy goes by the status and the provider's code alone. Some providers say it in the message only: a bad key
is a 400 to Gemini, an empty account a 400 to Anthropic, an unknown model a 400 to Bedrock. And LiteLLM drops
codes and headers on the way.
"""

from __future__ import annotations

import re

from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMInvalidRequestError,
    LMProviderError,
    LMUnsupportedModelError,
)


class RefusalError(LMInvalidRequestError):  # type: ignore[misc]
    """The provider's filter refused a prompt or its reply: the model's answer to this input is none."""


_MEANT: tuple[tuple[type[LMProviderError], re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        # LiteLLM reports a reply that it cannot read as a bad request: it is sent once more.
        (LMProviderError, r"error converting to valid response|unable to get json response"),
        (
            LMAuthError,
            r"api key not valid|api_key_invalid|(?:invalid|incorrect) api key|invalid_api_key"
            r"|invalid x-api-key",
        ),
        (LMBillingError, r"credit balance is too low|credit limit exceeded|insufficient (?:credits|balance)"),
        (
            ContextWindowExceededError,
            r"maximum context length|(?:prompt|input) is too long|than the context length"
            r"|exceeds? the (?:available )?context|max_new_tokens` must be",
        ),
        (
            RefusalError,
            r"content.?filter|content management policy|content.?policy|usage policy|input was flagged"
            r"|prompt blocked: |candidate blocked: ",
        ),
        (
            LMUnsupportedModelError,
            r"model identifier is invalid|model_not_(?:available|found)|unable to access model"
            r"|model \S+ (?:not found|does not exist)|not a valid model|no endpoints found",
        ),
    )
)

_KNOWN = ("message", "model", "provider", "provider_code", "status", "request_id", "retry_after")

_LATER = re.compile(r"(?:retry|try again) (?:in|after) ([\d.]+) ?s", re.IGNORECASE)


def meant(error: BaseException) -> BaseException:
    """The error itself, or the one that its provider meant."""
    if type(error) not in (LMInvalidRequestError, LMAuthError):
        return error
    said, status = _text_of(error), getattr(error, "status", None)
    kind = next((kind for kind, pattern in _MEANT if pattern.search(said)), None)
    if kind is None and status == 404:
        kind = LMUnsupportedModelError
    # A 401 or 403 that speaks of anything but a filter is what it seems.
    if kind is None or (isinstance(error, LMAuthError) and kind is not RefusalError):
        return error
    found: BaseException = kind(**{name: getattr(error, name) for name in _KNOWN})
    found.__cause__ = error
    return found


def _text_of(error: BaseException) -> str:
    """An error's message, and the bodies of the replies behind it.

    Clients quote only bodies of a form they know; LiteLLM 1.110 drops an ``error`` that is a bare string.
    """
    text, cause = str(error), error.__cause__
    while cause is not None:
        body = getattr(cause, "body", None)
        text += "" if body is None or str(body) in text else f" {body}"
        cause = cause.__cause__
    return text


def asked_to_wait(error: BaseException) -> float | None:
    """Seconds that the provider asks to wait, from its header or its words; None if it does not say."""
    seconds = getattr(error, "retry_after", None)
    if isinstance(seconds, (int, float)):
        return float(seconds)
    behind: BaseException | None = error
    while behind is not None:
        headers = getattr(behind, "litellm_response_headers", None) or {}
        value = str(headers.get("retry-after", ""))
        if re.fullmatch(r"\d+(?:\.\d+)?", value):
            return float(value)
        behind = behind.__cause__
    found = _LATER.search(str(error))
    return float(found[1]) if found and re.fullmatch(r"\d+(?:\.\d+)?", found[1]) else None
