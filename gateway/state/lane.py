"""The one way to Redis for admissions: what requests ask goes out together, in order, and nobody waits for long.

Theory. A request never touches the connection. It leaves its question and waits for a future, for `answer_seconds` at
most; one task sends what is there, in order, and deals out the answers. Whatever is wrong with an exchange,
its connection is dropped, so that no answer can ever belong to another question. After `_MISSES` questions without an
answer nobody asks any more, until the server has answered this task again, which tries once a second. What has to
arrive, even if late, is told: it keeps its place among the questions, is sent again until the server has confirmed it,
and must do no harm when it comes twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from gateway.state.redis import Client, cancellable
from gateway.state.scripts import Command, Script
from gateway.state.trouble import describe

MAX_QUEUED: Final = 10_000
"""Of more that wait for a server, the oldest is forgotten."""
_MISSES: Final = 5
_STEPS: Final = 5
_BATCH: Final = 100
"""Commands at once: an exchange has to be over in time."""
_SHORT_PAUSE_SECONDS: Final = 0.02
_BEATS_WHILE_NOT_READY: Final = 20
"""As many in the time of one."""

_log = logging.getLogger("anyport.state")
Answer = object


@dataclass(frozen=True, slots=True)
class _Message:
    """What waits to be sent."""

    command: Command
    reply: asyncio.Future[Answer] | None = None
    """Of a question; what is told has none."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a lane waits."""

    answer_seconds: float = 0.05
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
        first: Callable[[], Sequence[Command]],
        beat: Callable[[], Sequence[Command]],
        heard: Callable[[Sequence[Answer], bool], bool],
        clock: Callable[[], float],
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """`first` says what a server hears at the beginning of a connection, and `beat` what as a sign of life.

        `heard` is called with the answers to that, and whether nobody asked lately; it says whether one may ask now.
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
        self._misses = 0
        self._answered = clock()
        self._is_away = True
        """Until it has answered once, a server is as good as away."""
        self._is_closed = False
        self._is_stale = False
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
        """Starts the task that connects; waits for it, for `connect_seconds` at most, so that nobody asks too soon."""
        self._task = asyncio.create_task(self._run(), name="admissions")
        await _within(self._pace.connect_seconds, self._tried)

    async def aclose(self) -> None:
        """Tells what is still to be told, if the server is there, for `connect_seconds` at most, and ends the task."""
        if self._queue and not self.is_away and self._task is not None:
            self._is_empty.clear()
            await _within(self._pace.connect_seconds, self._is_empty)
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
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
        """Begins the conversation anew: the server was restarted behind a connection that still seems to be there."""
        self._is_stale = True
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
                self._failed(describe(error))
            self._tried.set()
            await asyncio.sleep(self._pace.beat_seconds if self._is_away else _SHORT_PAUSE_SECONDS)

    async def _converse(self) -> None:
        """Connects and exchanges until something fails, which it raises."""
        async with aclosing(self._connect()) as client:
            async with asyncio.timeout(self._pace.connect_seconds):
                is_ready = await self._greet(client)
            while True:
                if is_ready:
                    self._is_back()
                else:
                    self._is_not_ready()
                seconds = self._pace.beat_seconds / (_BEATS_WHILE_NOT_READY if self._is_away else 1)
                await self._serve_until(self._clock() + seconds, client)
                is_ready = self._heard(await self._in_time(client, self._beat()), self._is_away)

    async def _greet(self, client: Client) -> bool:
        """Tells a server all that it may not know; returns whether it may be asked now."""
        self._is_stale = False
        await self._load(client)
        commands = self._first()
        for start in range(0, len(commands), _BATCH):
            _raise_first(await self._sent(client, commands[start : start + _BATCH]))
        answers = await self._sent(client, self._beat())
        _raise_first(answers)
        return self._heard(answers, self._is_away)

    async def _serve_until(self, end: float, client: Client) -> None:
        while (left := end - self._clock()) > 0:
            await self._serve(client)
            if self._is_stale:
                raise ConnectionError("it was restarted")
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
            self._misses += sum(map(_end, messages))
            self._queue.extendleft(message for message in reversed(messages) if message.reply is None)
            raise
        for message, answer in zip(messages, answers, strict=True):
            if message.reply is not None and not message.reply.done():
                message.reply.set_result(answer)
        self._misses = 0
        self._answered = self._clock()

    async def _in_time(self, client: Client, commands: Sequence[Command]) -> Sequence[Answer]:
        exchange = asyncio.ensure_future(self._exchange(client, commands))
        patience = Patience(asyncio.get_running_loop(), self._pace.answer_seconds, exchange.cancel)
        try:
            return await exchange
        except asyncio.CancelledError:
            if patience.is_over:
                raise TimeoutError from None
            raise
        finally:
            patience.cancel()

    async def _exchange(self, client: Client, commands: Sequence[Command]) -> Sequence[Answer]:
        """Returns the answers; greets a server that has forgotten the scripts, and raises any other error.

        The package connects again by itself where a server was restarted between two exchanges.
        """
        answers = await self._sent(client, commands)
        unknown = [at for at, answer in enumerate(answers) if type(answer).__name__ == "NoScriptError"]
        if unknown:
            if not await self._greet(client):
                raise ConnectionError("it was restarted")
            again = await self._sent(client, [commands[at] for at in unknown])
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        _raise_first(answers)
        return answers

    async def _sent(self, client: Client, commands: Sequence[Command]) -> list[Answer]:
        async with client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.evalsha(command.script.digest, len(command.keys), *command.keys, *command.arguments)
            # Not raised there: the package would put the command into what the error says.
            return list(await cancellable(pipeline.execute(raise_on_error=False)))

    async def _load(self, client: Client) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for script in self._scripts:
                pipeline.script_load(script.source)
            _raise_first(await cancellable(pipeline.execute(raise_on_error=False)))

    def _miss(self, message: _Message) -> None:
        # A server that answers others is not away: then it was we who asked too much at once.
        if _end(message) and self._clock() - self._answered >= self._pace.answer_seconds:
            self._failed("no answer in time")

    def _failed(self, why: str) -> None:
        self._misses += 1
        if self._misses < _MISSES and not self._is_away:
            return
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
        self._misses = 0
        self._trouble = "empty, waiting for the other replicas"
        self._give_up()
        self._tried.set()

    def _is_back(self) -> None:
        if self._is_away and self._trouble != "connecting":
            _log.info("%s is there again: replicas count limits and budgets together", self._place)
        self._is_away = False
        self._misses = 0
        self._answered = self._clock()
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
