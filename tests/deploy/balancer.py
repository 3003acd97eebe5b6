"""A load balancer in front of replicas: haproxy with the file that is deployed, else a small proxy that does the same.

    async with balancer([8001, 8002]) as port:
        ...  # requests to http://127.0.0.1:port

Either asks `/health/ready` of each replica every 0.2 s, sends each request to one that is ready, tries another one if
there is no connection, never sends a request twice, and passes on each piece of an answer as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.state.server import free_port

Kind = Literal["haproxy", "python"]
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
CHECK_SECONDS = 0.2
_START_SECONDS = 60.0
_PATIENCE_SECONDS = 10
"""How long a replica may take to say whether it is ready."""
_HEAD_BYTES = 65536


def kinds() -> list[Kind]:
    """Returns what can be had on this machine, the real one first."""
    return ["haproxy", "python"] if shutil.which("haproxy") else ["python"]


@asynccontextmanager
async def balancer(ports: Sequence[int], kind: Kind | None = None) -> AsyncIterator[int]:
    """Gives the port of a balancer in front of these ports of 127.0.0.1: the first of `kinds()` unless told which."""
    made = _haproxy(ports) if (kind or kinds()[0]) == "haproxy" else _python(ports)
    async with made as port:
        yield port


# --- haproxy


def local_configuration(text: str, ports: Sequence[int], port: int) -> str:
    """Returns the file that is deployed, with these replicas, this port of its own, and checks as tests want them."""
    replicas = "".join(f"    server anyport-{number} 127.0.0.1:{each}\n" for number, each in enumerate(ports, 1))
    for pattern, instead in (
        (r"(?m)^(    server anyport-.*\n)+", replicas),
        (r"(?m)^    bind :8484$", f"    bind 127.0.0.1:{port}"),
        (r"\binter 1s\b", f"inter {round(CHECK_SECONDS * 1000)}ms"),
        # A busy machine is no replica that is away.
        (r"(?m)^    timeout check +3s$", f"    timeout check {_PATIENCE_SECONDS}s"),
        (r"(?ms)^resolvers containers\n.*?\n\n", ""),
        (r" resolvers containers init-addr \S+", ""),
    ):
        text, found = re.subn(pattern, instead, text)
        assert found == 1, f"the configuration of haproxy has no single {pattern}"
    return text


@asynccontextmanager
async def _haproxy(ports: Sequence[int]) -> AsyncIterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="balancer") as directory:
        process = _start_haproxy(Path(directory), local_configuration(CONFIGURATION.read_text(), ports, port))
        try:
            await _until_it_listens(port, process)
            yield port
        finally:
            process.kill()
            process.wait()


def _start_haproxy(directory: Path, configuration: str) -> subprocess.Popen[bytes]:
    file = directory / "haproxy.cfg"
    file.write_text(configuration)
    # What it says is shown with a test that fails.
    return subprocess.Popen(["haproxy", "-db", "-f", file])


async def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.poll() is None, "haproxy ended"
            assert time.monotonic() < end, "haproxy does not start"
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


# --- the small proxy


class _Replicas:
    """Which replicas are ready, and whose turn it is."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ready = dict.fromkeys(ports, True)
        self._turn = 0

    async def watch(self, port: int) -> None:
        """Looks at one replica again and again."""
        while True:
            self._ready[port] = await _is_ready(port)
            await asyncio.sleep(CHECK_SECONDS)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Returns a connection to the next one that takes it."""
        ready = [port for port, is_ready in self._ready.items() if is_ready]
        self._turn += 1
        for place in range(len(ready)):
            port = ready[(self._turn + place) % len(ready)]
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                self._ready[port] = False
        return None


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


@asynccontextmanager
async def _python(ports: Sequence[int]) -> AsyncIterator[int]:
    replicas = _Replicas(ports)
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await _pass_on(replicas, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # either side has left: so does the other one
        except asyncio.CancelledError:
            pass  # the end of all, which the streams of asyncio would log
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_HEAD_BYTES, backlog=1024)
    watches = [asyncio.create_task(replicas.watch(port)) for port in ports]
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in (*watches, *running):
            task.cancel()
        await asyncio.gather(*watches, *running, return_exceptions=True)


async def _pass_on(replicas: _Replicas, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes on one request and its answer; the client's next request comes over another connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    connected = await replicas.connect()
    if connected is None:
        writer.write(b"HTTP/1.1 503 No replica\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        return
    answer, request = connected
    try:
        request.write(_closing(head))
        sending, receiving = (asyncio.create_task(_copy(*way)) for way in ((reader, request), (answer, writer)))
        try:
            # The client's end is the end: whoever leaves wants no answer.
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
    finally:
        request.close()


def _closing(head: bytes) -> bytes:
    """Returns the head of a request after whose answer the connection closes."""
    kept = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith((b"connection:", b"keep-alive:"))]
    return b"\r\n".join([*kept, b"connection: close", b"", b""])


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_HEAD_BYTES):
            target.write(data)
            await target.drain()
