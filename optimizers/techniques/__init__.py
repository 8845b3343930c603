"""The techniques: what a program does around a model call.

There is none that writes the task as pseudo-code: it would change words and nothing around
the call, and the instruction pool has those words (``pseudo-code`` in
:mod:`optimizers.proposals.instructions`), under every technique.
"""

from __future__ import annotations

from optimizers.techniques.chain_of_thought import CHAIN_OF_THOUGHT
from optimizers.techniques.concise import CONCISE
from optimizers.techniques.direct import DIRECT
from optimizers.techniques.label_scoring import LABEL_SCORING
from optimizers.techniques.plan_then_answer import PLAN_THEN_ANSWER
from optimizers.techniques.self_check import SELF_CHECK
from optimizers.techniques.self_consistency import SELF_CONSISTENCY
from optimizers.techniques.technique import Technique
from optimizers.techniques.yes_no_per_label import YES_NO_PER_LABEL

TECHNIQUES: dict[str, Technique] = {
    technique.name: technique
    for technique in (
        DIRECT,
        CHAIN_OF_THOUGHT,
        CONCISE,
        PLAN_THEN_ANSWER,
        LABEL_SCORING,
        SELF_CHECK,
        YES_NO_PER_LABEL,
        *SELF_CONSISTENCY,
    )
}
"""Name -> technique; direct first, then what takes one call, then what takes several."""
