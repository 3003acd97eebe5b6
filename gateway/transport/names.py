"""Host names to addresses, so that a slow name holds up no other, and an unknown one is not looked up all the time."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> IP addresses, best first; raises OSError (such as socket.gaierror)."""

FAILURE_SECONDS: Final = 2.0
"""How long a name that could not be resolved is not looked up again: nobody waits so briefly for a server to start."""
_MOST_FAILURES: Final = 1024


class SystemNames:
    """Asks the operating system: at most one look-up per host at a time, each on a thread of its own.

    The system may need many seconds to give a look-up up, and nothing can end it before. On a thread of its own it
    then takes nobody's place; as a daemon it does not delay the end of the process either.
    """

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Returns the addresses in the system's order; raises OSError. Cancelling leaves the look-up to others."""
        running = self._running.get(host)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.create_future()
            thread = threading.Thread(target=_answer, args=(running, loop, host, port), name="look-up", daemon=True)
            thread.start()
            self._running[host] = running
            running.add_done_callback(lambda done: self._forget(host, done))
        return await asyncio.shield(running)

    def _forget(self, host: str, done: asyncio.Future[Sequence[str]]) -> None:
        del self._running[host]
        # Marks a failure as seen, for the case that everybody who waited was cancelled.
        done.exception()


class FailingNames:
    """Resolves names by `resolve`, but a name that failed has no addresses for `FAILURE_SECONDS`, without a look-up."""

    __slots__ = ("_clock", "_resolve", "_until")

    def __init__(self, resolve: Resolve, clock: Callable[[], float]) -> None:
        self._resolve = resolve
        self._clock = clock
        self._until: dict[str, float] = {}

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Returns the addresses, none if there are none or a look-up failed a moment ago; raises OSError."""
        if self._clock() < self._until.get(host, 0.0):
            return ()
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            self._remember(host)
            raise
        if addresses:
            self._until.pop(host, None)
        else:
            self._remember(host)
        return addresses

    def _remember(self, host: str) -> None:
        if len(self._until) >= _MOST_FAILURES:
            self._until.clear()
        self._until[host] = self._clock() + FAILURE_SECONDS


def _answer(answer: asyncio.Future[Sequence[str]], loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
    """Runs on a thread: looks `host` up, and tells the event loop, if that still runs."""
    with suppress(RuntimeError):
        try:
            loop.call_soon_threadsafe(answer.set_result, _look_up(host, port))
        except OSError as error:
            loop.call_soon_threadsafe(answer.set_exception, error)
        except (ValueError, OverflowError):
            loop.call_soon_threadsafe(answer.set_exception, OSError("this cannot be a host name"))


def _look_up(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
