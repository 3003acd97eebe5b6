"""Every secret of a gateway is a word that is looked for, afterwards, in all that the gateway said and wrote.

It runs at the most talkative level there is, through successes, failures, reloads, explanations and nonsense.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import yaml

from gateway.http.admin.table import ROUTES
from tests.faults.client import Answer, one_answer, request_bytes, talk
from tests.faults.shapes import FINISH, GOOD_STREAM, SSE_TYPE, completion, delta, event, fine
from tests.faults.stage import Stage, closed_port, eventually, staged
from tests.upstreams.scripted import Answer as Played
from tests.upstreams.scripted import Recorded, json_response, raw, response

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


def canary(name: str) -> str:
    return f"{name}-{secrets.token_hex(16)}"


OURS = {
    "UPSTREAM_KEY": canary("up"),
    "SECOND_KEY": canary("second"),
    "OWN_KEY": canary("own"),
    "CLIENT_KEY": canary("client"),
    "NAMED_KEY": canary("named"),
    "ADMIN_KEY": canary("admin"),
    "PEPPER": canary("pepper"),
    "REDIS_PASSWORD": canary("redis"),
}
POSTGRES_PASSWORD = canary("postgres")
PROMPT, ANSWER = canary("prompt"), canary("answer")
LOUD = """
import logging
import gateway.telemetry.log as log

setup = log.setup

def loud(**options):
    detach = setup(**{**options, "level": "debug"})
    for name in (*log._QUIET, "sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "aiosqlite", "redis", "alembic"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    return detach

log.setup = loud
from gateway.cli.main import run
run()
"""


def settings(folder: Path) -> dict[str, Any]:
    own = {"name": "mine", "model": "up/*", "keys": ["${OWN_KEY}"]}
    return {
        "server": {
            "api_keys": ["${CLIENT_KEY}", {"key": "${NAMED_KEY}", "name": "named"}],
            "bad_keys_per_minute": None,
        },
        "admin": {"port": 0, "key": "${ADMIN_KEY}"},
        "access": {"pepper": "${PEPPER}"},
        "state": {"url": f"redis://:${{REDIS_PASSWORD}}@127.0.0.1:{closed_port()}/0"},
        "storage": {"directory": str(folder / "data")},
        "routes": {"own-*": {"deployments": [own]}},
    }


def forms(secret: str) -> Iterator[str]:
    """Yields how a secret may look in a text."""
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode()).decode().rstrip("=")[:-2]
    yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")[:-2]
    yield secret[: len(secret) // 2 + 4]


class Witness:
    """Asks at both doors, and keeps all that it hears."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        found = re.search(r"The admin API is at http://127\.0\.0\.1:(\d+)/admin", stage.gateway.log)
        assert found
        self.admin_port = int(found[1])
        self.heard: list[bytes] = []
        self.virtual: list[str] = []
        """Keys that were made; the answers in which they are were not kept."""
        self.ids: list[str] = []
        self.written: dict[str, bytes] = {}
        """Files, before the end of the gateway and after it."""

    async def admin(self, method: str, path: str, body: object = b"") -> Any:
        headers = {"authorization": f"Bearer {OURS['ADMIN_KEY']}"}
        data = request_bytes(body, path=f"/admin/{path}", method=method, headers=headers)
        said = await talk(self.admin_port, data)
        answer = one_answer(said)
        made = answer.json.get("key") if answer.headers["content-type"] == "application/json" else None
        if isinstance(made, str):
            self.virtual.append(made)
        else:
            self.heard.append(said)
        return answer.json if answer.body[:1] == b"{" else answer.body

    async def client(
        self, body: object, key: str, path: str = "/v1/chat/completions", method: str = "POST", **more: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        data = request_bytes(body, path=path, method=method, headers={"authorization": f"Bearer {key}", **named})
        said = await talk(self.stage.port, data)
        self.heard.append(said)
        return one_answer(said)

    async def listen(self) -> None:
        """Keeps what happens, until it is cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port)
        headers = {"authorization": f"Bearer {OURS['ADMIN_KEY']}"}
        writer.write(request_bytes(b"", path="/admin/events", method="GET", headers=headers, close=False))
        try:
            while data := await reader.read(65536):
                self.heard.append(data)
        finally:
            writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def witness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Witness]:
    folder = tmp_path_factory.mktemp("canaries")
    async with staged(folder, settings(folder), OURS, ("-c", LOUD)) as stage:
        witness = Witness(stage)
        listening = asyncio.create_task(witness.listen())
        await live(witness, folder)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        witness.written = written(stage)
        stage.gateway.signal()
        assert await stage.gateway.exit_code() == 0
        witness.written |= {f"{name} at the end": data for name, data in written(stage).items()}
        yield witness


async def live(witness: Witness, folder: Path) -> None:
    """All that a gateway goes through."""
    await owners(witness)
    keys = [OURS["CLIENT_KEY"], OURS["NAMED_KEY"], *witness.virtual]
    for key in keys:
        await requests(witness, key)
    await nonsense(witness, keys)
    await reloads(witness, folder)
    for route in ROUTES:
        if route.method == "GET" and route.path != "/admin/events":
            await witness.admin("GET", route.path.removeprefix("/admin/").replace("{id}", "none"))
    for model in ("up/x", "own-x", "two-x", "nothing"):
        await witness.admin("POST", "explain", {"model": model, "fail": "0=401,1=timeout"})
    for path in ("/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/usage", "/v1/usage/snapshot", "/health/live"):
        await witness.client(b"", OURS["NAMED_KEY"], path, "GET")


async def owners(witness: Witness) -> None:
    team = await witness.admin("POST", "teams", {"name": "team", "budgets": [{"usd": "9", "window": "day"}]})
    assert "id" in team, team
    for number in range(3):
        made = {"name": f"key {number}", "team_id": team["id"], "limits": {"requests_per_minute": 10_000}}
        await witness.admin("POST", "keys", made)
    listed = (await witness.admin("GET", "keys"))["data"]
    witness.ids = [team["id"], *(each["id"] for each in listed)]
    await witness.admin("POST", f"keys/{listed[0]['id']}/rotate", {"overlap_seconds": 60})
    await witness.admin("POST", f"keys/{listed[1]['id']}/disable")
    for wrong in ({"name": "\n"}, {"name": "x", "colour": "red"}, {"name": "x", "budgets": [{"usd": "NaN"}]}, b"{"):
        await witness.admin("POST", "keys", wrong)


async def requests(witness: Witness, key: str) -> None:
    """Answers, streams, and upstreams that repeat what they were sent."""
    stage = witness.stage

    def repeating(status: int) -> Callable[[Recorded], Played]:
        def repeat(recorded: Recorded) -> Played:
            said = f"cannot use {recorded.headers['authorization']} for {recorded.body.decode()}"
            token = recorded.headers["authorization"].removeprefix("Bearer ")
            error = {"message": said, "code": token, "type": token, "param": token}
            return json_response({"error": error}, status, [("x-request-id", token), ("retry-after", token)])

        return repeat

    def broken(recorded: Recorded) -> Played:
        token = recorded.headers["authorization"].removeprefix("Bearer ")
        parts = [*GOOD_STREAM[:2], {"error": {"message": token, "code": token, "type": token}}]
        return raw(response(200, [SSE_TYPE], b"".join(map(event, parts)), length=True))

    stream = b"".join(map(event, [*GOOD_STREAM[:-1], FINISH])) + b"data: [DONE]\n\n"
    scenes = [
        stage.plays(json_response(completion(ANSWER))),
        stage.plays(raw(response(200, [SSE_TYPE], stream, length=True))),
        stage.plays(broken),
        stage.plays(repeating(401), alone=True),
        *(stage.plays(repeating(status)) for status in (400, 404, 422, 429, 500)),
        stage.plays(json_response({"error": "busy"}, 503), fine()),
        stage.plays(raw(b"HTTP/1.1 200 nonsense\r\n\x00\r\n\r\n")),
        stage.beside(stage.plays(json_response({}, 500)), fine()),
    ]
    for number, scene in enumerate(scenes):
        body = scene.body(stream=number in (1, 2), user=f"{PROMPT} {key}", metadata={"key": key})
        body["messages"] = [{"role": "user", "content": f"{PROMPT} {key}"}]
        await witness.client(body, key, idempotency_key=f"{number}-{key}"[:255], x_request_id=f"id-{number}")
    await witness.client({**scenes[0].body(), "model": f"own-{scenes[0].name}"}, key)
    await successes(witness, key)


async def successes(witness: Witness, key: str) -> None:
    """Upstreams that repeat their key where they succeed: the client gets what they say, and nobody else does."""
    stage = witness.stage

    def careless(recorded: Recorded) -> Played:
        said = recorded.headers["authorization"].removeprefix("Bearer ")
        whole = completion(ANSWER, model=said, id=said, system_fingerprint=said, service_tier=said)
        whole["choices"][0]["finish_reason"] = said
        return json_response(whole)

    def streaming(recorded: Recorded) -> Played:
        said = recorded.headers["authorization"].removeprefix("Bearer ")
        chunks = [{**chunk, "model": said, "id": said} for chunk in (*GOOD_STREAM[:-1], delta(finish=said))]
        return raw(response(200, [SSE_TYPE], b"".join(map(event, chunks)) + b"data: [DONE]\n\n", length=True))

    for stream, script in ((False, careless), (True, streaming)):
        body = stage.plays(script).body(stream=stream)
        said = await talk(stage.port, request_bytes(body, headers={"authorization": f"Bearer {key}"}))
        assert one_answer(said).status in (200, 401), said


async def nonsense(witness: Witness, keys: list[str]) -> None:
    """Keys in all the places where none belongs, and bodies that are none."""
    body = {**witness.stage.plays(fine()).body(), "messages": [{"role": "user", "content": PROMPT}]}
    for key in keys[1:]:
        await witness.client(body, f"{key}x")
        await witness.client(b"", "wrong", f"/v1/models?api_key={key}", "GET")
        await witness.client(b"{" + PROMPT.encode(), key)
        await witness.client({**body, "messages": [{"role": PROMPT, "content": key}]}, key)
    for key in witness.virtual:
        await witness.client(body, key, x_request_id=key)
        await witness.client({**body, "model": key}, key)
        await witness.client({**body, "model": f"nobody/{key}"}, key)
    for junk in (b"\x16\x03\x01", b"GET / HTTP/9\r\n\r\n", f"GET /{keys[0]} JUNK\r\n\r\n".encode(), b"\r\n" * 99):
        reader, writer = await asyncio.open_connection("127.0.0.1", witness.stage.port)
        writer.write(junk)
        writer.write_eof()
        witness.heard.append(await reader.read())
        writer.close()


async def reloads(witness: Witness, folder: Path) -> None:
    file = folder / "anyport.yaml"
    good = file.read_text()
    changed = yaml.safe_load(good)
    changed["providers"]["up"]["credentials"] = ["${UPSTREAM_KEY}", "${SECOND_KEY}"]
    for text in (yaml.safe_dump(changed), good.replace("api_keys:", "api_kyes:"), good + "\nadmin: {key: [", good):
        file.write_text(text)
        await witness.admin("POST", "reload")
    witness.stage.gateway.signal(signal.SIGHUP)
    await eventually(lambda: witness.stage.gateway.log.count("SIGHUP") > 0)


def found_in(texts: Mapping[str, bytes], words: Mapping[str, str]) -> list[str]:
    """Returns which word is where."""
    return [
        f"{name} is in {where}: ...{text[max(0, at - 120) : at + 20]!r}"
        for where, text in texts.items()
        for name, word in words.items()
        for form in forms(word)
        if (at := text.find(form.encode())) >= 0
    ]


def written(stage: Stage) -> dict[str, bytes]:
    """Returns every file that the gateway has written."""
    folder = stage.gateway.log_path.parent
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "anyport.yaml"
    }


async def test_the_life_was_a_full_one(witness: Witness) -> None:
    log = witness.stage.gateway.log
    assert "debug" in log
    assert "INSERT INTO anyport_keys" in log, "not even statements were left out"
    assert {"access.jsonl", "stderr.txt", "data/anyport.db", "data/anyport.db-wal"} <= set(witness.written)
    assert any(name.startswith("data/journal/") for name in witness.written)
    assert len(witness.virtual) == 4
    assert len(witness.heard) > 80
    statuses = {record["status"] for each in witness.stage.gateway.records().values() for record in each}
    assert {200, 400, 401, 404, 502} <= statuses, statuses
    told = {line for said in witness.heard for line in said.split(b"\n") if line.startswith(b"event: ")}
    assert len(told) > 2, "somebody listened"
    assert found_in({"a text": OURS["PEPPER"].encode()}, OURS), "the search finds what is there"


async def test_no_secret_of_ours_is_in_anything_that_was_said(witness: Witness) -> None:
    assert found_in({"an answer": b"\n".join(witness.heard)}, OURS) == []


async def test_no_secret_of_ours_is_in_anything_that_was_written(witness: Witness) -> None:
    assert found_in(witness.written, OURS) == []


async def test_no_virtual_key_is_in_anything_that_was_written_or_told_to_others(witness: Witness) -> None:
    keys = {f"virtual key {number}": key for number, key in enumerate(witness.virtual)}
    assert found_in(witness.written, keys) == []
    assert found_in({"an answer": b"\n".join(witness.heard)}, keys) == []


async def test_no_prompt_and_no_answer_is_in_anything_that_was_written(witness: Witness) -> None:
    assert found_in(witness.written, {"the prompt": PROMPT, "the answer": ANSWER}) == []


async def test_metrics_name_no_client(witness: Witness) -> None:
    (metrics,) = (said for said in witness.heard if b"anyport_requests_in_flight" in said and b"# HELP" in said)
    labels = set(re.findall(rb'="([^"]*)"', metrics))
    assert not labels & {b"named", b"key 0", b"team", *(id.encode() for id in witness.ids)}
    assert not any(PROMPT.encode() in label for label in labels)


async def test_every_line_of_the_log_is_one_event(witness: Witness) -> None:
    for line in witness.stage.gateway.access_path.read_text().splitlines():
        json.loads(line)
    assert "\x1b" not in witness.stage.gateway.log
    assert "\x00" not in witness.stage.gateway.log


async def test_no_password_of_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    url = f"postgresql://anyport:${{PASSWORD}}@127.0.0.1:{closed_port()}/anyport"
    config = {
        "admin": {"port": 0, "key": "${ADMIN_KEY}"},
        "storage": {"url": url, "directory": str(tmp_path / "data")},
        "server": {"api_keys": ["${CLIENT_KEY}"]},
    }
    environ = {**OURS, "PASSWORD": POSTGRES_PASSWORD}
    async with staged(tmp_path, config, environ, ("-c", LOUD)) as stage:
        witness = Witness(stage)
        await witness.client({}, f"sk-anyport-{'x' * 43}")
        await witness.admin("GET", "keys")
        await witness.admin("GET", "usage")
        await witness.admin("POST", "keys", {"name": "x"})
        await witness.admin("POST", "reload")
        stage.gateway.signal()
        await stage.gateway.exit_code()
        assert any(b"keys_unavailable" in said for said in witness.heard)
        words = {"the password": POSTGRES_PASSWORD, **OURS}
        assert found_in({**written(stage), "an answer": b"\n".join(witness.heard)}, words) == []
