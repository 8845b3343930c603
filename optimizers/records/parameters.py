"""The parameters of a search as keys: what was chosen, for which model and predictor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer


class Parameter(NamedTuple):
    """One parameter of the search space.

    Attributes:
        model: Label of the model it is for; None where it is for all.
        predictor: Name of the predictor it is for; None where it is for all.
        part: What is chosen; :mod:`optimizers.search.space.parts` has the parts and their schema.
        given: Choices under which alone the parameter exists, such as the rendering of ``max_tokens``.
    """

    model: str | None
    predictor: str | None
    part: str
    given: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The name that Optuna and MLflow show."""
        return ".".join(
            name for name in (self.model, self.predictor, *self.given, self.part) if name is not None
        )

    def for_model(self, model: str | None) -> Parameter:
        """The same parameter of another model, or of no model in particular."""
        return self._replace(model=model)


def choices_to_json(choices: Mapping[Parameter, Any]) -> list[dict[str, Any]]:
    """Choices as records keep them: one object each."""
    return [parameter._asdict() | {"value": value} for parameter, value in choices.items()]


def choices_from_json(content: Any) -> Any:
    """Choices from a record; the inverse of :func:`choices_to_json`.

    Records of version 0.1 have names in place of keys. They become parameters without model and predictor,
    which can be compared but not searched: see :func:`is_legacy`.
    """
    if isinstance(content, Mapping):
        return {
            key if isinstance(key, Parameter) else Parameter(None, None, key): value
            for key, value in content.items()
        }
    if not isinstance(content, list | tuple):
        return content
    return {
        Parameter(one["model"], one["predictor"], one["part"], tuple(one["given"])): one["value"]
        for one in content
    }


Choices = Annotated[
    dict[Parameter, Any], BeforeValidator(choices_from_json), PlainSerializer(choices_to_json)
]
"""Parameter -> the value that was chosen, as records keep it."""


def is_legacy(choices: Mapping[Parameter, Any]) -> bool:
    """Whether version 0.1 recorded the choices: only the model is for no predictor and no model."""
    return any(key.model is None and key.predictor is None and key.part != "model" for key in choices)
