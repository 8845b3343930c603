"""The wire formats of providers as documented: where a request goes, what it says, what comes back.

Every answer counts the same tokens, in the provider's own terms: 100 read, 40 of them from a prefix
cache, and 30 generated, 10 of them reasoning. Where a provider does not report a count it is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from providers.server import Reply

TEMPERATURE, TOP_P, LIMIT = 0.7, 0.9, 60
"""What every request is asked to be sampled with."""

Finish = Literal["whole", "cut", "filtered"]

WAIT = 7
"""Seconds a rate limit asks to wait."""

LATER = {"Retry-After": str(WAIT)}


@dataclass(frozen=True)
class Wire:
    """One provider as one engine reaches it.

    Attributes:
        name: Names the test.
        model: What a user writes.
        engine: What is asked for; ``auto`` where that is what a user would leave it at.
        environ: Variables a user sets.
        address: Host and path of the request.
        auth: Headers that carry the credential.
        body: What the request's body holds, by path.
        never: Names that its body must not hold: the provider refuses them.
        answer: The reply to a good request, from its text and how it ended.
        errors: What goes wrong, by kind.
        query: The request's query.
        keys: The variables of which one holds the key.
        cached: Tokens reported as read from a cache.
        settings: What a user declares of the model.
    """

    name: str
    model: str
    engine: str
    environ: Mapping[str, str]
    address: tuple[str, str]
    auth: Mapping[str, str]
    body: Mapping[str, Any]
    answer: Callable[[str, Finish], dict[str, Any]]
    errors: Mapping[str, Reply]
    never: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    cached: int = 40
    settings: Mapping[str, Any] = field(default_factory=dict)


# ── OpenAI's Chat Completions, and those that speak it ──────────────────


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


def chat_body(limit: str, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages.0.role": "system",
        "messages.1.role": "user",
        limit: LIMIT,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
    }


def error(
    message: str, kind: str | None = None, code: Any = None, param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


OPENAI_ERRORS = {
    "key": Reply(
        401,
        error(
            "Incorrect API key provided: KEY. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            "invalid_request_error",
            "invalid_api_key",
        ),
    ),
    "model": Reply(
        404,
        error(
            "The model `gpt-4o-mini` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
    ),
    "credit": Reply(
        429,
        error(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
    ),
    "busy": Reply(
        429,
        error("Rate limit reached for requests per min (RPM).", "requests", "rate_limit_exceeded"),
        LATER,
    ),
    "long": Reply(
        400,
        error(
            "This model's maximum context length is 128000 tokens. However, your messages resulted in "
            "200000 tokens. Please reduce the length of the messages.",
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        ),
    ),
    "filtered": Reply(
        400,
        error(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try "
            "again with a different prompt.",
            "invalid_request_error",
            "invalid_prompt",
        ),
    ),
    "broken": Reply(
        500, error("The server had an error while processing your request with KEY.", "server_error")
    ),
    "overloaded": Reply(
        503, error("The engine is currently overloaded, please try again later.", "server_error")
    ),
    "setting": Reply(
        400,
        error(
            "Unsupported value: 'temperature' does not support 0.7 with this model.",
            "invalid_request_error",
            "unsupported_value",
            "temperature",
        ),
    ),
    "malformed": Reply(200, '{"id": "chatcmpl-1", "choices": [{"mess'),
    "page": Reply(502, "<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"}),
}

AZURE_ERRORS = OPENAI_ERRORS | {
    "key": Reply(
        401,
        {
            "error": {
                "code": "401",
                "message": "Access denied due to invalid subscription key KEY or wrong API endpoint.",
            }
        },
    ),
    "model": Reply(
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist.",
            }
        },
    ),
    "busy": Reply(
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests to the ChatCompletions_Create Operation have exceeded token rate limit. "
                "Please retry after 7 seconds.",
            }
        },
        LATER,
    ),
    "filtered": Reply(
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                "management policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
                },
            }
        },
    ),
}
del AZURE_ERRORS["credit"]

OPENROUTER_ERRORS = {
    "key": Reply(401, {"error": {"code": 401, "message": "No auth credentials found in KEY"}}),
    "model": Reply(404, {"error": {"code": 404, "message": "No endpoints found for meta-llama/llama."}}),
    "credit": Reply(402, {"error": {"code": 402, "message": "Insufficient credits. Add more credits."}}),
    "busy": Reply(
        429, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min"}}, LATER
    ),
    "long": Reply(
        400,
        {
            "error": {
                "code": 400,
                "message": "This endpoint's maximum context length is 131072 tokens. However, you requested "
                "about 200000 tokens (199940 of text input, 60 in the output).",
            }
        },
    ),
    "filtered": Reply(
        403,
        {
            "error": {
                "code": 403,
                "message": "Your chosen model requires moderation and your input was flagged",
                "metadata": {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"},
            }
        },
    ),
    "broken": Reply(500, {"error": {"code": 500, "message": "Internal Server Error"}}),
    "overloaded": Reply(503, {"error": {"code": 503, "message": "No instances available"}}),
    "within": Reply(200, {"error": {"code": 502, "message": "Provider returned error"}, "user_id": "u"}),
    "malformed": OPENAI_ERRORS["malformed"],
}

TOGETHER_ERRORS = {
    "key": Reply(
        401,
        {"id": "a"} | error("Invalid API key provided: KEY", "invalid_request_error", "invalid_api_key"),
    ),
    "model": Reply(
        404,
        {"id": "a"} | error("Unable to access model served.", "invalid_request_error", "model_not_available"),
    ),
    "credit": Reply(402, {"id": "a"} | error("Credit limit exceeded.", "credit_limit", None)),
    "busy": Reply(429, {"id": "a"} | error("You have been rate limited.", "rate_limit", None), LATER),
    "long": Reply(
        422,
        {"id": "a"}
        | error(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 "
            "`inputs` tokens and 60 `max_new_tokens`",
            "invalid_request_error",
            None,
            "max_tokens",
        ),
    ),
    "broken": Reply(500, {"id": "a"} | error("Internal server error at KEY", "server_error")),
    "overloaded": Reply(503, {"id": "a"} | error("The server is overloaded", "service_unavailable")),
    "malformed": OPENAI_ERRORS["malformed"],
}

VLLM_ERRORS = {
    "key": Reply(401, {"error": "Unauthorized"}),
    "model": Reply(404, error("The model `served` does not exist.", "NotFoundError", 404)),
    "long": Reply(
        400,
        error(
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4940 in "
            "the messages, 60 in the completion). Please reduce the length of the messages or completion.",
            "BadRequestError",
            400,
        ),
    ),
    "broken": Reply(500, error("Internal server error at KEY", "InternalServerError", 500)),
    "malformed": OPENAI_ERRORS["malformed"],
}

OLLAMA_ERRORS = {
    "model": Reply(404, error('model "llama3.1:8b" not found, try pulling it first', "api_error")),
    "broken": Reply(500, error("llama runner process has terminated: exit status 2", "api_error")),
    "overloaded": Reply(503, error("server busy, please try again", "api_error")),
    "malformed": OPENAI_ERRORS["malformed"],
}

LM_STUDIO_ERRORS = {
    "model": Reply(
        404, error('Model "served" not found.', "invalid_request_error", "model_not_found", "model")
    ),
    "long": Reply(
        400,
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the context "
            "length. Try to load the model with a larger context length, or provide a shorter input"
        },
    ),
    "broken": Reply(500, {"error": "The model has crashed without additional information."}),
    "malformed": OPENAI_ERRORS["malformed"],
}

# ── Anthropic's Messages ────────────────────────────────────────────────


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


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


ANTHROPIC_ERRORS = {
    "key": Reply(401, anthropic_error("authentication_error", "invalid x-api-key KEY")),
    "model": Reply(404, anthropic_error("not_found_error", "model: claude-haiku-4-5")),
    "credit": Reply(
        400,
        anthropic_error(
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to "
            "upgrade or purchase credits.",
        ),
    ),
    "busy": Reply(
        429, anthropic_error("rate_limit_error", "This request would exceed your rate limit."), LATER
    ),
    "long": Reply(
        400, anthropic_error("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum")
    ),
    "broken": Reply(500, anthropic_error("api_error", "Internal server error at KEY")),
    "overloaded": Reply(529, anthropic_error("overloaded_error", "Overloaded")),
    "malformed": Reply(200, '{"id": "msg_1", "content": [{"ty'),
}

# ── Gemini's generateContent ────────────────────────────────────────────


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


def gemini_error(code: int, status: str, message: str, *details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


GEMINI_ERRORS = {
    "key": Reply(
        400,
        gemini_error(
            400,
            "INVALID_ARGUMENT",
            "API key not valid: KEY. Please pass a valid API key.",
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            },
        ),
    ),
    "model": Reply(
        404,
        gemini_error(
            404,
            "NOT_FOUND",
            "models/gemini-2.5-flash is not found for API version v1beta, or is not supported for "
            "generateContent. Call ListModels to see the list of available models.",
        ),
    ),
    "busy": Reply(
        429,
        gemini_error(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota. Please retry in 7s.",
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{WAIT}s"},
        ),
    ),
    "long": Reply(
        400,
        gemini_error(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ),
    ),
    "blocked": Reply(
        200,
        {
            "promptFeedback": {"blockReason": "SAFETY", "safetyRatings": []},
            "usageMetadata": {"promptTokenCount": 100, "totalTokenCount": 100},
            "modelVersion": "served",
        },
    ),
    "broken": Reply(500, gemini_error(500, "INTERNAL", "An internal error has occurred at KEY.")),
    "overloaded": Reply(
        503, gemini_error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
    ),
    "malformed": Reply(200, '{"candidates": [{"cont'),
}

# ── Bedrock's Converse ──────────────────────────────────────────────────


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


def bedrock_error(status: int, kind: str, message: str) -> Reply:
    return Reply(status, {"message": message, "__type": kind}, {"x-amzn-errortype": kind})


BEDROCK_ERRORS = {
    "key": bedrock_error(
        403, "UnrecognizedClientException", "The security token included in the request is invalid: KEY"
    ),
    "model": bedrock_error(400, "ValidationException", "The provided model identifier is invalid."),
    "access": bedrock_error(
        403, "AccessDeniedException", "You don't have access to the model with the specified model ID."
    ),
    "busy": bedrock_error(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "long": bedrock_error(400, "ValidationException", "Input is too long for requested model."),
    "broken": bedrock_error(500, "InternalServerException", "The system encountered an unexpected error."),
    "overloaded": bedrock_error(
        503, "ServiceUnavailableException", "Bedrock is unable to process your request."
    ),
    "malformed": Reply(200, '{"output": {"mess'),
}

# ── Ollama's own /api/chat ──────────────────────────────────────────────


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


OWN_OLLAMA_ERRORS = {
    "model": Reply(404, {"error": "model 'llama3.1:8b' not found"}),
    "broken": Reply(500, {"error": "llama runner process has terminated: exit status 2"}),
    "overloaded": Reply(503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
    "malformed": Reply(200, '{"model": "llama3.1:8b", "mess'),
}

# ── Who is reached, by whom ─────────────────────────────────────────────

_OPENAI = {
    "model": "openai/gpt-4o-mini",
    "environ": {"OPENAI_API_KEY": "sk-canaryOpenAI"},
    "address": ("api.openai.com", "/v1/chat/completions"),
    "auth": {"authorization": "Bearer sk-canaryOpenAI"},
    "body": chat_body("max_completion_tokens", "gpt-4o-mini"),
    "answer": chat_answer,
    "errors": OPENAI_ERRORS,
    "keys": ("OPENAI_API_KEY",),
}
_AZURE = {
    "model": "azure/our-deployment",
    "auth": {"api-key": "canary-of-azure"},
    "body": chat_body("max_completion_tokens", "our-deployment"),
    "answer": chat_answer,
    "errors": AZURE_ERRORS,
    "keys": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "settings": {"price": (0.15, 0.6)},
}
_AZURE_LISTED = {
    "address": ("our.openai.azure.com", "/openai/deployments/our-deployment/chat/completions"),
    "query": {"api-version": "2024-10-21"},
}
_ANTHROPIC = {
    "model": "anthropic/claude-haiku-4-5",
    "environ": {"ANTHROPIC_API_KEY": "sk-ant-canary"},
    "address": ("api.anthropic.com", "/v1/messages"),
    "auth": {"x-api-key": "sk-ant-canary", "anthropic-version": "2023-06-01"},
    "body": {"model": "claude-haiku-4-5", "messages.0.role": "user", "temperature": TEMPERATURE},
    # Since Claude 4.5 one of temperature and top_p is taken, never both; there is no seed.
    "never": ("top_p", "seed"),
    "answer": anthropic_answer,
    "errors": ANTHROPIC_ERRORS,
    "keys": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
}
_GEMINI = {
    "model": "gemini/gemini-2.5-flash",
    "environ": {"GEMINI_API_KEY": "canary-of-gemini"},
    "address": ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:generateContent"),
    "auth": {"x-goog-api-key": "canary-of-gemini"},
    "body": {"contents.0.role": "user", "generationConfig.temperature": TEMPERATURE},
    "answer": gemini_answer,
    "errors": GEMINI_ERRORS,
    "keys": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}
_BEDROCK = {
    "model": "bedrock/amazon.nova-lite-v1:0",
    "address": ("bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-lite-v1%3A0/converse"),
    "body": {
        "messages.0.role": "user",
        "system.0.text": "Say whether it is good.",
        "inferenceConfig.maxTokens": LIMIT,
        "inferenceConfig.temperature": TEMPERATURE,
        "inferenceConfig.topP": TOP_P,
    },
    "never": ("seed",),
    "answer": bedrock_answer,
    "errors": BEDROCK_ERRORS,
}
_OPENROUTER = {
    "model": "openrouter/meta-llama/llama-3.1-8b-instruct",
    "environ": {"OPENROUTER_API_KEY": "sk-or-canary"},
    "address": ("openrouter.ai", "/api/v1/chat/completions"),
    "auth": {"authorization": "Bearer sk-or-canary"},
    "body": chat_body("max_tokens", "meta-llama/llama-3.1-8b-instruct"),
    "answer": chat_answer,
    "errors": OPENROUTER_ERRORS,
    "keys": ("OPENROUTER_API_KEY",),
    "settings": {"price": (0.05, 0.08)},
}
_TOGETHER = {
    "model": "together_ai/meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
    "address": ("api.together.ai", "/v1/chat/completions"),
    "auth": {"authorization": "Bearer canary-tgt"},
    "body": chat_body("max_tokens", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo"),
    "answer": uncached_answer,
    "errors": TOGETHER_ERRORS,
    "keys": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
    "cached": 0,
}
_OLLAMA = {
    "model": "ollama_chat/llama3.1:8b",
    "environ": {},
    "address": ("localhost:11434", "/v1/chat/completions"),
    "auth": {},
    "body": chat_body("max_tokens", "llama3.1:8b"),
    "answer": uncached_answer,
    "errors": OLLAMA_ERRORS,
    "cached": 0,
    "settings": {"price": (0.08, 0.32)},
}
_VLLM = {
    "model": "hosted_vllm/Qwen/Qwen2.5-7B-Instruct",
    "environ": {},
    "address": ("localhost:8000", "/v1/chat/completions"),
    "auth": {},
    "body": chat_body("max_tokens", "Qwen/Qwen2.5-7B-Instruct"),
    "answer": chat_answer,
    "errors": VLLM_ERRORS,
    "settings": {"price": (0.07, 0.28)},
}
_LM_STUDIO = {
    "model": "lm_studio/qwen2.5-7b-instruct",
    "environ": {},
    "address": ("localhost:1234", "/v1/chat/completions"),
    "auth": {},
    "body": chat_body("max_tokens", "qwen2.5-7b-instruct"),
    "answer": uncached_answer,
    "errors": LM_STUDIO_ERRORS,
    "cached": 0,
    "settings": {"price": (0.07, 0.28)},
}
_AWS = {"AWS_ACCESS_KEY_ID": "AKIDCANARY", "AWS_SECRET_ACCESS_KEY": "canary/aws", "AWS_REGION": "us-east-1"}


def _both(name: str, known: Mapping[str, Any]) -> list[Wire]:
    return [Wire(name=f"{name}-{engine}", engine=engine, **known) for engine in ("lm15", "litellm")]


def _own_server(name: str, model: str, port: int, known: Mapping[str, Any]) -> list[Wire]:
    """The same server as one of OpenAI's kind, by its address."""
    served = {
        **known,
        "model": f"openai/{model}",
        "address": (f"127.0.0.1:{port}", "/v1/chat/completions"),
        "body": chat_body("max_tokens", model),
        "settings": {"api_base": f"http://127.0.0.1:{port}/v1", "price": (0.07, 0.28)},
    }
    return [
        Wire(**served, name=f"{name}-as-openai-{engine}", engine=engine) for engine in ("lm15", "litellm")
    ]


WIRES: list[Wire] = [
    *_both("openai", _OPENAI),
    Wire(
        name="azure-lm15",
        engine="lm15",
        environ={
            "AZURE_OPENAI_API_KEY": "canary-of-azure",
            "AZURE_OPENAI_ENDPOINT": "https://our.openai.azure.com",
        },
        address=("our.openai.azure.com", "/openai/v1/chat/completions"),
        **_AZURE,
    ),
    Wire(
        name="azure-litellm",
        engine="litellm",
        environ={
            "AZURE_API_KEY": "canary-of-azure",
            "AZURE_API_BASE": "https://our.openai.azure.com",
            "AZURE_API_VERSION": "2024-10-21",
        },
        **_AZURE,
        **_AZURE_LISTED,
    ),
    Wire(
        name="azure-api_base",
        engine="auto",
        environ={"AZURE_OPENAI_API_KEY": "canary-of-azure", "AZURE_API_VERSION": "2024-10-21"},
        **{
            **_AZURE,
            "settings": {"api_base": "https://our.openai.azure.com", "price": (0.15, 0.6)},
            "errors": {},
        },
        **_AZURE_LISTED,
    ),
    *_both("anthropic", _ANTHROPIC),
    *_both("gemini", _GEMINI),
    Wire(
        name="gemini-by-google-key",
        engine="auto",
        **{**_GEMINI, "environ": {"GOOGLE_API_KEY": "canary-of-gemini"}, "errors": {}},
    ),
    Wire(
        name="bedrock-signed",
        engine="auto",
        environ=_AWS,
        auth={"authorization": "AWS4-HMAC-SHA256 Credential=AKIDCANARY/*/us-east-1/bedrock/aws4_request, *"},
        **_BEDROCK,
    ),
    Wire(
        name="bedrock-bearer",
        engine="litellm",
        environ={"AWS_BEARER_TOKEN_BEDROCK": "canary-of-aws", "AWS_REGION": "us-east-1"},
        auth={"authorization": "Bearer canary-of-aws"},
        **{**_BEDROCK, "errors": {}},
    ),
    *_both("openrouter", _OPENROUTER),
    Wire(name="together", engine="auto", environ={"TOGETHERAI_API_KEY": "canary-tgt"}, **_TOGETHER),
    Wire(
        name="together-other-name",
        engine="litellm",
        environ={"TOGETHER_API_KEY": "canary-tgt"},
        **{**_TOGETHER, "errors": {}},
    ),
    Wire(name="ollama-lm15", engine="lm15", **_OLLAMA),
    Wire(
        name="ollama-litellm",
        engine="litellm",
        **{
            **_OLLAMA,
            "address": ("localhost:11434", "/api/chat"),
            "body": {
                "model": "llama3.1:8b",
                "options.num_predict": LIMIT,
                "options.temperature": TEMPERATURE,
                "options.top_p": TOP_P,
                "stream": False,
            },
            "answer": ollama_answer,
            "errors": OWN_OLLAMA_ERRORS,
        },
    ),
    *_own_server("ollama", "llama3.1:8b", 11434, _OLLAMA),
    *_both("vllm", _VLLM),
    *_own_server("vllm", "Qwen/Qwen2.5-7B-Instruct", 8000, _VLLM),
    Wire(name="lm-studio", engine="auto", **_LM_STUDIO),
    *_own_server("lm-studio", "qwen2.5-7b-instruct", 1234, _LM_STUDIO),
]
