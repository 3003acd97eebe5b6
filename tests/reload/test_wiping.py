"""What a rotation lets go of is wiped, as soon as no request uses it, and no sooner."""

from __future__ import annotations

import asyncio
import ctypes
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.app import App, create_app
from gateway.cli.serving.source import Source
from gateway.http.drain import DrainSignal
from gateway.reload.reloader import Reloader
from gateway.runtime import Runtime

PEPPER = "pepper-that-stays-0123456789"


class Traces:
    """Where the secrets of a runtime stand in memory, held so that the places stay theirs."""

    def __init__(self, app: App) -> None:
        self.secrets = list(app.holder.current.secrets())
        self._buffers: list[tuple[bytearray, int]] = []
        for each in self.secrets:
            buffer: bytearray = each._buffer
            self._buffers.append((buffer, ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))))

    def read(self) -> list[bytes]:
        """Returns what stands there now, read from the memory of the process and not through its objects."""
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            found: list[bytes] = []
            for buffer, address in self._buffers:
                memory.seek(address)
                found.append(memory.read(len(buffer)))
            assert found == [ctypes.string_at(address, len(buffer)) for buffer, address in self._buffers]
            return found


def write(file: Path, number: int) -> None:
    secret = file.with_name("secret")
    secret.write_text(f"from-a-file-{number}\n")
    secret.chmod(0o600)
    said: dict[str, Any] = {
        "server": {"access_log": "off", "api_keys": [f"client-key-{number}"]},
        "access": {"pepper": PEPPER},
        "discovery": {"enabled": False},
        "providers": {
            "first": {"base_url": "http://127.0.0.1:9/v1", "credentials": [f"in-the-file-{number}"]},
            "second": {"base_url": "http://127.0.0.1:9/v1", "credentials": [f"file:{secret}"]},
        },
        "routes": {"main": {"deployments": [{"model": "first/m", "keys": [f"of-the-deployment-{number}"]}]}},
    }
    file.write_text(json.dumps(said))


async def test_a_rotation_wipes_the_former_secrets_after_their_last_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYPORT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GROQ_API_KEY", "of-the-environment")
    file = tmp_path / "anyport.yaml"
    write(file, 1)
    source = Source(file)
    app = create_app(source.first(), drain=DrainSignal())
    await app.holder.current.start()
    try:
        traces = Traces(app)
        before = traces.read()
        texts = ("client-key-1", "in-the-file-1", "from-a-file-1", "of-the-deployment-1", "of-the-environment", PEPPER)
        assert set(before) == {*(text.encode() for text in texts), b"memory://"}
        former = app.holder.current
        lease = app.holder.lease()

        write(file, 2)
        assert (await Reloader(app.holder, source.build).reload("test")).ok
        assert traces.read() == before, "a request that is under way goes on with the key that it began with"
        assert header_of(former) == "Bearer of-the-deployment-1"

        lease.release()
        async with asyncio.timeout(10):
            while app.holder.draining:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await asyncio.gather(*app.holder._closing)
        after = traces.read()
        kept = {text for text in after if any(text)}
        assert kept == {PEPPER.encode()}, "which only another start changes"
        assert [len(each) for each in after] == [len(each) for each in before]
        assert former.scrubber.text("in-the-file-1") == "in-the-file-1", "nor does it know the texts to look for"

        now = Traces(app)
    finally:
        await app.holder.aclose()
    assert not any(map(any, now.read())), "nor is anything left after the end"


def header_of(runtime: Runtime) -> str:
    """Returns what a request that runs on a runtime authenticates with upstream."""
    (deployment,) = runtime.router.chain("main").route.deployments
    return dict(deployment.key_ring.headers())["authorization"]
