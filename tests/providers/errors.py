"""What providers answer when something is wrong, by kind; ``KEY`` stands for the key they were sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.server import Reply

WAIT = 7
"""Seconds a rate limit asks to wait."""

LATER = {"Retry-After": str(WAIT)}


def error(
    message: str, kind: str | None = None, code: Any = None, param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def gemini_error(code: int, status: str, message: str, *details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def bedrock_error(status: int, kind: str, message: str) -> Reply:
    return Reply(status, {"message": message, "__type": kind}, {"x-amzn-errortype": kind})


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

LLAMA_CPP_ERRORS = {
    # As a real server of build 11434 says it.
    "long": Reply(
        400,
        {
            "error": {
                "code": 400,
                "message": "request (9031 tokens) exceeds the available context size (4096 tokens), try "
                "increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9031,
                "n_ctx": 4096,
            }
        },
    ),
    "key": Reply(401, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}),
    "overloaded": Reply(
        503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
    ),
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

OWN_OLLAMA_ERRORS = {
    "model": Reply(404, {"error": "model 'llama3.1:8b' not found"}),
    "broken": Reply(500, {"error": "llama runner process has terminated: exit status 2"}),
    "overloaded": Reply(503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
    "malformed": Reply(200, '{"model": "llama3.1:8b", "mess'),
}
