"""A gateway that runs as a process of its own, with scripted upstreams behind it and its records open to tests.

A test says what the upstream plays with `stage.plays(...)`; the returned scene has a model name of its own, so that
tests neither hear each other's requests nor share what the gateway remembers of a deployment. `stage.beside` and
`stage.behind` give a scene a second deployment, in its own route or in one that takes over from it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import yaml

from gateway.storage.factory import open_storage
from tests.faults.client import Answer, one_answer, request_bytes, talk
from tests.upstreams.scripted import Answer as Played
from tests.upstreams.scripted import Recorded, ScriptedUpstream

ROOT = Path(__file__).resolve().parents[2]
_ACTIVE = re.compile(r'^anyport_upstream_connections\{[^}]*state="(?:active|waiting)"[^}]*\} (\S+)$', re.MULTILINE)
_IN_FLIGHT = re.compile(r"^anyport_requests_in_flight (\S+)$", re.MULTILINE)
Settings = dict[str, Any]
OWN = 40
"""Providers for one scene each: what becomes of a provider's key there is nobody else's affair."""
BEHIND = 140
"""Routes with a fallback and a provider of their own, for one scene each: a fallback has no `*`."""
SLACK = 10.0
"""Seconds that a busy machine may add to a deadline before a test calls it missed."""
Script = Played | Callable[[Recorded], Played]


class GatewayProcess:
    """`anyport serve` on a port of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.access_path = folder / "access.jsonl"
        self.log_path = folder / "stderr.txt"
        self._offset = 0
        self._records: dict[str, list[dict[str, Any]]] = {}

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that the process wrote on stderr: the start table and the operational log."""
        return self.log_path.read_text()

    def rss_bytes(self) -> int:
        """Returns the resident memory of the process."""
        fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the access records so far, by request id."""
        with self.access_path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            record = json.loads(line)
            self._records.setdefault(record["id"], []).append(record)
        return self._records

    async def record(self, request_id: str, within: float = SLACK) -> dict[str, Any]:
        """Returns the only access record of a request; raises TimeoutError."""
        await eventually(lambda: request_id in self.records(), within)
        (found,) = self.records()[request_id]
        return found

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GETs a path."""
        data = request_bytes(b"", path=path, method="GET", headers=dict(headers or {}))
        return one_answer(await talk(self.port, data))

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to the process."""
        os.kill(self.pid, number)

    async def exit_code(self, within: float = 15.0) -> int:
        """Waits for the end of the process; raises TimeoutError."""
        async with asyncio.timeout(within):
            return await self.process.wait()


class Scene:
    """What an upstream plays for one model, and what it heard."""

    def __init__(
        self, stage: Stage, name: str, model: str, answers: Sequence[Script], upstream: ScriptedUpstream
    ) -> None:
        self._stage = stage
        self.name = name
        self.model = model
        """What clients ask for."""
        self.answers = answers
        self.upstream = upstream
        self.requests: list[Recorded] = []

    def play(self, recorded: Recorded) -> Played:
        """Returns the answer to a request; the last one repeats."""
        self.requests.append(recorded)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        return answer(recorded) if callable(answer) else answer

    async def closed(self, request: int = -1, within: float = SLACK) -> None:
        """Waits until the connection of a request has ended; raises TimeoutError."""
        await self.upstream.wait_closed(self.requests[request].connection, within)

    def body(self, *, stream: bool = False, **more: object) -> dict[str, object]:
        """Returns a chat request for this scene."""
        body: dict[str, object] = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], **more}
        return {**body, "stream": True} if stream else body

    async def ask(self, *, stream: bool = False, within: float = 30.0, **more: object) -> Answer:
        """Sends one chat request on a connection of its own and returns the only answer."""
        return await self.send(self.body(stream=stream, **more), within=within)

    async def send(
        self,
        body: object,
        *,
        path: str = "/v1/chat/completions",
        headers: dict[str, str] | None = None,
        within: float = 30.0,
    ) -> Answer:
        """Sends any body to any path."""
        data = request_bytes(body, path=path, headers={**self._stage.headers, **(headers or {})})
        return one_answer(await talk(self._stage.port, data, within=within))

    def hurries(self) -> Self:
        """Waits for no pause that an upstream asks for, so that a test need not either."""
        self.model = f"hurried-{self.name}"
        return self

    async def heard(self, count: int, within: float = SLACK) -> None:
        """Waits until the upstream has `count` requests of this scene."""
        await eventually(lambda: len(self.requests) >= count, within)


Scenes = dict[tuple[int, str], Scene]
"""Place of the upstream and name of the upstream's model -> scene."""


class Stage:
    """The gateway, its upstreams, and the scenes."""

    def __init__(self, gateway: GatewayProcess, upstreams: Sequence[ScriptedUpstream], scenes: Scenes) -> None:
        self.gateway = gateway
        self.upstreams = upstreams
        self.upstream = upstreams[0]
        self.headers: dict[str, str] = {}
        self._scenes = scenes
        self._numbers: Iterator[int] = itertools.count(1)
        self._own: Iterator[int] = iter(range(1, OWN + 1))
        self._behind: Iterator[int] = iter(range(1, BEHIND + 1))

    @property
    def port(self) -> int:
        return self.gateway.port

    def plays(self, *answers: Script, alone: bool = False) -> Scene:
        """Returns a new scene; answers are given in the order of its requests, and the last one repeats.

        `alone` gives it a provider of its own, for what makes the gateway put a provider's key aside.
        """
        name = f"scene-{next(self._numbers)}"
        return self._scene(0, name, f"own-{next(self._own)}/{name}" if alone else f"up/{name}", answers)

    def beside(self, scene: Scene, *answers: Script, place: int = 1) -> Scene:
        """Puts another deployment into the route of a scene, to be tried after those before it; returns its scene."""
        provider, _, name = scene.model.partition("/")
        if place == 1:
            scene.model = f"two-{name}" if provider == "up" else f"two-{provider}-{name}"
        else:
            scene.model = f"three-{scene.name}"
        return self._scene(place, scene.name, scene.model, answers)

    def behind(self, scene: Scene, *answers: Script) -> Scene:
        """Puts a fallback behind a scene, which gets a provider of its own; returns the fallback's scene."""
        name = f"behind-{next(self._behind)}"
        scene.model = f"{name}-{scene.name}"
        return self._scene(1, name, scene.model, answers)

    def _scene(self, place: int, name: str, model: str, answers: Sequence[Script]) -> Scene:
        scene = self._scenes[place, name] = Scene(self, name, model, answers, self.upstreams[place])
        return scene

    async def quiet(self, within: float = SLACK) -> None:
        """Waits until nothing is in flight and no upstream connection is lent out; asserts that it comes to that."""
        end = time.monotonic() + within
        while True:
            page = (await self.gateway.get("/metrics", self.headers)).body.decode()
            in_flight = [float(value) for value in _IN_FLIGHT.findall(page)]
            active = [float(value) for value in _ACTIVE.findall(page)]
            assert in_flight, page
            if not any(in_flight) and not any(active):
                return
            assert time.monotonic() < end, f"in flight {in_flight}, upstream connections {active}"
            await asyncio.sleep(0.02)

    async def settled(
        self,
        answer: Answer,
        *,
        status: int | None = None,
        error: str | None = None,
        attempts: int = 1,
    ) -> dict[str, Any]:
        """Asserts what every answered request leaves behind; returns its access record."""
        record = await self.gateway.record(answer.id)
        assert record["status"] == (answer.status if status is None else status)
        assert record["error"] == error
        assert record["cancelled"] is False
        assert record["attempts"] == attempts
        await self.quiet()
        return record


def closed_port() -> int:
    """Returns a port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def eventually(condition: Callable[[], object], within: float = SLACK) -> None:
    """Waits until `condition` holds; raises TimeoutError."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        await asyncio.sleep(0.002)


@asynccontextmanager
async def staged(
    folder: Path,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "gateway"),
) -> AsyncIterator[Stage]:
    """Runs upstreams and a gateway whose providers `up`, `second` and `third` they are; yields a Stage."""
    scenes: Scenes = {}

    def script(place: int) -> Callable[[Recorded], Played]:
        return lambda recorded: scenes[place, json.loads(recorded.body)["model"]].play(recorded)

    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(ScriptedUpstream(script(place))) for place in range(3)]
        whole = merged(base_settings(folder, *(upstream.url for upstream in upstreams)), settings or {})
        gateway = await stack.enter_async_context(running(folder, whole, environ, program))
        yield Stage(gateway, upstreams, scenes)


def base_settings(folder: Path, *urls: str) -> Settings:
    """Returns settings with providers, the routes that scenes ask for, and nothing that looks around."""
    key: list[object] = ["${UPSTREAM_KEY}"]
    first, second, third = ({"base_url": f"{url}/v1", "credentials": key} for url in urls)
    own = [f"own-{number}" for number in range(1, OWN + 1)]
    routes: Settings = {"hurried-*": {**_ordered("up/*"), "retry": {"max_wait_seconds": 0}}}
    routes |= {"two-*": _ordered("up/*", "second/*"), "three-*": _ordered("up/*", "second/*", "third/*")}
    routes |= {f"two-{name}-*": _ordered(f"{name}/*", "second/*") for name in own}
    behind = [f"behind-{number}" for number in range(1, BEHIND + 1)]
    routes |= {f"{name}-*": {**_ordered(f"{name}/*"), "fallbacks": [f"second/{name}"]} for name in behind}
    return {
        "server": {"access_log": str(folder / "access.jsonl"), "grace_seconds": 1},
        "discovery": {"enabled": False},
        "providers": {"up": first, "second": second, "third": third, **dict.fromkeys([*own, *behind], first)},
        "routes": routes,
    }


def _ordered(*models: str) -> Settings:
    return {"strategy": "ordered", "deployments": [{"model": model} for model in models]}


def merged(base: Settings, over: Settings) -> Settings:
    """Returns `base` with `over` laid over it, section by section."""
    result = dict(base)
    for name, value in over.items():
        known = result.get(name)
        result[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


@asynccontextmanager
async def running(
    folder: Path,
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "gateway"),
) -> AsyncIterator[GatewayProcess]:
    """Runs a gateway until the block ends; `program` is what the interpreter is started with."""
    path = folder / "anyport.yaml"
    path.write_text(yaml.safe_dump(settings))
    (folder / "access.jsonl").touch()
    # With a database that is there: what serves it would else be loaded while some test looks how memory grows.
    storage = open_storage(None, folder / "data")
    await storage.upgrade()
    await storage.aclose()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ANYPORT_DATA_DIR": str(folder / "data"),
        "UPSTREAM_KEY": "key-of-the-upstream",
        **(environ or {}),
    }
    with (folder / "stderr.txt").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(*program, "serve", "--config", str(path), "--port", "0"),
            cwd=ROOT,
            env=variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield GatewayProcess(process, await _port(process, folder / "stderr.txt"), folder)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _port(process: asyncio.subprocess.Process, log: Path) -> int:
    def found() -> re.Match[str] | None:
        assert process.returncode is None, log.read_text()
        return re.search(r"http://127\.0\.0\.1:(\d+)/v1", log.read_text())

    await eventually(found, 60)
    match = found()
    assert match is not None
    return int(match[1])
