"""The messages of one answer: they are written while the text comes, as often as Discord lets us.

Theory. The text grows as fast as the model writes; the messages follow it as they may. Whatever is sent is what is
known at that moment, so that a slow Discord means fewer edits, never later ones. What could not be sent is tried again,
a further message, too: rather twice than never. When the messages are gone, or the token of the interaction is void,
nobody can read the answer any more, and `is_gone` says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from adapters.codec import as_object, as_text
from gateway.integrations.discord.allowance import Allowance, Quiet
from gateway.integrations.discord.command import Question
from gateway.integrations.discord.parts import MAX_CHARACTERS, split
from gateway.integrations.discord.replies import EPHEMERAL, message
from gateway.integrations.discord.rest import Reply, Rest
from gateway.transport.base import TransportError

TOKEN_SECONDS: Final = 900.0
"""How long the token of an interaction is good: 15 minutes (`developers/interactions/receiving-and-responding.mdx`)."""
_VOID_SECONDS: Final = TOKEN_SECONDS - 10.0
"""When it is taken for void."""
_LAST_SECONDS: Final = 30.0
_EDIT_SECONDS: Final = 1.0
"""Between two edits while the text grows."""
_MOST_MESSAGES: Final = 20
_MOST_MESSAGES_OF_USER: Final = 5
"""Of an application that only a user has installed: five follow-ups are allowed (`developers/change-log.mdx`,
2024-06-27), and the last one may be a word of ours."""
_TRIES: Final = 5
_NOT_THERE_SECONDS: Final = 0.5
_TROUBLE_SECONDS: Final = 2.0
_NOTHING: Final = "*The model has answered nothing.*"
_CUT: Final = "*The answer is too long for Discord; the rest is left out.*"
_TOO_MANY: Final = 429
_NOT_FOUND: Final = 404
_FIRST_FAULT: Final = 500
_log = logging.getLogger("anyport.discord")


class Delivery:
    """Writes one answer; `run` does it, beside whoever adds to the text."""

    def __init__(
        self,
        rest: Rest,
        question: Question,
        everywhere: Quiet,
        *,
        clock: Callable[[], float],
        edit_seconds: float = _EDIT_SECONDS,
    ) -> None:
        self.is_gone = False
        """Nobody can read the answer any more."""
        self._void_at = clock() + _VOID_SECONDS
        self.ends_at = self._void_at - _LAST_SECONDS
        """When the text must have come, of `clock`, so that all of it can be written."""
        self._rest = rest
        self._question = question
        self._allowance = Allowance(everywhere)
        self._clock = clock
        self._edit_seconds = edit_seconds
        self._most = _MOST_MESSAGES if question.is_of_guild else _MOST_MESSAGES_OF_USER
        self._text = ""
        self._note = ""
        self._changed = asyncio.Event()
        self._finished = asyncio.Event()
        self._ids: list[str] = []
        """Of the messages after the first."""
        self._written: list[str] = []
        """What the messages say now."""
        self._written_at = 0.0
        self._failures = 0

    @property
    def is_full(self) -> bool:
        """Says whether more of the text would not be shown."""
        return len(self._text) > MAX_CHARACTERS * self._most

    def add(self, text: str) -> None:
        """Takes more of the answer."""
        self._text += text
        self._changed.set()

    def finish(self, note: str = "") -> None:
        """Notes that nothing more comes; `note` says why, if that is no good end."""
        self._note = note
        self._finished.set()
        self._changed.set()

    async def run(self) -> None:
        """Writes until all that will come stands there, or nobody can read it."""
        while not self.is_gone:
            if self._clock() >= self._void_at:
                self._give_up("its token is no longer good")
            elif (found := self._next()) is None:
                if self._finished.is_set():
                    return
                self._changed.clear()
                await self._changed.wait()
            elif seconds := self._wait():
                await self._rest_for(seconds)
            else:
                await self._write(*found)

    def _next(self) -> tuple[int, str] | None:
        """Returns the first message that does not say what it should, and what that is; None if all do."""
        for index, text in enumerate(self._messages()):
            if index >= len(self._written) or self._written[index] != text:
                return index, text
        return None

    def _messages(self) -> list[str]:
        parts = split(self._text)
        if len(parts) > self._most:
            parts = [*parts[: self._most - 1], *split(parts[self._most - 1], MAX_CHARACTERS - len(_CUT) - 2)[:1]]
            parts[-1] += f"\n\n{_CUT}"
        if not self._finished.is_set():
            return parts
        if self._note and parts and len(parts[-1]) + len(self._note) + 2 <= MAX_CHARACTERS:
            parts[-1] += f"\n\n{self._note}"
        elif self._note or not parts:
            parts.append(self._note or _NOTHING)
        return parts

    def _wait(self) -> float:
        now = self._clock()
        wait = self._allowance.wait(now)
        if not self._finished.is_set() and self._written:
            wait = max(wait, self._written_at + self._edit_seconds - now)
        return max(wait, 0.0)

    async def _rest_for(self, seconds: float) -> None:
        """Waits; if nothing more comes meanwhile, what is left may go as soon as Discord lets us."""
        if self._finished.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._finished.wait()

    async def _write(self, index: int, text: str) -> None:
        self._allowance.called(self._clock())
        try:
            reply = await self._send(index, text)
        except TransportError as error:
            await self._failed(f"Discord does not answer: {error.message}", _TROUBLE_SECONDS)
            return
        now = self._clock()
        self._allowance.answered(reply.headers, now)
        if reply.status == _TOO_MANY:
            body = as_object(reply.body)
            retry_after = body.get("retry_after", reply.headers.get("retry-after"))
            self._allowance.refused(retry_after, is_global=body.get("global") is True, now=now)
        elif reply.is_ok:
            self._note_written(index, text, reply)
        elif reply.status >= _FIRST_FAULT:
            await self._failed(f"Discord has trouble ({reply.status})", _TROUBLE_SECONDS)
        elif reply.status == _NOT_FOUND and not self._written:
            # What was said to come later may not be there yet.
            await self._failed("there is no such interaction (404)", _NOT_THERE_SECONDS)
        else:
            self._give_up(f"Discord refuses with {reply.status}")

    async def _send(self, index: int, text: str) -> Reply:
        token = self._question.token
        if index == 0:
            return await self._rest.original(token, message(text))
        if index < len(self._written):
            return await self._rest.edit(token, self._ids[index - 1], message(text))
        flags: dict[str, Any] = {"flags": EPHEMERAL} if self._question.is_private else {}
        return await self._rest.follow_up(token, {**message(text), **flags})

    def _note_written(self, index: int, text: str, reply: Reply) -> None:
        self._failures = 0
        self._written_at = self._clock()
        if index < len(self._written):
            self._written[index] = text
            return
        self._written.append(text)
        if index:
            id = as_text(as_object(reply.body).get("id"))
            self._ids.append(id)
            if not id.isdigit():
                self._give_up("it has named no message")

    async def _failed(self, why: str, seconds: float) -> None:
        self._failures += 1
        if self._failures >= _TRIES:
            self._give_up(why)
        else:
            await asyncio.sleep(seconds)

    def _give_up(self, why: str) -> None:
        self.is_gone = True
        _log.warning("an answer to interaction %s is lost: %s", self._question.id, why)
