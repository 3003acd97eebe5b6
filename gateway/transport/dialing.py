"""Opening a connection: names to addresses, addresses in a staggered race, TLS, one deadline over it all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from math import isinf
from typing import Final

from gateway.transport.base import Fault, Timeouts, TransportError
from gateway.transport.connection import Connection
from gateway.transport.names import Resolve
from gateway.transport.pool import Pool

STAGGER_SECONDS: Final = 0.25
"""How long one address may be silent before the next is tried as well (RFC 8305 section 5)."""


class Dialer:
    """Opens connections for pools."""

    __slots__ = ("_loop", "_make_context", "_resolve")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        resolve: Resolve,
        make_context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._loop = loop
        self._resolve = resolve
        self._make_context = make_context

    async def dial(self, pool: Pool, timeouts: Timeouts) -> Connection:
        """Returns an open connection; raises TransportError: DNS, CONNECT, TLS; TIMEOUT after `connect`."""
        made: list[Connection] = []
        seconds = None if isinf(timeouts.connect) else timeouts.connect
        winner: Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                winner = await self._race(pool, await self._addresses(pool), made)
            return winner
        except TimeoutError:
            message = f"no connection within {timeouts.connect:g} s"
            raise TransportError(Fault.TIMEOUT, message, setting=timeouts.connect_setting) from None
        finally:
            # Losers of the race, and the winner too if we were cancelled before it could be returned.
            for connection in made:
                if connection is not winner:
                    connection.abort()

    async def _addresses(self, pool: Pool) -> Sequence[str]:
        host = pool.origin.host
        if _is_address(host):
            return (host,)
        try:
            addresses = await self._resolve(host, pool.origin.port)
        except TimeoutError:
            raise TransportError(Fault.DNS, "the look-up of the host name timed out") from None
        except (OSError, UnicodeError):
            addresses = ()
        if not addresses:
            raise TransportError(Fault.DNS, "the host name cannot be resolved")
        return addresses

    async def _race(self, pool: Pool, addresses: Sequence[str], made: list[Connection]) -> Connection:
        if len(addresses) == 1:
            return await self._open(pool, addresses[0], made)
        running: set[asyncio.Task[Connection]] = set()
        failure = TransportError(Fault.CONNECT, "the connection failed")
        waiting = list(reversed(addresses))
        try:
            while waiting or running:
                if waiting:
                    running.add(self._loop.create_task(self._open(pool, waiting.pop(), made)))
                pause = STAGGER_SECONDS if waiting else None
                done, running = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, TransportError):
                        raise error
                    failure = error
            raise failure
        finally:
            for task in running:
                task.cancel()
            if running:
                await asyncio.gather(*running, return_exceptions=True)

    async def _open(self, pool: Pool, address: str, made: list[Connection]) -> Connection:
        connection = Connection(pool, self._loop)
        made.append(connection)
        origin = pool.origin
        is_tls = origin.scheme == "https"
        try:
            await self._loop.create_connection(
                lambda: connection,
                address,
                origin.port,
                ssl=self._make_context() if is_tls else None,
                server_hostname=origin.host if is_tls else None,
            )
        except ssl.SSLCertVerificationError as error:
            raise TransportError(Fault.TLS, f"the upstream's certificate is refused: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise TransportError(Fault.TLS, f"the TLS handshake failed: {error.reason}") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TransportError(Fault.CONNECT, f"the connection failed: {reason}") from None
        return connection


def default_context() -> ssl.SSLContext:
    """Returns a context that verifies certificates and names by the system's authorities; TLS 1.2 and up."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
