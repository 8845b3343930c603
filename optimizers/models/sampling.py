"""How a model draws its tokens."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Sampling(BaseModel):
    """How tokens are drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus mass, in (0, 1]; left at 1 when greedy.
        max_tokens: Most tokens one reply may hold.
        top_k: Draw from this many likeliest tokens only; None leaves it off.
        min_p: Draw only from tokens at least this likely, as a share of the likeliest one's
            probability, in (0, 1] (Nguyen et al. 2024, arXiv:2407.01082); None leaves it off.
        repetition_penalty: What the scores of tokens that occurred are divided by (Keskar et al.
            2019, arXiv:1909.05858), in (0, 2]; above 1 discourages repeating; None leaves it off.
        reasoning_effort: Native reasoning effort of a model that has one, by the provider's name
            of the level (``low``); None leaves it to the provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=256, ge=1)
    top_k: int | None = Field(default=None, ge=1)
    min_p: float | None = Field(default=None, gt=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=2)
    reasoning_effort: str | None = Field(default=None, pattern=r"^[a-z]+$")

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is set: a field that a candidate does not use leaves its id alone."""
        return {key: value for key, value in handler(self).items() if value is not None}

    @property
    def summary(self) -> str:
        """What differs from plain greedy decoding, in a few words; empty when nothing does."""
        drawn = {"t": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}
        always = {"repetition_penalty": self.repetition_penalty}
        numbers = (drawn if self.temperature > 0 else {}) | always
        parts = [f"{name}={value:g}" for name, value in numbers.items() if value is not None]
        if self.reasoning_effort is not None:
            parts.append(f"effort={self.reasoning_effort}")
        return " ".join(parts)
