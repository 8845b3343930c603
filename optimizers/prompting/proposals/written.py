"""Instructions that a model writes from what is known about the task.

The request is grounded as in MIPROv2: the program's source, a summary of the data, and a tip
that sends each seed another way (Opsahl-Ong et al., "Optimizing Instructions and
Demonstrations for Multi-Stage Language Model Programs", EMNLP 2024).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizers.prompting.proposals.cleaning import MOST_CHARACTERS, accepted, tagged
from optimizers.prompting.proposals.proposer import ask, data_summary, fields_summary, train_texts

if TYPE_CHECKING:
    import dspy

TIPS = (
    "Say for each possible answer what makes it the right one.",
    "Name the mistakes a careless reader would make, and how to avoid them.",
    "Be as brief as the task allows: a sentence or two.",
    "Give a short procedure, step by step.",
    "Say who answers and who relies on the answer.",
    "Say how to decide the cases that could go either way.",
    "Use the plainest words you can, and say each thing once.",
    "Describe what the inputs look like and where in them the answer is found.",
)
"""One of them, chosen by seed, ends the request."""

MOST_SOURCE = 4000
"""Characters of the program's source shown."""

REPLY_TOKENS = 500
"""Room for one instruction, and as much again for what a model writes around them."""

RULES = f"""Rules:
- Speak to the model that will answer. Say what to do, not what this prompt is.
- Do not quote or retell the examples: the instruction is for inputs nobody has seen yet.
- Use the labels exactly as they are spelt. Do not describe a reply format: it is added later.
- At most {MOST_CHARACTERS // 10} words. No title, no quotes around it, no comment on it."""


def write_instructions(
    lm: dspy.LM,
    signature: type[dspy.Signature],
    train: Sequence[dspy.Example],
    *,
    count: int,
    seed: int,
    source: str | None = None,
    known: Sequence[str] = (),
) -> tuple[str, ...]:
    """Ask a model for instructions, in one call.

    Args:
        lm: The proposer: a declared model that takes a conversation.
        signature: The predictor's signature, with the user's own instruction.
        train: Examples it may be told about.
        count: Instructions wanted.
        seed: Of the tip, the examples shown and the sampling.
        source: The program's source, where there is one.
        known: Instructions that need not be written again.

    Returns:
        Up to ``count`` instructions, cleaned, each at most ``MOST_CHARACTERS`` long, none a copy
        of another or of a train input. Empty when the reply holds none between its tags.
    """
    request = writing_request(signature, train, count=count, seed=seed, source=source)
    reply = ask(lm, request, max_tokens=REPLY_TOKENS * (count + 1), seed=seed)
    texts = accepted(tagged(reply, "instruction"), train_texts(train, signature), known=known)
    return texts[:count]


def writing_request(
    signature: type[dspy.Signature],
    train: Sequence[dspy.Example],
    *,
    count: int,
    seed: int,
    source: str | None = None,
) -> str:
    """The request that :func:`write_instructions` sends."""
    wanted = "one instruction" if count == 1 else f"{count} instructions that differ in approach"
    own = signature.instructions.strip()
    parts = [
        f"Write {wanted} for a small language model that does the task below.",
        f"What the author says about the task:\n{own}" if own else "",
        f"Fields:\n{fields_summary(signature)}",
        f"Data:\n{data_summary(train, signature, seed=seed)}",
        f"The program that makes the calls:\n{source.strip()[:MOST_SOURCE]}" if source else "",
        RULES,
        f"Tip: {random.Random(seed).choice(TIPS)}",
        "Put each instruction between <instruction> and </instruction>, and write nothing else.",
    ]
    return "\n\n".join(part for part in parts if part)
