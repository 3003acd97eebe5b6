"""A question as a request of its key, and its answer as messages: what goes on after Discord was told to wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from adapters.codec import encode
from adapters.framing.sse import data_of
from adapters.types import Operation
from gateway.domain import Outcome
from gateway.engine.answer import Answer, Stream
from gateway.engine.ending import end_all
from gateway.errands import Errand
from gateway.errors import GatewayError, Internal
from gateway.http.api.inbound import read_call
from gateway.http.drain import DrainSignal
from gateway.integrations.discord import words
from gateway.integrations.discord.allowance import Quiet
from gateway.integrations.discord.command import Question
from gateway.integrations.discord.delivery import Delivery
from gateway.integrations.discord.rest import Rest
from gateway.reload.holder import RuntimeHolder
from gateway.runtime import Runtime
from gateway.settings.integrations import DiscordSettings

_GONE_STATUS: Final = 499
_LAST_SECONDS: Final = 4.0
"""How long last words may take when the process ends."""
_REMEMBERED_SECONDS: Final = 600.0
"""Longer than a signature is good."""
_log = logging.getLogger("anyport.discord")


class _Content(Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Content = field(default_factory=_Content)


class _Chunk(Struct):
    choices: list[_Choice] = field(default_factory=list[_Choice])


_chunk = msgspec.json.Decoder(_Chunk).decode


class Answering(AbstractAsyncContextManager["Answering"]):
    """Answers the questions of one process; they may go on while it is entered."""

    def __init__(
        self,
        runtimes: Callable[[], RuntimeHolder[Any]],
        drain: DrainSignal,
        next_id: Callable[[], str],
        told: Callable[[Outcome, str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told` hears of each request that has ended, and the name of its key."""
        self._runtimes = runtimes
        self._drain = drain
        self._next_id = next_id
        self._told = told
        self._clock = clock
        self._everywhere = Quiet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: dict[str, float] = {}
        """Interactions of the last minutes, in the order in which they came."""

    async def __aexit__(self, *exception: object) -> None:
        """Lets last words be written, and ends what is left."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=_LAST_SECONDS)
        await end_all(tuple(self._tasks))

    def begin(self, question: Question, settings: DiscordSettings) -> None:
        """Begins to answer; what was begun already, as somebody has sent it again, is not."""
        now = self._clock()
        while self._known and next(iter(self._known.values())) < now - _REMEMBERED_SECONDS:
            del self._known[next(iter(self._known))]
        if question.id in self._known:
            return
        self._known[question.id] = now
        self._drain.hold()
        task = asyncio.create_task(self._answer(question, settings), name="discord-answer")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._drain.let_go()

    async def _answer(self, question: Question, settings: DiscordSettings) -> None:
        lease = self._runtimes().lease()
        try:
            rest = Rest(lease.runtime.control, settings.api_base, settings.application_id)
            delivery = Delivery(rest, question, self._everywhere, clock=self._clock)
            writing = asyncio.create_task(delivery.run(), name="discord-write")
            asking = asyncio.create_task(self._ask(lease.runtime, question, settings, delivery), name="discord-ask")
            try:
                delivery.finish(await self._note(asking, delivery))
                await writing
            finally:
                await end_all([asking, writing])
        except Exception:
            _log.exception("interaction %s failed inside the gateway", question.id)
        finally:
            lease.release()

    async def _note(self, asking: asyncio.Task[str], delivery: Delivery) -> str:
        """Waits for the end of a request and returns what is to be said of it, "" if nothing."""

        def expired() -> None:
            asking.cancel()

        self._drain.on_deadline(expired)
        try:
            done, _ = await asyncio.wait([asking], timeout=delivery.ends_at - self._clock())
            if not done:
                return words.TOO_LONG
            return words.ENDING if asking.cancelled() else asking.result()
        finally:
            self._drain.forget(expired)

    async def _ask(self, runtime: Runtime, question: Question, settings: DiscordSettings, delivery: Delivery) -> str:
        """Makes the request; returns a word about its end, if that was none of the good ones."""
        place = settings.guilds.get(question.guild) or settings.elsewhere
        model = question.model or (place and place.model) or settings.model
        body = encode({"model": model, "messages": [{"role": "user", "content": question.prompt}], "stream": True})
        outcome = Outcome(f"req_{self._next_id()}", operation=Operation.CHAT.value, started=time.monotonic())
        outcome.bytes_in = len(body)
        errand = Errand(runtime, outcome, body)
        runtime.metrics.request_started()
        try:
            client = runtime.keys.called((place and place.key) or "")
            call = read_call(Operation.CHAT, body, id=f"chatcmpl-{self._next_id()}", created=int(time.time()))
            await _relay(await errand.run(call, client), outcome, errand, delivery)
        except GatewayError as error:
            return _refused(error, outcome)
        except asyncio.CancelledError:
            outcome.is_cancelled, outcome.status = True, outcome.status or _GONE_STATUS
            raise
        except Exception:
            _log.exception("request %s failed inside the gateway", outcome.request_id)
            return _refused(Internal("the gateway failed; its log has details"), outcome)
        finally:
            errand.settle()
            errand.tell()
            self._told(outcome, errand.client.name)
        return ""


def _refused(error: GatewayError, outcome: Outcome) -> str:
    outcome.status = outcome.status or error.status
    outcome.error_code = error.code or error.type
    outcome.limit, outcome.limit_of = error.refused_by
    return words.said(error, outcome.request_id)


async def _relay(answer: Answer | Stream, outcome: Outcome, errand: Errand, delivery: Delivery) -> None:
    """Gives the text of an answer to its messages as it comes; raises why it broke off."""
    if isinstance(answer, Answer):
        raise TypeError("a question was answered in one piece")
    outcome.status, outcome.first_byte = 200, time.monotonic()
    try:
        frames = answer.first
        while frames:
            outcome.chunks += 1
            outcome.bytes_out += len(frames)
            outcome.events += frames.count(b"\n\n")
            if errand.kept is not None:
                errand.kept.add(frames)
            delivery.add("".join(_text(data) for block in frames.split(b"\n\n") if (data := data_of(block))))
            if delivery.is_gone or delivery.is_full:
                outcome.is_cancelled = True  # nobody reads the rest
                return
            frames = await answer.next()
        if answer.error is not None:
            raise answer.error
        await answer.linger()
    finally:
        await answer.aclose()
        outcome.usage = answer.usage or outcome.usage
        outcome.response_model, outcome.finish = answer.model, answer.finish


def _text(data: bytes) -> str:
    """Returns what of an event is to be read: the first choice's words."""
    try:
        choices = _chunk(data).choices
    except msgspec.DecodeError:  # `[DONE]`, and half a surrogate pair
        return ""
    said = (each.delta for each in choices if each.index == 0)
    return "".join(part for one in said for part in (one.content, one.refusal) if part)
