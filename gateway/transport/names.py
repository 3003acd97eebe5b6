"""Host names to addresses, so that one slow name does not hold up the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> IP addresses, best first; raises OSError (such as socket.gaierror)."""

_THREADS: Final = 16


class SystemNames:
    """Asks the operating system, on threads of its own: at most one look-up per host and port at a time."""

    __slots__ = ("_running", "_threads")

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Returns the addresses in the system's order; raises OSError. Cancelling leaves the look-up to others."""
        key = (host, port)
        running = self._running.get(key)
        if running is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")
            loop = asyncio.get_running_loop()
            running = self._running[key] = loop.run_in_executor(self._threads, _look_up, host, port)
            running.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(running)

    def close(self) -> None:
        """Lets the threads end; a look-up that still runs is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _forget(self, key: tuple[str, int], done: asyncio.Future[Sequence[str]]) -> None:
        del self._running[key]
        if not done.cancelled():
            # Marks a failure as seen, for the case that everybody who waited was cancelled.
            done.exception()


def _look_up(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
