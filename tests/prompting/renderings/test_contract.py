"""What every rendering promises: one call, exact messages, a strict and faithful reading."""

from __future__ import annotations

import asyncio
import enum
import json
from typing import Any, Literal

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart, ThinkingPart, Usage
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError, LMRateLimitError
from pydantic import BaseModel

from optimizers.errors import ModelError, UserError
from optimizers.prompting.renderings import RENDERINGS, rendering, renderings_for
from optimizers.prompting.renderings.rendering import Rendering, abilities

ALL_ABILITIES = frozenset({"raw", "grammar", "schema"})
AWKWARD = "{braces} \"quotes\" 'single' \\ [[ ## x ## ]] 日本語 ünï €"


class FakeEngine:
    """Answers every request with the same reply and keeps the requests."""

    def __init__(self, reply: str | Message | Exception, able: frozenset[str] | None = ALL_ABILITIES) -> None:
        self.reply = reply
        self.requests: list[Request] = []
        if able is not None:
            self.abilities = able

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        message = self.reply if isinstance(self.reply, Message) else Message.assistant(self.reply)
        return Response(
            id=None, model=request.model, message=message, finish_reason="stop", usage=Usage(input_tokens=1)
        )


class AsyncFakeEngine(FakeEngine):
    async def complete(self, request: Request) -> Response:  # type: ignore[override]
        return super().complete(request)


class Color(enum.Enum):
    RED = "red"
    BLUE = "deep blue"


class Person(BaseModel):
    name: str
    ages: list[int]


class Sentiment(dspy.Signature):
    """Say how the review feels."""

    review_text: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


class Everything(dspy.Signature):
    """Fill in everything."""

    question: str = dspy.InputField()
    context: list[str] = dspy.InputField()
    kind: Literal["a b", "c"] = dspy.OutputField()
    color: Color = dspy.OutputField()
    sure: bool = dspy.OutputField()
    count: int = dspy.OutputField()
    share: float = dspy.OutputField()
    person: Person = dspy.OutputField()
    note: str = dspy.OutputField()


VALUES = {
    "kind": "a b",
    "color": Color.BLUE,
    "sure": False,
    "count": -12,
    "share": 0.25,
    "person": Person(name=f"{AWKWARD}\nsecond line", ages=[1, 2]),
    "note": AWKWARD,
}
DEMO = {"review_text": "It broke.", "sentiment": "negative"}
INPUTS = {"review_text": "I love {it} — 日本語"}
REPLIES = {"json_object": '{"sentiment":"positive"}', "dspy_chat": "[[ ## sentiment ## ]]\npositive"}


@pytest.fixture(params=list(RENDERINGS))
def rendered(request: pytest.FixtureRequest) -> Rendering:
    return rendering(request.param)


def reply_for(rendered: Rendering) -> str:
    return REPLIES.get(rendered.name, "positive")


def lm_of(engine: FakeEngine, **settings: Any) -> dspy.LM:
    return dspy.LM("fake/x", engine=engine, cache=False, num_retries=0, **settings)


def sent(request: Request) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    return system + [{"role": message.role, "content": message.text} for message in request.messages]


def answer_of(rendered: Rendering, signature: type[dspy.Signature], values: dict[str, Any]) -> str:
    """What a demo shows as the answer, which is what the model is asked to imitate."""
    demo = {**dict.fromkeys(signature.input_fields, "x"), **values}
    first, *_ = signature.output_fields
    messages = rendered.format(signature, [demo], dict.fromkeys(signature.input_fields, "x"))
    if rendered.name not in ("completion", "compact"):
        return str(next(m["content"] for m in messages if m["role"] == "assistant"))
    block = messages[0]["content"].removeprefix(signature.instructions).split("\n\n")[-2]
    return str(block[block.index(f"\n{first.capitalize()}:") + len(first) + 2 :])


def test_one_call_when_the_reply_parses(rendered: Rendering) -> None:
    engine = FakeEngine(reply_for(rendered))
    outputs = rendered(lm_of(engine), {}, Sentiment, [DEMO], INPUTS)
    assert outputs == [{"sentiment": "positive"}]
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "reply", ["", "   \n", "maybe", "positive or negative", "{}", "[[ ## sentiment ## ]]\nmeh"]
)
def test_one_call_and_a_parse_error_when_it_does_not(rendered: Rendering, reply: str) -> None:
    engine = FakeEngine(reply)
    with pytest.raises(AdapterParseError) as caught:
        rendered(lm_of(engine), {}, Sentiment, [], INPUTS)
    assert caught.value.lm_response == reply
    assert len(engine.requests) == 1


def test_an_engine_failure_is_not_a_parse_error_and_not_retried(rendered: Rendering) -> None:
    engine = FakeEngine(dspy.lm15.RateLimitError("slow down"))
    with pytest.raises(LMRateLimitError):
        rendered(lm_of(engine), {}, Sentiment, [], INPUTS)
    assert len(engine.requests) == 1


def test_through_predict_and_async(rendered: Rendering) -> None:
    engine, later = FakeEngine(reply_for(rendered)), AsyncFakeEngine(reply_for(rendered))
    lm = dspy.LM("fake/x", engine=engine, async_engine=later, cache=False)
    with dspy.context(lm=lm, adapter=rendered):
        predict = dspy.Predict(Sentiment)
        assert predict(**INPUTS).sentiment == "positive"
        assert asyncio.run(predict.acall(**INPUTS)).sentiment == "positive"
    assert engine.requests == later.requests
    assert len(engine.requests) == 1


def test_format_is_what_is_sent(rendered: Rendering) -> None:
    engine = FakeEngine(reply_for(rendered))
    rendered(lm_of(engine), {}, Sentiment, [DEMO], INPUTS)
    messages = rendered.format(Sentiment, [DEMO], INPUTS)
    assert sent(engine.requests[0]) == messages
    everything = "\n".join(message["content"] for message in messages)
    for shown in (Sentiment.instructions, DEMO["review_text"], "negative", INPUTS["review_text"]):
        assert shown in everything


def test_a_formatted_answer_reads_back(rendered: Rendering) -> None:
    reply = answer_of(rendered, Everything, VALUES)
    assert rendered.parse(Everything, reply) == VALUES


@pytest.mark.parametrize("value", ["one\ntwo\n  indented {x}", AWKWARD, "ends with: Question"])
def test_a_free_text_answer_keeps_its_lines(rendered: Rendering, value: str) -> None:
    signature = dspy.Signature("question -> answer")
    assert rendered.parse(signature, answer_of(rendered, signature, {"answer": value})) == {"answer": value}


def test_unfinished_answers_do_not_parse(rendered: Rendering) -> None:
    reply = answer_of(rendered, Everything, VALUES)
    with pytest.raises(AdapterParseError):
        rendered.parse(Everything, reply[: len(reply) // 2])


def test_constraints_and_raw_text_go_only_to_engines_that_take_them(rendered: Rendering) -> None:
    for able in (frozenset({"raw"}), ALL_ABILITIES, frozenset({"schema"}), frozenset[str]()):
        if rendered.needs_raw and "raw" not in able:
            continue
        engine = FakeEngine(reply_for(rendered), able)
        rendered(lm_of(engine), {}, Sentiment, [], INPUTS)
        config = engine.requests[0].config
        extensions = config.extensions or {}
        constrained = "grammar" in able and rendered.name in ("completion", "compact", "turns")
        assert ("grammar" in extensions) == constrained
        assert extensions.get("raw", False) == rendered.needs_raw
        assert (config.response_format is not None) == ("schema" in able and rendered.name == "json_object")
        if "grammar" not in able and not rendered.needs_raw:
            assert config.extensions is None
            assert config.stop == ()


def test_raw_text_is_a_single_user_message() -> None:
    engine = FakeEngine("positive", frozenset({"raw"}))
    rendering("completion")(lm_of(engine), {}, Sentiment, [DEMO], INPUTS)
    request = engine.requests[0]
    assert [message.role for message in request.messages] == ["user"]
    assert request.system is None
    assert request.config.extensions == {"raw": True}
    assert request.config.stop == ("\n",)


def test_completion_refuses_a_model_that_only_converses() -> None:
    engine = FakeEngine("positive", frozenset({"schema"}))
    with pytest.raises(ModelError, match="raw text"):
        rendering("completion")(lm_of(engine), {}, Sentiment, [], INPUTS)
    assert engine.requests == []


def test_dspy_chat_is_told_of_once_like_any_other() -> None:
    class Told(BaseCallback):  # type: ignore[misc]
        formats = 0

        def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.formats += 1

    told = {name: Told() for name in ("dspy_chat", "ChatAdapter")}
    with dspy.context(callbacks=[told["dspy_chat"]]):
        rendering("dspy_chat").prompt(Sentiment, [], INPUTS)
    with dspy.context(callbacks=[told["ChatAdapter"]]):
        dspy.ChatAdapter().format(Sentiment, [], INPUTS)
    assert told["dspy_chat"].formats == told["ChatAdapter"].formats == 1


def test_dspy_chat_sends_instructions_that_were_set_anew() -> None:
    signature = Sentiment.with_instructions("Say it.")
    before = rendering("dspy_chat").format(signature, [], INPUTS)
    signature.instructions = "Say how it feels."
    after = rendering("dspy_chat").format(signature, [], INPUTS)
    assert after == dspy.ChatAdapter().format(signature, [], INPUTS)
    assert after != before


def test_dspy_chat_sends_what_dspy_sends() -> None:
    demos: list[dict[str, Any]] = [DEMO, {"review_text": "x", "augmented": True}]
    assert rendering("dspy_chat").format(Sentiment, demos, INPUTS) == dspy.ChatAdapter().format(
        Sentiment, demos, INPUTS
    )
    ours, theirs = FakeEngine(REPLIES["dspy_chat"]), FakeEngine(REPLIES["dspy_chat"])
    predict = dspy.Predict(Sentiment)
    predict.demos = demos
    with dspy.context(lm=lm_of(ours), adapter=rendering("dspy_chat")):
        predict(**INPUTS)
    with dspy.context(lm=lm_of(theirs), adapter=dspy.ChatAdapter()):
        predict(**INPUTS)
    assert ours.requests == theirs.requests


def test_abilities_of_a_foreign_engine_are_what_dspy_knows() -> None:
    engine = FakeEngine("x", able=None)
    assert abilities(lm_of(engine)) == frozenset()
    engine.supports_response_schema = True  # type: ignore[attr-defined]
    assert abilities(lm_of(engine)) == {"schema"}


def test_settings_reach_the_engine_with_the_call_over_the_lm() -> None:
    engine = FakeEngine("positive")
    lm = lm_of(engine, temperature=0.5, max_tokens=40, top_p=0.9)
    rendering("compact")(lm, {"temperature": 0.0, "stop": "END", "n": 1, "seed": 5}, Sentiment, [], INPUTS)
    rendering("turns")(lm, {"max_completion_tokens": 7}, Sentiment, [], INPUTS)
    first, second = (request.config for request in engine.requests)
    assert (first.temperature, first.max_tokens, first.top_p, first.seed) == (0.0, 40, 0.9, 5)
    assert first.stop == ("END", "\n")
    assert (second.temperature, second.max_tokens, second.seed) == (0.5, 7, None)


@pytest.mark.parametrize("settings", [{"n": 3}, {"grammar": "root ::= x"}, {"logit_bias": {"1": 2}}])
def test_a_setting_that_would_be_lost_is_refused(settings: dict[str, Any]) -> None:
    engine = FakeEngine("positive")
    with pytest.raises(ModelError, match=r"one reply|Unknown generation settings"):
        rendering("compact")(lm_of(engine), settings, Sentiment, [], INPUTS)
    assert engine.requests == []


def test_repeated_calls_at_a_temperature_differ_reproducibly() -> None:
    def seeds(temperature: float, seed: int | None) -> list[int | None]:
        engine = FakeEngine("positive")
        adapter = rendering("compact", seed=seed)
        for _ in range(3):
            adapter(lm_of(engine, temperature=temperature), {}, Sentiment, [], INPUTS)
        return [request.config.seed for request in engine.requests]

    assert seeds(0.7, 11) == [11, 12, 13]
    assert seeds(0.7, None) == [None, None, None]
    assert seeds(0.0, 11) == [None, None, None]


def test_thinking_is_not_the_answer(rendered: Rendering) -> None:
    message = Message(
        role="assistant", parts=(ThinkingPart("negative, surely"), TextPart(reply_for(rendered)))
    )
    engine = FakeEngine(message)
    assert rendered(lm_of(engine), {}, Sentiment, [], INPUTS) == [{"sentiment": "positive"}]


def test_a_refusal_is_a_parse_error_with_its_words(rendered: Rendering) -> None:
    engine = FakeEngine(Message.assistant(dspy.lm15.RefusalPart("I cannot say.")))
    with pytest.raises(AdapterParseError) as caught:
        rendered(lm_of(engine), {}, Sentiment, [], INPUTS)
    assert caught.value.lm_response == "I cannot say."


def test_dspy_callbacks_fire_once_per_parse(rendered: Rendering) -> None:
    from dspy.utils.callback import BaseCallback

    class Count(BaseCallback):  # type: ignore[misc]
        parses = 0

        def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.parses += 1

    count = Count()
    rendered.callbacks = [count]
    rendered.parse(Sentiment, reply_for(rendered))
    assert count.parses == 1


def test_demos_without_some_outputs_show_the_others(rendered: Rendering) -> None:
    signature = Sentiment.prepend("reasoning", dspy.OutputField(), str)
    demos = [DEMO, {"sentiment": "positive"}, {"review_text": "no answer here"}]
    messages = rendered.format(signature, demos, INPUTS)
    shown = "\n".join(message["content"] for message in messages)
    assert "It broke." in shown
    assert "no answer here" not in shown
    if rendered.name != "dspy_chat":
        assert shown.count("Reasoning:") == {"completion": 1, "compact": 1}.get(rendered.name, 0)
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        assert answers == {"turns": ["Sentiment: negative"], "json_object": ['{"sentiment":"negative"}']}.get(
            rendered.name, []
        )


@pytest.mark.parametrize("name", ["completion", "compact", "turns", "json_object"])
def test_an_output_that_may_be_none_can_be_answered_so(name: str) -> None:
    rendered = rendering(name)
    signature = dspy.Signature("question -> answer").append("city", dspy.OutputField(), str | None)
    values = {"answer": "yes", "city": None}
    assert rendered.parse(signature, answer_of(rendered, signature, values)) == values


def test_the_renderings_of_a_kind() -> None:
    assert renderings_for("base") == ("completion",)
    assert set(renderings_for("chat")) == set(RENDERINGS)
    assert "completion" not in renderings_for("instruct", raw=False)
    assert all(rendering(name).name == name for name in RENDERINGS)
    with pytest.raises(UserError, match="no rendering"):
        rendering("nonsense")


def test_json_demos_are_valid_answers() -> None:
    answer = answer_of(rendering("json_object"), Everything, {**VALUES, "color": "BLUE", "count": "-12"})
    assert list(json.loads(answer)) == list(Everything.output_fields)
    assert rendering("json_object").parse(Everything, answer) == VALUES
