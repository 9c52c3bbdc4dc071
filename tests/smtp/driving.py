"""Drives a dialogue by hand: replies as text, no sockets."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from mailstrom_cli.smtp.auth import Binding, Derive, Nonce
from mailstrom_cli.smtp.dialog import Failure, Read, SendMessage, SessionFailed, Write
from mailstrom_cli.smtp.wire import ReplyParser

if TYPE_CHECKING:
    from collections.abc import Generator

    from mailstrom_cli.mail.reply import Reply
    from mailstrom_cli.smtp.dialog import Effect


def reply(text: str) -> Reply:
    r"""The reply of these lines, parted by \n."""
    parser = ReplyParser()
    parser.feed(text.encode() + b"\n")
    parsed = parser.next_reply()
    assert parsed is not None and not parser.pending
    return parsed


class Driven:
    """What came of a dialogue, and what it did on the way.

    answers: for each Read a reply, or the kind of a Failure.  early: what a SendMessage gives.
    nonce, binding: what those effects give.
    """

    def __init__(
        self,
        dialogue: Generator[Effect, Reply, Any],
        *answers: str,
        early: str | None = None,
        nonce: str = "nonce",
        binding: tuple[str, bytes] | None = None,
    ) -> None:
        self.effects: list[Effect] = []
        self.result: Any = None
        waiting = list(answers)
        told: Any = None
        try:
            while True:
                effect = dialogue.throw(told) if isinstance(told, SessionFailed) else dialogue.send(told)
                self.effects.append(effect)
                told = None
                if isinstance(effect, SendMessage):
                    told = reply(early) if early else None
                elif isinstance(effect, Nonce):
                    told = nonce
                elif isinstance(effect, Binding):
                    told = binding
                elif isinstance(effect, Derive):
                    given = (effect.hash, effect.password, effect.salt, effect.iterations)
                    told = hashlib.pbkdf2_hmac(*given)
                elif isinstance(effect, Read):
                    answer = waiting.pop(0)
                    told = (
                        reply(answer)
                        if answer[0].isdigit()
                        else SessionFailed(Failure(answer, effect.stage, f"{answer} it is"))
                    )
        except StopIteration as end:
            self.result = end.value
        assert waiting == [], "replies that the dialogue did not wait for"

    @property
    def written(self) -> list[str]:
        """What was written, as lines; one string for each write."""
        return [e.data.decode().removesuffix("\r\n") for e in self.effects if isinstance(e, Write)]

    @property
    def steps(self) -> list[str]:
        """Stages that were read, and in capitals what was done."""
        return [
            e.stage if isinstance(e, Read) else type(e).__name__.upper()
            for e in self.effects
            if not isinstance(e, Write)
        ]
