"""What providers answer to a good request, as documented.

Every answer counts the same tokens, in the provider's own terms: 100 read, 40 of them from a prefix
cache, and 30 generated, 10 of them reasoning. Some do not report those of a cache.
"""

from __future__ import annotations

from typing import Any, Literal

Finish = Literal["whole", "cut", "filtered"]


def chat_answer(text: str, finish: Finish) -> dict[str, Any]:
    reasons = {"whole": "stop", "cut": "length", "filtered": "content_filter"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "served",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": reasons[finish],
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 30,
            "total_tokens": 130,
            "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 0},
        },
    }


def uncached_answer(text: str, finish: Finish) -> dict[str, Any]:
    """As above from a server that keeps no count of cached tokens."""
    answer = chat_answer(text, finish)
    answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}
    return answer


def text_answer(text: str) -> dict[str, Any]:
    """The reply of a server that continues text."""
    answer = chat_answer("", "whole")
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    return answer | {"object": "text_completion", "choices": [choice]}


def refusal(text: str, finish: Finish) -> dict[str, Any]:
    """OpenAI's refusal: a field of its own beside an empty content."""
    answer = chat_answer("", "whole")
    answer["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I can't help."}
    return answer


def anthropic_answer(text: str, finish: Finish) -> dict[str, Any]:
    reasons = {"whole": "end_turn", "cut": "max_tokens", "filtered": "refusal"}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": reasons[finish],
        "stop_sequence": None,
        "usage": {
            "input_tokens": 45,
            "cache_creation_input_tokens": 15,
            "cache_read_input_tokens": 40,
            "output_tokens": 30,
            "service_tier": "standard",
        },
    }


def gemini_answer(text: str, finish: Finish) -> dict[str, Any]:
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 10,
        "cachedContentTokenCount": 40,
        "totalTokenCount": 130,
    }
    reasons = {"whole": "STOP", "cut": "MAX_TOKENS", "filtered": "SAFETY"}
    candidate: dict[str, Any] = {"finishReason": reasons[finish], "index": 0}
    if finish != "filtered":
        candidate["content"] = {"parts": [{"text": text}], "role": "model"}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "served", "responseId": "r"}


def bedrock_answer(text: str, finish: Finish) -> dict[str, Any]:
    reasons = {"whole": "end_turn", "cut": "max_tokens", "filtered": "content_filtered"}
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}] if text else []}},
        "stopReason": reasons[finish],
        "usage": {
            "inputTokens": 45,
            "outputTokens": 30,
            "totalTokens": 130,
            "cacheReadInputTokens": 40,
            "cacheWriteInputTokens": 15,
        },
        "metrics": {"latencyMs": 200},
    }


def ollama_answer(text: str, finish: Finish) -> dict[str, Any]:
    return {
        "model": "llama3.1:8b",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done_reason": "length" if finish == "cut" else "stop",
        "done": True,
        "total_duration": 5,
        "prompt_eval_count": 100,
        "eval_count": 30,
    }
