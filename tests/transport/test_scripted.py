"""The upstream that the other tests rely on: a mistake of its own would look like one of the transport."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

from tests.transport.contract import KIB
from tests.upstreams.scripted import Answer, ScriptedUpstream, Step


async def test_an_endless_answer_ends_when_a_write_finds_the_connection_reset() -> None:
    may_write = asyncio.Event()

    def flood() -> Iterator[Step]:
        yield may_write
        while True:
            yield bytes(64 * KIB)

    async with ScriptedUpstream([Answer(flood())]) as upstream:
        with socket.create_connection(("127.0.0.1", upstream.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await upstream.wait_for_requests(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The loop does not run in between, so that the upstream learns of the reset from its own write.
        may_write.set()
        await upstream.wait_closed(0)
        assert upstream.open_connections == 0
