"""Who is reached, by which engine, where, and what the request says, as each provider documents it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.answers import (
    Finish,
    anthropic_answer,
    bedrock_answer,
    chat_answer,
    gemini_answer,
    ollama_answer,
    uncached_answer,
)
from providers.errors import (
    ANTHROPIC_ERRORS,
    AZURE_ERRORS,
    BEDROCK_ERRORS,
    GEMINI_ERRORS,
    LLAMA_CPP_ERRORS,
    LM_STUDIO_ERRORS,
    OLLAMA_ERRORS,
    OPENAI_ERRORS,
    OPENROUTER_ERRORS,
    OWN_OLLAMA_ERRORS,
    TOGETHER_ERRORS,
    VLLM_ERRORS,
)
from providers.server import Reply

TEMPERATURE, TOP_P, LIMIT = 0.7, 0.9, 60
"""What every request is asked to be sampled with."""


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


def chat_body(limit: str, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "messages.0.role": "system",
        "messages.1.role": "user",
        limit: LIMIT,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
    }


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
    Wire(
        name="azure-lm15-other-key",
        engine="auto",
        environ={"AZURE_API_KEY": "canary-of-azure", "AZURE_OPENAI_ENDPOINT": "https://our.openai.azure.com"},
        address=("our.openai.azure.com", "/openai/v1/chat/completions"),
        **{**_AZURE, "errors": {}},
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
    *(
        Wire(
            name=f"ollama-at-{address}",
            engine="auto",
            **{
                **_OLLAMA,
                "environ": {"OLLAMA_API_KEY": "canary-of-ollama"},
                "keys": ("OLLAMA_API_KEY",),
                "auth": {"authorization": "Bearer canary-of-ollama"},
                "address": ("10.0.0.7:11434", "/v1/chat/completions"),
                "settings": {"price": (0.08, 0.32), "api_base": f"http://10.0.0.7:11434{address}"},
                "errors": {},
            },
        )
        for address in ("", "/v1")
    ),
    *_own_server("ollama", "llama3.1:8b", 11434, _OLLAMA),
    *_both("vllm", _VLLM),
    Wire(
        name="vllm-elsewhere",
        engine="lm15",
        **{
            **_VLLM,
            "environ": {
                "HOSTED_VLLM_API_KEY": "canary-of-vllm",
                "HOSTED_VLLM_API_BASE": "http://10.0.0.7:8000/v1",
            },
            "keys": ("HOSTED_VLLM_API_KEY",),
            "auth": {"authorization": "Bearer canary-of-vllm"},
            "address": ("10.0.0.7:8000", "/v1/chat/completions"),
            "errors": {},
        },
    ),
    *_own_server("vllm", "Qwen/Qwen2.5-7B-Instruct", 8000, _VLLM),
    *_own_server("llama.cpp", "weights", 8080, {**_VLLM, "errors": LLAMA_CPP_ERRORS}),
    Wire(name="lm-studio", engine="auto", **_LM_STUDIO),
    *_own_server("lm-studio", "qwen2.5-7b-instruct", 1234, _LM_STUDIO),
]
