"""Redis that fails over: it answers with errors, is a replica for a while, or is reached over TLS, and comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from gateway.state.scripts import PREFIX
from tests.state.counting import Asker, asker, budget, places
from tests.state.replica import eventually, eventually_async
from tests.state.server import RedisServer


class Front:
    """Stands before a server, and answers in its place while it is told to."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.says = b""
        """The answer to every command, if there is one."""
        self._target = target

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @asynccontextmanager
    async def open(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Front]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_connection("127.0.0.1", self._target)
        copying = asyncio.create_task(_copy(answers, writer))
        try:
            while command := await _command(reader):
                if self.says:
                    writer.write(self.says)
                else:
                    questions.write(command)
        except OSError:
            pass
        finally:
            questions.close()
            writer.close()
            await copying


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except OSError:
        pass


async def _command(reader: asyncio.StreamReader) -> bytes:
    """Returns the next command, empty at the end."""
    head = await reader.readline()
    parts = [head]
    for _ in range(int(head[1:] or 0)):
        length = await reader.readline()
        parts += (length, await reader.readexactly(int(length[1:]) + 2))
    return b"".join(parts)


@pytest.mark.parametrize(
    ("says", "trouble"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "it is still loading its data"),
        (b"-READONLY You can't write against a read only replica.\r\n", "it takes no writes"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "it has lost its master"),
        (b"-NOSCRIPT No matching script. Please use EVAL.\r\n", "it forgets what it was told"),
    ],
)
async def test_a_server_that_answers_with_errors_is_away_and_comes_back(
    server: RedisServer, says: bytes, trouble: str
) -> None:
    async with Front(server.port).open() as front, asker(front.url) as one:
        assert await one.goes(places(2))
        kept = one.lease
        front.says = says
        # Nobody fails, and what is under way counts: by the own picture, long before the server is given up.
        assert [await one.goes(places(2)) for _ in range(3)] == [True, False, False]
        held = one.admissions
        await eventually(lambda: held.trouble == f"{trouble}, trying again")
        one.admissions.release(kept)
        assert [await one.goes(places(2)) for _ in range(2)] == [True, False]
        front.says = b""
        await eventually(lambda: not held.trouble)
        with server.admin() as admin:
            await eventually(lambda: admin.zcard(f"{PREFIX}in_flight:key:a") == 2)
        assert not await one.goes(places(2))


async def test_a_server_that_becomes_a_replica_and_a_master_again_is_told_what_was_held_meanwhile(
    server: RedisServer,
) -> None:
    async with asker(server.url) as one, asker(server.url) as other:
        await eventually(lambda: [getattr(each.admissions, "replicas", 0) for each in (one, other)] == [2, 2])
        with server.admin() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", "1")
            assert await one.goes(budget(1000, 400))
            await eventually(lambda: one.admissions.trouble == "it takes no writes, trying again")
            await eventually(lambda: other.admissions.trouble)
            admin.execute_command("REPLICAOF", "NO", "ONE")
        await eventually(lambda: not one.admissions.trouble and not other.admissions.trouble)
        await eventually_async(lambda: _has(other, 600))


async def test_a_server_is_reached_over_tls_if_its_certificate_is_trusted(server: RedisServer, tmp_path: Path) -> None:
    """The server itself may be built without TLS: what is proved is our end."""
    authority, authorities = trustme.CA(), tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(str(authorities))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with Front(server.port).open(context) as front:
        url = f"rediss://localhost:{front.port}/0"
        async with asker(f"{url}?ssl_ca_certs={authorities}") as one, asker(url, is_there=False) as other:
            assert await one.goes(places(1))
            assert other.admissions.trouble == "its certificate is not trusted, trying again"
            with server.admin() as admin:
                assert admin.zcard(f"{PREFIX}in_flight:key:a") == 1


async def _has(one: Asker, left: int) -> bool:
    return await one.remaining(budget(1000, 1)) == [left]
