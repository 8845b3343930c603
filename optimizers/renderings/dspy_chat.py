"""DSPy's own chat format, as ``dspy.Predict`` sends it by default, without its second try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import dspy

from optimizers.errors import TaskError
from optimizers.models.model import Kind
from optimizers.renderings.rendering import Prompt, Rendering


class DspyChat(Rendering):
    """The messages and the parser of ``dspy.ChatAdapter``; nothing is constrained."""

    name: ClassVar[str] = "dspy_chat"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"instruct", "chat"})

    def __init__(self, seed: int | None = None, callbacks: list[Any] | None = None) -> None:
        super().__init__(seed=seed, callbacks=callbacks)
        self._chat = dspy.ChatAdapter()

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
