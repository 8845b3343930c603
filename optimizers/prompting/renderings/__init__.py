"""The renderings: ways a DSPy signature becomes what a model reads, and its reply is read back."""

from __future__ import annotations

from dspy import Adapter

from optimizers.errors import UserError
from optimizers.models.model import Kind
from optimizers.prompting.renderings.compact import Compact
from optimizers.prompting.renderings.completion import Completion
from optimizers.prompting.renderings.dspy_chat import DspyChat
from optimizers.prompting.renderings.json_object import JsonObject
from optimizers.prompting.renderings.rendering import Rendering
from optimizers.prompting.renderings.turns import Turns

RENDERINGS: dict[str, type[Rendering]] = {
    cls.name: cls for cls in (Completion, Compact, Turns, JsonObject, DspyChat)
}
"""Name -> rendering, plainest first."""


def rendering(name: str, seed: int | None = None) -> Rendering:
    """A new rendering.

    Args:
        name: One of :data:`RENDERINGS`.
        seed: See :class:`~optimizers.prompting.renderings.rendering.Rendering`.

    Raises:
        UserError: There is no rendering of this name.
    """
    if name not in RENDERINGS:
        raise UserError(f"There is no rendering {name!r}.", fix=f"take one of {', '.join(RENDERINGS)}")
    return RENDERINGS[name](seed=seed)


def sibling(of: Adapter, name: str) -> Rendering:
    """A new rendering for one predictor of a program, whose calls go on with the program's seeds.

    Args:
        of: The program's rendering.
        name: One of :data:`RENDERINGS`.
    """
    own = rendering(name)
    if isinstance(of, Rendering):
        own.count_with(of)
    return own


def renderings_for(kind: Kind, *, raw: bool = True) -> tuple[str, ...]:
    """Names of the renderings that models of a kind can take, plainest first.

    Args:
        kind: How the model is addressed.
        raw: Whether its engine takes text without a chat template, as the embedded engine and
            text-completion endpoints do, and chat endpoints do not.
    """
    return tuple(name for name, cls in RENDERINGS.items() if kind in cls.kinds and (raw or not cls.needs_raw))
