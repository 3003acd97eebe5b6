"""State shared through Redis: kept there for those who come later, and told at once to those who listen.

Theory. The network and the server fail in any way, at any time, so that there is one task and one answer to every
trouble: drop the connections, wait a little longer than last time, begin again. A beginning makes up for all that was
missed, in the order that leaves no gap: subscribe, send again what of our own still counts, read what is kept. That the
server is there is known from its answers alone; a connection that is silent is asked to answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Protocol, TypeVar

from gateway.state.address import Address
from gateway.state.base import MAX_SECONDS, Apply, CoolDown, is_believable
from gateway.state.message import KEYS, MAX_BYTES, key_of, read, read_kept, written
from gateway.state.trouble import describe

MAX_OWN: Final = 4096
"""Cool-downs of our own that are remembered; of more, the oldest is forgotten."""
MAX_KEPT: Final = 10_000
"""Cool-downs of others that are read at a connection."""
_BATCH: Final = 100
_SCANNED_AT_ONCE: Final = 1000
_FIRST_PAUSE_SECONDS: Final = 0.1
_SILENCE_SECONDS: Final = 3600.0
"""Of one read; far longer than `Patience.quiet_seconds`, which ends the connection before."""

# KEYS: where it is kept. ARGV: the message, its milliseconds, the channel, the longest that anybody believes.
# The longest wait wins; what is kept for ever, or longer than anybody believes, is not ours.
_KEEP_AND_TELL: Final = """
local left = redis.call('PTTL', KEYS[1])
if left >= tonumber(ARGV[2]) and left <= tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return 1
"""

_log = logging.getLogger("anyport.state")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for."""

    answer_seconds: float = 5.0
    """For a connection, and for each answer."""
    quiet_seconds: float = 5.0
    """A subscription is asked this often to answer, and has this long to do so."""
    pause_seconds: float = 5.0
    """Between two attempts to connect, at most."""


DEFAULT_PATIENCE: Final = Patience()


class Pipeline(Protocol):
    """What is used of the package's pipeline."""

    def eval(self, script: str, numkeys: int, *arguments: str | bytes | int) -> object:
        """Adds a script to be run."""
        ...

    def script_load(self, script: str) -> object:
        """Adds a script to be remembered."""
        ...

    def evalsha(self, sha: str, numkeys: int, *arguments: str | bytes | int) -> object:
        """Adds a script to be run that is remembered."""
        ...

    def getrange(self, key: bytes, start: int, end: int) -> object:
        """Adds a question for a part of a value."""
        ...

    def pttl(self, key: bytes) -> object:
        """Adds a question for the milliseconds that are left of a key."""
        ...

    def execute(self, raise_on_error: bool) -> Awaitable[Sequence[object]]:
        """Sends all and returns the answers."""
        ...


class Subscription(Protocol):
    """What is used of the package's subscriptions."""

    def subscribe(self, *channels: str) -> Awaitable[object]:
        """Asks for a channel's messages; the answer is a message."""
        ...

    def get_message(self, *, timeout: float) -> Awaitable[Mapping[str, object] | None]:
        """Returns the next message, None after `timeout` seconds."""
        ...

    def ping(self) -> Awaitable[object]:
        """Asks for a message."""
        ...

    async def aclose(self) -> object:
        """Drops the connection."""
        ...


class Client(Protocol):
    """What is used of the package's client."""

    def pipeline(self, transaction: bool) -> AbstractAsyncContextManager[Pipeline]:
        """Returns commands that go out together."""
        ...

    def pubsub(self) -> Subscription:
        """Returns a connection for messages."""
        ...

    def ping(self) -> Awaitable[object]:
        """Asks for an answer."""
        ...

    def scan(self, cursor: int, match: str, count: int) -> Awaitable[tuple[int, Sequence[bytes]]]:
        """Returns some names of keys, and where to go on."""
        ...

    async def aclose(self) -> object:
        """Drops all connections."""
        ...


class RedisState:
    """Tells and hears through one database of a Redis server."""

    def __init__(
        self,
        connect: Callable[[], Client],
        address: Address,
        *,
        replica: str,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        """`replica` is this one's name, unlike any other's; `jitter` gives numbers between 0 and 1."""
        self._connect = connect
        self._place = f"redis at {address.place}"
        # Databases separate keys, but not channels.
        self._channel = f"anyport:cool:{address.database}"
        self._replica = replica
        self._clock = clock
        self._jitter = jitter
        self._patience = patience
        self._applies: list[Apply] = []
        self._own: dict[str, tuple[float, CoolDown]] = {}
        """Key -> its end by our clock, and what was published."""
        self._unsent: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_heard = False
        self._since: float | None = None
        """When the present connection was complete."""
        self._trouble = "connecting"

    @property
    def status(self) -> str:
        """Where the server is, and what keeps us from it."""
        if self._is_closed:
            return f"{self._place}: closed"
        return f"{self._place}: {self._trouble}" if self._trouble else self._place

    def publish(self, cool_down: CoolDown) -> None:
        """Remembers it and wakes the task that tells the others."""
        cool_down = replace(cool_down, seconds=min(cool_down.seconds, MAX_SECONDS))
        if self._is_closed or not is_believable(cool_down):
            return
        key, until = key_of(cool_down), self._clock() + cool_down.seconds
        if key in self._own and self._own[key][0] >= until:
            return
        self._own.pop(key, None)  # the order is that of the news
        self._own[key] = (until, cool_down)
        self._unsent[key] = None
        if len(self._own) > MAX_OWN:
            oldest = next(iter(self._own))
            del self._own[oldest]
            self._unsent.pop(oldest, None)
        self._wake.set()

    def subscribe(self, apply: Apply) -> None:
        """Adds one who wants to know what others tell."""
        self._applies.append(apply)

    async def start(self) -> None:
        """Starts the task that connects, tells and hears."""
        self._task = asyncio.create_task(self._run(), name="state")

    async def aclose(self) -> None:
        """Ends the task; what was not told yet is forgotten."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        attempts = 0
        while not self._is_closed:
            try:
                await self._converse()
            except Exception as error:  # here ends a connection; whatever it was, the next one begins afresh
                self._went_away(describe(error))
            lasted = 0.0 if self._since is None else self._clock() - self._since
            self._since = None
            # A server that takes connections only to drop them is not asked more often than one that is not there.
            attempts = 0 if lasted >= self._patience.pause_seconds else attempts + 1
            longest = min(self._patience.pause_seconds, _FIRST_PAUSE_SECONDS * 2 ** min(attempts, 20))
            await asyncio.sleep(longest * (0.5 + 0.5 * self._jitter()))

    async def _converse(self) -> None:
        """Connects, makes up for what was missed, then tells and hears until something fails, which it raises."""
        async with aclosing(self._connect()) as client, aclosing(client.pubsub()) as subscription:
            await cancellable(subscription.subscribe(self._channel))
            await self._hear(subscription, self._patience.answer_seconds)
            self._unsent = dict.fromkeys(self._counting())
            await self._send(client)
            await _together(
                self._listen(subscription), self._watch(subscription), self._tell(client), self._catch_up(client)
            )

    async def _listen(self, subscription: Subscription) -> None:
        while True:
            await self._hear(subscription, _SILENCE_SECONDS)

    async def _hear(self, subscription: Subscription, seconds: float) -> None:
        message = await cancellable(subscription.get_message(timeout=seconds))
        if message is None:
            raise TimeoutError
        self._is_heard = True
        data = message.get("data")
        if message.get("type") == "message" and isinstance(data, bytes):
            self._apply(read(data, self._replica))

    async def _watch(self, subscription: Subscription) -> None:
        """Raises if a subscription says nothing although it is asked to: a stopped server breaks no connection."""
        while True:
            self._is_heard = False
            await cancellable(subscription.ping())
            await asyncio.sleep(self._patience.quiet_seconds)
            if not self._is_heard:
                raise TimeoutError

    async def _catch_up(self, client: Client) -> None:
        """Reads what is resting now; nothing is missed any more after that."""
        cursor, count = 0, 0
        while True:
            cursor, keys = await cancellable(client.scan(cursor, match=f"{KEYS}*", count=_SCANNED_AT_ONCE))
            for at in range(0, len(keys), _BATCH):
                await self._read_kept(client, keys[at : at + _BATCH])
            count += len(keys)
            if not cursor or count >= MAX_KEPT:
                self._is_back()
                return

    async def _read_kept(self, client: Client, keys: Sequence[bytes]) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.getrange(key, 0, MAX_BYTES)
                pipeline.pttl(key)
            # A key may be of a type that has no value of this kind: its error is one of the answers.
            answers = await cancellable(pipeline.execute(raise_on_error=False))
        for key, value, left_ms in zip(keys, answers[::2], answers[1::2], strict=True):
            if isinstance(value, bytes) and isinstance(left_ms, int):
                self._apply(read_kept(key, value, left_ms, self._replica))

    def _apply(self, cool_down: CoolDown | None) -> None:
        if cool_down is not None:
            for apply in self._applies:
                apply(cool_down)

    def _counting(self) -> list[str]:
        """Forgets what of our own is over and returns the rest."""
        now = self._clock()
        self._own = {key: each for key, each in self._own.items() if each[0] > now}
        return list(self._own)

    async def _tell(self, client: Client) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send(client)

    async def _send(self, client: Client) -> None:
        """Sends what was not sent; what fails is sent again by the next connection, with all that still counts."""
        while self._unsent:
            # A stopped server would carry out what it was sent when it goes on, however late that is.
            await cancellable(client.ping())
            keys = list(islice(self._unsent, _BATCH))
            async with client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    del self._unsent[key]
                    self._add(pipeline, key)
                # Not raised there: the package would put the message into what the error says.
                answers = await cancellable(pipeline.execute(raise_on_error=False))
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer

    def _add(self, pipeline: Pipeline, key: str) -> None:
        until, cool_down = self._own[key]
        left = min(until - self._clock(), MAX_SECONDS)  # the difference of two sums may be a little more
        if left > 0:
            message = written(replace(cool_down, seconds=left), self._replica)
            longest_ms = int(MAX_SECONDS * 1000)
            pipeline.eval(_KEEP_AND_TELL, 1, key, message, math.ceil(left * 1000), self._channel, longest_ms)

    def _is_back(self) -> None:
        self._since = self._clock()
        if self._trouble != "connecting":
            _log.info("%s is there again: replicas tell each other which keys and deployments rest", self._place)
        self._trouble = ""

    def _went_away(self, why: str) -> None:
        if self._trouble in ("", "connecting"):
            _log.warning(
                "%s: %s; requests go on, and each replica finds out by itself which keys and deployments rest",
                self._place,
                why,
            )
        self._trouble = f"{why}, trying again"


async def _together(*works: Coroutine[None, None, None]) -> None:
    """Runs all until one fails, and raises what it raised.

    Not a TaskGroup: before Python 3.13 that may leave its task marked as cancelled, which `cancellable` would heed.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def cancellable(answer: Awaitable[Answer]) -> Answer:
    """Awaits an answer of the package and raises CancelledError if this task was cancelled by then.

    The package uses `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes with the answer.
    """
    try:
        return await answer
    finally:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
