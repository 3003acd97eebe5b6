"""The runtime that serves new requests, and those before it whose requests still run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from gateway.errors import ConfigError
from gateway.runtime import Runtime

_log = logging.getLogger("anyport")
App = TypeVar("App")
_CLOSE_SECONDS: Final = 2.0


class Lease(Generic[App]):
    """A runtime with what serves through it; counted, so that it is closed after its last request and no sooner."""

    __slots__ = ("_ended", "_requests", "app", "is_retired", "runtime")

    def __init__(self, runtime: Runtime, app: App, ended: Callable[[Lease[App]], None]) -> None:
        """`ended` is called once: when it is retired and nothing runs on it."""
        self.runtime = runtime
        self.app = app
        self.is_retired = False
        self._requests = 0
        self._ended = ended

    def take(self) -> None:
        """Notes that a request begins."""
        self._requests += 1

    def release(self) -> None:
        """Notes that a request has ended."""
        self._requests -= 1
        if self.is_retired and not self._requests:
            self._ended(self)

    def retire(self) -> None:
        """Notes that no more requests begin."""
        self.is_retired = True
        if not self._requests:
            self._ended(self)


class RuntimeHolder(Generic[App]):
    """Hands out the current runtime; a swap changes one reference, and every request ends on what it began with."""

    def __init__(self, runtime: Runtime, serve: Callable[[Runtime], App]) -> None:
        """`serve` makes what answers requests through a runtime."""
        self._serve = serve
        self._current = Lease(runtime, serve(runtime), self._drained)
        self._draining: set[Lease[App]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Runtime:
        """The runtime for whatever begins now."""
        return self._current.runtime

    @property
    def draining(self) -> int:
        """Former runtimes that are not closed yet."""
        return len(self._draining)

    def lease(self) -> Lease[App]:
        """Returns what serves a request that begins now; its `release` must be called when that has ended."""
        lease = self._current
        lease.take()
        return lease

    async def swap(self, runtime: Runtime) -> Sequence[str]:
        """Has `runtime`, which was built after the current one, serve from now on; the old one drains by itself.

        Returns what is wrong with the work beside its requests: it serves all the same, since there is no way back.
        """
        app = self._serve(runtime)
        old = self._current
        await old.runtime.rest()  # two that look around would tell metrics different names
        runtime.take_over(old.runtime)
        self._current = Lease(runtime, app, self._drained)
        self._draining.add(old)
        old.retire()
        try:
            await runtime.start()
        except ConfigError as error:
            return [str(fault) for fault in error.faults]
        except Exception:
            _log.exception("the new configuration serves, but not all of its work beside requests has begun")
            return ["not all of the work beside requests has begun: the log has details"]
        return ()

    def scrub(self, text: str) -> str:
        """Takes the secrets of every runtime that is in use out of a text."""
        for lease in (self._current, *self._draining):
            text = lease.runtime.scrubber.lines(text)
        return text

    async def aclose(self) -> None:
        """Closes all of them."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)
        for lease in (*self._draining, self._current):
            await lease.runtime.aclose()
        for lease in (*self._draining, self._current):
            for secret in lease.runtime.secrets():
                secret.wipe()  # what is logged from here on is still scrubbed of them

    def _forget(self, former: Runtime) -> None:
        """Wipes what no runtime that is in use has as well."""
        used = {id(each) for lease in (self._current, *self._draining) for each in lease.runtime.secrets()}
        for secret in former.secrets():
            if id(secret) not in used:
                secret.wipe()
        former.scrubber.forget()

    def _drained(self, lease: Lease[App]) -> None:
        task = asyncio.get_running_loop().create_task(self._close(lease), name="drained")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, lease: Lease[App]) -> None:
        try:
            await lease.runtime.mirror.finish()
            self._draining.discard(lease)
            await lease.runtime.aclose()
            self._forget(lease.runtime)
        except Exception:
            _log.exception("a former configuration could not be closed")
