"""The one way to Redis for admissions: what requests ask goes out together, in order, and nobody waits for long.

Theory. A request never touches the connection. It leaves its question and waits for a future, for `answer_seconds` at
most; one task sends what is there, in order, and deals out the answers. An exchange may take longer than one question
waits: on a machine that is busy it costs less to hear a late answer than to begin again, and a server is not away for
one of them. Whatever else is wrong with an exchange, its connection is dropped, so that no answer can ever belong to
another question. A connection begins with a greeting: what the server has to know of us before it may be asked. Where
that fails, or nothing at all is answered for a while, nobody asks any more until a server was greeted, which is tried
once a second. What has to arrive, even if late, is told: it keeps its place among the questions, is sent again until
the server has confirmed it, and must do no harm when it comes twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.state.redis import Client, cancellable
from gateway.state.scripts import Command, Script
from gateway.state.trouble import describe

MAX_QUEUED: Final = 10_000
"""Of more that wait for a server, the oldest is forgotten."""
_FAILURES: Final = 5
"""In a row, of a server that lets itself be greeted: after so many it counts as away."""
_SILENCES: Final = 5
"""So many times as long as a question waits, an exchange may take."""
_STEPS: Final = 5
_BATCH: Final = 100
"""Commands at once: an exchange has to be over in time."""
_SHORT_PAUSE_SECONDS: Final = 0.02
_CANCEL_SECONDS: Final = 1.0
_BEATS_WHILE_NOT_READY: Final = 20
"""As many in the time of one."""

_log = logging.getLogger("anyport.state")
Answer = object


class Standing(Enum):
    """What a server's answer to a sign of life means."""

    READY = "it may be asked"
    WAITING = "it knows us, but not all others"
    FORGOTTEN = "it does not know us, and is to be greeted"


@dataclass(frozen=True, slots=True)
class _Message:
    """What waits to be sent."""

    command: Command
    reply: asyncio.Future[Answer] | None = None
    """Of a question; what is told has none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a lane waits."""

    answer_seconds: float = 0.08
    """For an answer, from the question on."""
    beat_seconds: float = 1.0
    """Between two signs of life, and between two attempts to find a server that is away."""
    connect_seconds: float = 1.0
    """For a connection that is ready to be used; nobody waits for that."""


DEFAULT_PACE: Final = Pace()


class Lane:
    """Asks and tells one Redis server."""

    def __init__(
        self,
        connect: Callable[[], Client],
        place: str,
        *,
        scripts: Sequence[Script],
        first: Callable[[bool], Sequence[Command]],
        beat: Callable[[bool], Sequence[Command]],
        heard: Callable[[Sequence[Answer], bool], Standing],
        clock: Callable[[], float],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """`beat` gives the sign of life, told whether it is the first one, at the end of a greeting.

        `first` gives what comes before that, told whether the server knows us. `heard` is called with the answers to a
        sign of life, and whether nobody asked lately.
        """
        self._connect = connect
        self._place = place
        self._scripts = scripts
        self._first = first
        self._beat = beat
        self._heard = heard
        self._clock = clock
        self._pace = pace
        self._queue: deque[_Message] = deque()
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._silent_since: float | None = None
        """When a question found no answer in time, and none has since."""
        self._is_away = True
        """Until it has answered once, a server is as good as away."""
        self._is_closed = False
        self._is_known = False
        """Whether the server of this connection was greeted."""
        self._trouble = "connecting"

    @property
    def trouble(self) -> str:
        """What is wrong with the server; empty if nothing is."""
        return self._trouble

    @property
    def queued(self) -> int:
        """How much waits to be sent."""
        return len(self._queue)

    @property
    def is_away(self) -> bool:
        """Whether it is of no use to ask."""
        return self._is_away or self._is_closed

    async def start(self) -> None:
        """Starts the task that connects; waits for it, for `connect_seconds` at most, so that nobody asks too soon.

        A second call starts nothing: each configuration that uses it makes one.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="admissions")
        await _within(self._pace.connect_seconds, self._tried)

    async def aclose(self) -> None:
        """Tells what is still to be told, if the server is there, for `connect_seconds` at most, and ends the task."""
        if self._queue and not self.is_away and self._task is not None:
            self._is_empty.clear()
            await _within(self._pace.connect_seconds, self._is_empty)
        self._is_closed = True
        while self._task is not None and not self._task.done():
            self._task.cancel()
            # The package may forget that, where an answer comes at the same time.
            await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)
        self._give_up()

    async def ask(self, command: Command) -> Answer | None:
        """Returns the answer, None if there is none in time; one who is cancelled may have been heard all the same."""
        if self.is_away:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        message = _Message(command, future)
        self._put(message)
        patience = Patience(loop, self._pace.answer_seconds, lambda: self._miss(message))
        try:
            return await future
        finally:
            patience.cancel()

    def tell(self, command: Command) -> None:
        """Sends this as soon as that is possible, again if need be."""
        self._put(_Message(command))

    def renew(self) -> None:
        """Greets the server again, as it knows nothing of us: it was emptied."""
        self._is_known = False
        self._wake.set()

    def _put(self, message: _Message) -> None:
        self._queue.append(message)
        if len(self._queue) > MAX_QUEUED:
            _end(self._queue.popleft())
        self._wake.set()

    async def _run(self) -> None:
        while not self._is_closed:
            try:
                await self._converse()
            except Exception as error:  # here ends a connection; whatever it was, the next one begins afresh
                self._failed(error)
            self._tried.set()
            await asyncio.sleep(self._pace.beat_seconds if self._is_away else _SHORT_PAUSE_SECONDS)

    async def _converse(self) -> None:
        """Connects and exchanges until something fails, which it raises."""
        self._is_known = False
        async with aclosing(self._connect()) as client:
            while not self._is_closed:
                if self._is_known:
                    answers = await self._in_time(client, self._beat(False))
                else:
                    async with asyncio.timeout(self._pace.connect_seconds):
                        answers = await self._greet(client)
                    self._is_known = True
                match self._heard(answers, self._is_away):
                    case Standing.READY:
                        self._is_back()
                    case Standing.WAITING:
                        self._is_not_ready()
                    case Standing.FORGOTTEN:
                        self._is_known = False
                        continue
                seconds = self._pace.beat_seconds / (_BEATS_WHILE_NOT_READY if self._is_away else 1)
                await self._serve_until(self._clock() + seconds, client)

    async def _greet(self, client: Client) -> Sequence[Answer]:
        """Tells a server all that it may not know; returns its answers to the sign of life."""
        async with client.pipeline(transaction=False) as pipeline:
            for script in self._scripts:
                pipeline.script_load(script.source)
            _raise_first(await cancellable(pipeline.execute(raise_on_error=False)))
        known = await self._sent(client, self._beat(False))
        commands = self._first(bool(known[0]))
        for start in range(0, len(commands), _BATCH):
            await self._sent(client, commands[start : start + _BATCH])
        return await self._sent(client, self._beat(True))

    async def _serve_until(self, end: float, client: Client) -> None:
        while self._is_known and (left := end - self._clock()) > 0:
            await self._serve(client)
            if not self._queue:
                self._is_empty.set()
                await self._rest(left)

    async def _rest(self, seconds: float) -> None:
        await _within(seconds, self._wake)
        self._wake.clear()

    async def _serve(self, client: Client) -> None:
        """Sends the first of what waits."""
        messages: list[_Message] = []
        while self._queue and len(messages) < _BATCH:
            message = self._queue.popleft()
            if message.reply is None or not message.reply.done():
                messages.append(message)
        if not messages:
            return
        try:
            answers = await self._in_time(client, [message.command for message in messages])
        except BaseException:
            for message in messages:
                _end(message)
            self._queue.extendleft(message for message in reversed(messages) if message.reply is None)
            raise
        for message, answer in zip(messages, answers, strict=True):
            if message.reply is not None and not message.reply.done():
                message.reply.set_result(answer)
        self._failures = 0
        self._silent_since = None

    async def _in_time(self, client: Client, commands: Sequence[Command]) -> Sequence[Answer]:
        exchange = asyncio.ensure_future(self._sent(client, commands))
        patience = Patience(asyncio.get_running_loop(), _SILENCES * self._pace.answer_seconds, exchange.cancel)
        try:
            return await exchange
        except asyncio.CancelledError:
            if patience.is_over:
                raise TimeoutError from None
            raise
        finally:
            patience.cancel()

    async def _sent(self, client: Client, commands: Sequence[Command]) -> Sequence[Answer]:
        """Returns the answers; raises the first error among them."""
        async with client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.evalsha(command.script.digest, len(command.keys), *command.keys, *command.arguments)
            # Not raised there: the package would put the command into what the error says.
            answers = await cancellable(pipeline.execute(raise_on_error=False))
        _raise_first(answers)
        return answers

    def _miss(self, message: _Message) -> None:
        if not _end(message):
            return
        if self._silent_since is None:
            self._silent_since = self._clock()
        elif self._clock() - self._silent_since >= (_SILENCES - 1) * self._pace.answer_seconds:
            self._went_away("no answer in time")

    def _failed(self, error: Exception) -> None:
        """Takes in what ended a connection: one that was good until then is made again at once."""
        self._failures += 1
        if self._is_away or not self._is_known or isinstance(error, TimeoutError) or self._failures >= _FAILURES:
            self._went_away(describe(error))

    def _went_away(self, why: str) -> None:
        if not self._is_away or self._trouble == "connecting":
            _log.warning("%s: %s; each replica admits requests by its own share of the limits", self._place, why)
        self._is_away = True
        self._trouble = f"{why}, trying again"
        self._give_up()

    def _give_up(self) -> None:
        """Ends all waits; what is to be told is kept."""
        for message in self._queue:
            _end(message)
        self._queue = deque(message for message in self._queue if message.reply is None)

    def _is_not_ready(self) -> None:
        """The server answers, and has forgotten what others have not told it again."""
        if not self._is_away:
            _log.warning("%s is empty: each replica admits requests by its own share of the limits", self._place)
        self._is_away = True
        self._failures = 0
        self._trouble = "empty, waiting for the other replicas"
        self._give_up()
        self._tried.set()

    def _is_back(self) -> None:
        if self._is_away:
            if self._trouble != "connecting":
                _log.info("%s is there again: replicas count limits and budgets together", self._place)
            self._failures = 0
            self._silent_since = None
        self._is_away = False
        self._trouble = ""
        self._tried.set()


def _raise_first(answers: Sequence[Answer]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _end(message: _Message) -> bool:
    """Ends the wait for an answer that will not come; returns whether anybody still waited."""
    if message.reply is None or message.reply.done():
        return False
    message.reply.set_result(None)
    return True


class Patience:
    """Calls after some seconds of an event loop that has time.

    What is due by the clock may be due because this process stood still, with the answer at its door.
    """

    __slots__ = ("_left", "_loop", "_step", "_then", "_timer", "is_over")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], object]) -> None:
        self.is_over = False
        self._loop = loop
        self._then = then
        self._left = _STEPS
        self._step = seconds / _STEPS
        self._timer = loop.call_later(self._step, self._tick)

    def cancel(self) -> None:
        """Does not call any more."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._step, self._tick)
        else:
            self.is_over = True
            self._then()


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Waits for an event, but no longer than this."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        pass
