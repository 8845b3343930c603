"""The prompts of a study's leading candidates as they are sent, word for word (``prompts.json``)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Part = Literal["instruction", "demos", "input", "format"]
"""What a piece of a prompt is; ``format`` is all that the rendering adds: names of fields, how to reply."""


class Piece(BaseModel):
    """Text that belongs to one part of a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Part
    text: str


class SentMessage(BaseModel):
    """One message of a request.

    Attributes:
        role: ``system``, ``user``, ``assistant``, or ``text`` for a plain text to continue.
        pieces: Its text in order, by part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    pieces: tuple[Piece, ...]

    @property
    def content(self) -> str:
        """Its text, exactly as sent."""
        return "".join(piece.text for piece in self.pieces)


class SentPrompt(BaseModel):
    """What one predictor is sent for one sample input.

    Attributes:
        predictor: Its name in the program.
        messages: The messages of its first call, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictor: str
    messages: tuple[SentMessage, ...]


class StudyPrompts(BaseModel):
    """The prompts of a study.

    Attributes:
        prompts: Candidate id -> what each predictor is sent for the first dev example; of a pipeline,
            those predictors alone whose inputs the data has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    prompts: dict[str, tuple[SentPrompt, ...]]
