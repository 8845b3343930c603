"""The techniques: what a program does around a model call.

There is none that writes the task as pseudo-code: it would change words and nothing around
the call, and the instruction pool has those words (``pseudo-code`` in
:mod:`optimizers.prompting.proposals.instructions`), under every technique.
"""

from __future__ import annotations

from optimizers.prompting.techniques.chain_of_thought import CHAIN_OF_THOUGHT
from optimizers.prompting.techniques.concise import CONCISE
from optimizers.prompting.techniques.direct import DIRECT
from optimizers.prompting.techniques.label_scoring import LABEL_SCORING
from optimizers.prompting.techniques.plan_then_answer import PLAN_THEN_ANSWER
from optimizers.prompting.techniques.self_check import SELF_CHECK
from optimizers.prompting.techniques.self_consistency import SELF_CONSISTENCY
from optimizers.prompting.techniques.technique import Technique
from optimizers.prompting.techniques.yes_no_per_label import YES_NO_PER_LABEL

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
