"""Answer at once: the signature as the user wrote it."""

from __future__ import annotations

from optimizers.prompting.techniques.technique import Technique, output_tokens

DIRECT = Technique(
    name="direct",
    applies=lambda signature: True,
    transform=lambda signature: signature,
    reply_tokens=output_tokens,
)
"""One call for the outputs and nothing else."""
