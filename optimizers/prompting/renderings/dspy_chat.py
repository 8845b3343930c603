"""DSPy's own chat format, as ``dspy.Predict`` sends it by default, without its second try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import dspy

from optimizers.errors import TaskError
from optimizers.models.model import Kind
from optimizers.prompting.renderings.rendering import Prompt, Rendering


def _remembered(signature: Any) -> str:
    return _system_message(signature, signature.instructions)


@lru_cache(maxsize=64)
def _system_message(signature: Any, instructions: str) -> str:
    """A signature's system message; its instructions, which can be set anew, tell it apart too."""
    text: str = dspy.ChatAdapter().format_system_message(signature)
    return text


class DspyChat(Rendering):
    """The messages and the parser of ``dspy.ChatAdapter``; nothing is constrained."""

    name: ClassVar[str] = "dspy_chat"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"instruct", "chat"})

    def __init__(self, seed: int | None = None, callbacks: list[Any] | None = None) -> None:
        super().__init__(seed=seed, callbacks=callbacks)
        self._chat = dspy.ChatAdapter()
        # ChatAdapter puts the system message together anew for every call: a tenth of a rollout.
        self._chat.format_system_message = _remembered

    def prompt(
        self, signature: type[dspy.Signature], demos: Sequence[Mapping[str, Any]], inputs: Mapping[str, Any]
    ) -> Prompt:
        """ChatAdapter's messages.

        Raises:
            TaskError: A field holds an image or another value that is not sent as text.
        """
        messages = self._chat.format(signature, list(demos), dict(inputs))
        if not all(isinstance(message["content"], str) for message in messages):
            raise TaskError(
                "A field holds something other than text.",
                where=", ".join(signature.fields),
                fix="give text, numbers or JSON values to the program",
            )
        system, *turns = messages
        return Prompt(
            system=system["content"],
            messages=tuple((message["role"], message["content"]) for message in turns),
        )

    def format_user_message_content(
        self,
        signature: type[dspy.Signature],
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """As ChatAdapter writes values."""
        content: str = self._chat.format_user_message_content(signature, inputs, prefix, suffix, main_request)
        return content

    def read(self, signature: type[dspy.Signature], reply: str) -> dict[str, Any]:
        """What ChatAdapter reads in the reply."""
        values: dict[str, Any] = self._chat.parse(signature, reply)
        return values
