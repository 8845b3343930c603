"""The replies of the fault server: a small sentiment task, answered by a rule in place of a model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

SKILL = {"small": 0.6, "large": 0.85}
"""Share of reviews a model gets right without demos."""

OTHER_SKILL, PER_DEMO, MOST_DEMOS, MOST_SKILL = 0.7, 0.04, 8, 0.97
CHARACTERS_PER_TOKEN = 4

_REVIEW = re.compile(r"(?:^Review: *|\[\[ ## review ## \]\]\n)(.+)", re.MULTILINE)
_WRITTEN_DEMO = re.compile(r"^Sentiment: *\w", re.MULTILINE)


def answer(request: Mapping[str, Any], *, chat: bool = True) -> dict[str, Any]:
    """The reply to a request, a function of the request alone.

    Says whether the last review holds the word ``good``, in the shape the prompt asks for. It is
    right for a share of the reviews that depends on the model and grows with the demos.

    Args:
        request: The request's body.
        chat: Whether it is for chat completions, with messages; else plain text to continue.
    """
    turns = request["messages"] if chat else [{"role": "user", "content": request["prompt"]}]
    text = "\n".join(str(turn["content"]) for turn in turns)
    asked = str(turns[-1]["content"])
    said = _REVIEW.findall(asked)
    demos = sum(turn["role"] == "assistant" for turn in turns) + len(_WRITTEN_DEMO.findall(asked))
    sentiment = _sentiment(request["model"], said[-1] if said else asked, demos)
    reply, reason = _cut(_shaped(sentiment, text, request.get("response_format")), _limit(request))
    words: dict[str, Any] = {"message": {"role": "assistant", "content": reply}} if chat else {"text": reply}
    read = sum(len(str(turn["content"])) for turn in turns) // CHARACTERS_PER_TOKEN
    written = _tokens(reply)
    return {
        "id": "reply",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, **words, "finish_reason": reason}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def _sentiment(model: str, review: str, demos: int) -> str:
    truth, other = ("positive", "negative") if "good" in review else ("negative", "positive")
    skill = SKILL.get(model, OTHER_SKILL) + PER_DEMO * min(demos, MOST_DEMOS)
    luck = int(hashlib.sha256(f"{model} {review}".encode()).hexdigest()[:6], 16) / 16**6
    return truth if luck < min(skill, MOST_SKILL) else other


def _shaped(sentiment: str, text: str, response_format: object) -> str:
    values = {"sentiment": sentiment}
    if re.search(r"\breasoning\b", f"{text} {response_format or ''}", re.IGNORECASE):
        values = {"reasoning": "The wording decides it."} | values
    if response_format or '"sentiment" (' in text:
        return json.dumps(values, separators=(",", ":"))
    if "[[ ##" in text:
        fields = [f"[[ ## {name} ## ]]\n{value}\n" for name, value in values.items()]
        return "\n".join([*fields, "[[ ## completed ## ]]"])
    if len(values) == 1:
        return sentiment
    return "\n".join(f"{name.title()}: {value}" for name, value in values.items())


def _limit(request: Mapping[str, Any]) -> int | None:
    return request.get("max_tokens") or request.get("max_completion_tokens")


def _cut(reply: str, most: int | None) -> tuple[str, str]:
    if most is None or _tokens(reply) <= most:
        return reply, "stop"
    return reply[: most * CHARACTERS_PER_TOKEN], "length"


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
