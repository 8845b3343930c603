"""Choose the label whose probability the input raises most: scoring with contextual calibration.

Zhao T. et al. 2021, "Calibrate Before Use: Improving Few-Shot Performance of Language Models"
(ICML 2021, arXiv 2102.09690): a prompt favours some labels before any input is read. What it
says of an input without content, "N/A", is divided out of what it says of the real one. With
a diagonal matrix and no bias, as there, that is the largest log p(label | input) -
log p(label | "N/A").

Only for text to continue: there a label is what a model says next. Without demos in a turn it would
rather begin a sentence, labels share less than a hundredth of the probability, and a ratio of such
remainders says little. The restriction was chosen on one model and 40 examples, where turns with
demos came out mixed.

A label's probability is that of the tokens a reply may begin it with. To force each label whole
and add up its tokens would cost a call per label, and a grammar does not keep to the tokens a
model was trained to spell a word with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizers.errors import ModelError
from optimizers.prompting.renderings.fields import parse_value, without_none
from optimizers.prompting.techniques.technique import Calls, Technique, labels_of, output_tokens

if TYPE_CHECKING:
    import dspy

CONTENT_FREE = "N/A"

ALTERNATIVES = 1000
"""First tokens whose probability is asked for. A label that none of them begins is not chosen."""


def applies(signature: type[dspy.Signature]) -> bool:
    """Whether the only output is a choice of labels that can be told apart by their first words."""
    labels = labels_of(signature) or ()
    nullable = any(without_none(info.annotation)[1] for info in signature.output_fields.values())
    starts = {label.split()[0] for label in labels if label.strip()}
    return 2 <= len(labels) == len(starts) and not nullable


def run(predict: Calls, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The label that is likelier after the input than after none, by the most.

    The calibration is asked again in every rollout, so that what one costs does not depend on
    which ran before it; a prefix cache makes it short. Where labels begin with the same token,
    first tokens do not tell them apart, and the model's own choice among the labels is kept.

    Raises:
        AdapterParseError: The reply does not keep the format.
        ModelError: The engine gives no log-probabilities.
    """
    ((name, info),) = predict.signature.output_fields.items()
    labels = labels_of(predict.signature) or ()
    reply, seen = _first_tokens(predict, inputs)
    _, unread = _first_tokens(predict, dict.fromkeys(inputs, CONTENT_FREE))
    scores = label_scores(seen, labels, unlisted=-math.inf)
    # At most this likely, so that its gain is not made out greater than it is.
    priors = label_scores(unread, labels, unlisted=min(unread.values()))
    if scores is None or priors is None:
        values: dict[str, Any] = predict.adapter.parse(predict.signature, reply)
        return values
    gains = [score - prior for score, prior in zip(scores, priors, strict=True)]
    return {name: parse_value(labels[gains.index(max(gains))], info.annotation)}


def label_scores(
    tokens: Mapping[bytes, float], labels: Sequence[str], *, unlisted: float
) -> list[float] | None:
    """Log-probability that a reply begins as each label and as no other.

    Args:
        tokens: First token -> its log-probability; the likeliest ones. Bytes, as a token may be part
            of a character.
        labels: The labels as written.
        unlisted: What a label gets that no listed token begins.

    Returns:
        One log-probability per label, or None where that of a label is unknown: tokens that
        several labels begin with are likelier than those that tell it apart.
    """
    apart = {label: 0.0 for label in labels}
    shared = {label: 0.0 for label in labels}
    for token, logprob in tokens.items():
        start = token.strip()
        begun = [label for label in labels if start and label.encode().startswith(start)]
        mass = apart if len(begun) == 1 else shared
        for label in begun:
            mass[label] += math.exp(logprob)
    if not any(apart.values()) or any(shared[label] > apart[label] for label in labels):
        return None
    return [math.log(apart[label]) if apart[label] > 0 else unlisted for label in labels]


def _first_tokens(predict: Calls, inputs: Mapping[str, Any]) -> tuple[str, dict[bytes, float]]:
    """A constrained reply, and the log-probabilities of the tokens it might have begun with."""
    from dspy.lm15 import Config, Message, Request

    prompt = predict.adapter.prompt(predict.signature, [dict(demo) for demo in predict.demos], dict(inputs))
    ((_, text),) = prompt.messages
    response = predict.lm(
        Request(
            model=predict.lm.model,
            messages=(Message.user(text),),
            config=Config(
                temperature=0.0,
                max_tokens=output_tokens(predict.signature)[0],
                stop=prompt.stop,
                logprobs=ALTERNATIVES,
                extensions={"raw": True, "grammar": prompt.grammar},
            ),
        )
    )
    if not response.logprobs or not response.logprobs[0].top:
        raise ModelError(
            "label_scoring needs the log-probabilities of tokens, and this model's engine gives none.",
            where=str(predict.lm.model),
            fix="serve the model with local/..., or take another technique",
        )
    top = response.logprobs[0].top
    return response.text or "", {bytes(one.bytes or one.token.encode()): one.logprob for one in top}


LABEL_SCORING = Technique(
    name="label_scoring",
    applies=applies,
    transform=lambda signature: signature,
    reply_tokens=output_tokens,
    run=run,
    calls=lambda signature: 2,
    sampling="unused",
    abilities=frozenset({"raw", "grammar", "logprobs"}),
    renderings=frozenset({"completion"}),
)
"""Two short calls: the input, and one without content."""
