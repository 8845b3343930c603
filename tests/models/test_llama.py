"""The embedded engine on real weights: SmolLM2-135M-Instruct, pulled once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from dspy.lm15 import Config, ContextLengthError, InvalidRequestError, Message, Request

from optimizers.models.llama import LlamaEngine, llama_engine
from optimizers.models.lm import bounds, language_model
from optimizers.models.resolve import model

pytestmark = pytest.mark.model

NAME = "local/smollm2-135m-instruct"
LABELS = 'root ::= " "? ("positive" | "negative")'


@pytest.fixture(scope="module")
def engine() -> LlamaEngine:
    return llama_engine(model(NAME))


def raw(text: str, **config: object) -> Request:
    extensions = {"raw": True, **config.pop("extensions", {})}  # type: ignore[dict-item]
    settings = Config(temperature=0.0, extensions=extensions, **config)  # type: ignore[arg-type]
    return Request(model=NAME, messages=(Message.user(text),), config=settings)


def test_a_grammar_allows_nothing_but_the_labels(engine: LlamaEngine) -> None:
    reply = engine.complete(
        raw("Review: I love it.\nSentiment:", max_tokens=8, extensions={"grammar": LABELS})
    )
    assert (reply.text or "").strip() in ("positive", "negative")
    assert reply.usage.output_tokens is not None
    assert 0 < reply.usage.output_tokens <= 8


def test_a_raw_prompt_sees_no_chat_template(engine: LlamaEngine) -> None:
    text = "One two three four five"
    chat = Request(model=NAME, messages=(Message.user(text),), config=Config(temperature=0.0, max_tokens=4))
    plain_tokens = engine.complete(raw(text, max_tokens=4)).usage.input_tokens
    chat_tokens = engine.complete(chat).usage.input_tokens
    assert plain_tokens == 5
    assert chat_tokens is not None
    assert chat_tokens > plain_tokens + 5


def test_a_schema_constrains_the_reply(engine: LlamaEngine) -> None:
    import json

    schema = {
        "type": "object",
        "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
        "required": ["sentiment"],
        "additionalProperties": False,
    }
    config = Config(
        temperature=0.0,
        max_tokens=40,
        response_format={"type": "json_schema", "name": "reply", "schema": schema},
    )
    reply = engine.complete(Request(model=NAME, messages=(Message.user("I love it."),), config=config))
    assert json.loads(reply.text or "")["sentiment"] in ("positive", "negative")


def test_a_shared_prefix_is_decoded_once(engine: LlamaEngine) -> None:
    prefix = "A review of something bought in a shop. " * 20
    engine.complete(raw(prefix + "First one.", max_tokens=2))
    second = engine.complete(raw(prefix + "Another one.", max_tokens=2)).usage
    assert second.cache_read_tokens is not None
    assert second.input_tokens is not None
    assert second.cache_read_tokens > 0.8 * second.input_tokens


def test_a_prompt_that_does_not_fit_is_a_context_error(engine: LlamaEngine) -> None:
    with pytest.raises(ContextLengthError):
        engine.complete(raw("word " * (engine.context + 10), max_tokens=2))


def test_a_malformed_grammar_is_the_requests_fault(engine: LlamaEngine) -> None:
    with pytest.raises(InvalidRequestError):
        engine.complete(raw("x", max_tokens=2, extensions={"grammar": "root ::= nothing("}))


def test_greedy_short_replies_are_the_same_from_many_threads(engine: LlamaEngine) -> None:
    requests = [
        raw(f"Review: item {i} is fine.\nSentiment:", max_tokens=8, extensions={"grammar": LABELS})
        for i in range(12)
    ]
    alone = [engine.complete(request).text for request in requests]
    with ThreadPoolExecutor(4) as pool:
        together = [reply.text for reply in pool.map(engine.complete, requests)]
    assert together == alone


def test_sampling_repeats_by_its_seed(engine: LlamaEngine) -> None:
    def sample(seed: int) -> str | None:
        config = Config(temperature=1.0, top_p=0.95, max_tokens=24, seed=seed, extensions={"raw": True})
        return engine.complete(
            Request(model=NAME, messages=(Message.user("Once upon a time"),), config=config)
        ).text

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    "text", ["a", "Plain words, some of them.", "日本語のテキスト", "🙂🙃 ✨", "\t\n   x{}[]", "é" * 300]
)
@pytest.mark.parametrize("extensions", [{}, {"raw": True}])
def test_a_call_reads_no_more_tokens_than_are_reserved_for_it(
    engine: LlamaEngine, text: str, extensions: dict[str, bool]
) -> None:
    config = Config(temperature=0.0, max_tokens=1, extensions=extensions)
    request = Request(model=NAME, system="Be brief.", messages=(Message.user(text),), config=config)
    if extensions:
        request = Request(model=NAME, messages=(Message.user(text),), config=config)
    most, _ = bounds(language_model(model(NAME)), request, None, {})
    usage = engine.complete(request).usage
    assert most is not None
    assert usage.input_tokens is not None
    assert usage.input_tokens <= most
