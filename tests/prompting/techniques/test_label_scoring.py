"""Label scoring: what a prompt favours without an input is taken away, and unclear labels are not guessed."""

from __future__ import annotations

import math
from typing import Any, Literal

import dspy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prompting.techniques.scripted import Scripted, ScriptedLM

from optimizers.errors import ModelError
from optimizers.prompting.techniques import TECHNIQUES
from optimizers.prompting.techniques.label_scoring import label_scores

SCORING = TECHNIQUES["label_scoring"]


class Sentiment(dspy.Signature):
    """Say how the review feels."""

    review: str = dspy.InputField()
    sentiment: Literal["positive", "negative"] = dspy.OutputField()


def run(lm: ScriptedLM, signature: type[dspy.Signature] = Sentiment) -> Any:
    assert SCORING.run is not None
    return SCORING.run(Scripted(signature, iter(()), lm=lm), {"review": "It broke."})


def logs(**probabilities: float) -> dict[str, float]:
    return {f" {token}": math.log(value) for token, value in probabilities.items()}


def test_what_the_prompt_favours_anyway_does_not_count() -> None:
    read, unread = logs(positive=0.6, negative=0.3), logs(positive=0.8, negative=0.1)
    lm = ScriptedLM(lambda text: unread if "N/A" in text else read)
    assert run(lm) == {"sentiment": "negative"}
    first, second = lm.requests
    assert first.messages[0].text == "Say how the review feels.\n\nReview: It broke.\nSentiment:"
    assert second.messages[0].text == "Say how the review feels.\n\nReview: N/A\nSentiment:"
    assert first.config.extensions is not None
    assert "positive" in first.config.extensions["grammar"]
    assert first.config.temperature == 0


@given(st.floats(0.01, 0.4), st.floats(0.01, 0.4), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
def test_the_label_with_the_larger_ratio_wins(p: float, n: float, p0: float, n0: float) -> None:
    lm = ScriptedLM(
        lambda text: logs(positive=p0, negative=n0) if "N/A" in text else logs(positive=p, negative=n)
    )
    gains = math.log(p / p0), math.log(n / n0)
    assume(abs(gains[0] - gains[1]) > 1e-9)
    assert run(lm)["sentiment"] == ("positive" if gains[0] > gains[1] else "negative")


def test_the_ways_to_begin_a_label_add_up() -> None:
    tokens = {b" posit": math.log(0.2), b"pos": math.log(0.1), b" negative": math.log(0.25), b" ": -0.1}
    scores = label_scores(tokens, ("positive", "negative"), unlisted=-9.0)
    assert scores == pytest.approx([math.log(0.3), math.log(0.25)])


def test_a_label_the_input_does_not_bring_up_is_not_chosen() -> None:
    # Neither prompt lists "negative": how the lists end must not decide.
    read, unread = logs(positive=0.5) | {" x": -7.0}, logs(positive=0.6) | {" x": -12.0}
    lm = ScriptedLM(lambda text: unread if "N/A" in text else read)
    assert run(lm) == {"sentiment": "positive"}
    assert label_scores({b" yes": -0.1}, ("yes", "no"), unlisted=-7.0) == pytest.approx([-0.1, -7.0])


def test_labels_no_first_token_tells_apart_are_left_to_the_models_own_choice() -> None:
    assert label_scores({b" un": -0.1}, ("unhappy", "unsure"), unlisted=-9.0) is None
    assert label_scores({b" x": -0.1}, ("positive", "negative"), unlisted=-9.0) is None
    assert run(ScriptedLM(lambda text: {" x": -0.1}, reply="negative")) == {"sentiment": "negative"}


def test_an_engine_without_log_probabilities_is_named() -> None:
    with pytest.raises(ModelError, match=r"log-probabilities(.|\n)*local/scripted"):
        run(ScriptedLM(lambda text: {}))


def test_it_needs_labels_that_begin_with_different_words() -> None:
    assert SCORING.applies(Sentiment)
    for labels in (Literal["new york", "new jersey"], Literal["one"], str, Literal["a", "b"] | None):
        assert not SCORING.applies(Sentiment.with_updated_fields("sentiment", type_=labels))
    assert SCORING.fits("completion", frozenset({"raw", "grammar", "logprobs"}))
    for other in ("compact", "turns", "json_object", "dspy_chat"):
        assert not SCORING.fits(other, frozenset({"raw", "grammar", "logprobs"}))
    assert not SCORING.fits("completion", frozenset({"raw", "grammar"}))


@pytest.mark.model
def test_the_embedded_engine_gives_probabilities_free_of_the_constraint() -> None:
    from dspy.lm15 import Config, Message, Request

    from optimizers.models.llama import llama_engine
    from optimizers.models.resolve import model

    name = "local/smollm2-135m-instruct"
    for raw in (True, False):
        extensions = {"grammar": 'root ::= " "? ("plus" | "minus")', "raw": raw}
        config = Config(temperature=0.0, max_tokens=4, logprobs=200, extensions=extensions)
        request = Request(model=name, messages=(Message.user("Review: I love it.\nMark:"),), config=config)
        reply = llama_engine(model(name)).complete(request)
        assert reply.text is not None
        assert reply.text.strip() in ("plus", "minus")
        assert reply.logprobs is not None
        top = reply.logprobs[0].top
        assert len(top) == 200
        assert [one.logprob for one in top] == sorted((one.logprob for one in top), reverse=True)
        assert 0.5 < sum(math.exp(one.logprob) for one in top) <= 1.001
        # What the model would rather say is listed too: the constraint does not show.
        assert not any(b"plus".startswith(bytes(one.bytes or ()).strip() or b"-") for one in top[:3])
