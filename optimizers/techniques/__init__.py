"""The techniques: what a program does around a model call."""

from __future__ import annotations

from optimizers.techniques.chain_of_thought import CHAIN_OF_THOUGHT
from optimizers.techniques.direct import DIRECT
from optimizers.techniques.technique import Technique

TECHNIQUES: dict[str, Technique] = {technique.name: technique for technique in (DIRECT, CHAIN_OF_THOUGHT)}
"""Name -> technique."""
