"""No key of ours leaves the process, whatever an upstream, a client or a bug does with it."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from gateway.app import create_app
from gateway.http.drain import DrainSignal
from gateway.runtime import Runtime
from gateway.settings.load import load_settings
from tests.faults.client import DONE, one_answer, request_bytes, talk
from tests.faults.shapes import FINISH, JSON_TYPE, ROLE, SSE_TYPE, WORDS, completion, event, fine
from tests.faults.stage import Scene, Stage, eventually
from tests.upstreams.scripted import FIN, Answer, Recorded, json_response, raw, response

pytestmark = pytest.mark.asyncio(loop_scope="module")
OURS = f"up-{secrets.token_hex(12)}/+{secrets.token_hex(4)}"
CLIENTS = f"vk-{secrets.token_hex(16)}"
MISPLACED = f"vk-{secrets.token_hex(16)}"
SETTINGS = {
    "server": {"api_keys": ["${CLIENT_KEY}", "${MISPLACED_KEY}"]},
    "routes": {"smart": {"deployments": [{"model": "up/x"}]}},
}
ENVIRON = {"CLIENT_KEY": CLIENTS, "MISPLACED_KEY": MISPLACED, "UPSTREAM_KEY": OURS}
HEADERS = {"authorization": f"Bearer {CLIENTS}"}
DEBUGGING = """
import logging, os, sys
import gateway.telemetry.log as log
from gateway.engine.executor import Executor

setup, run = log.setup, Executor.run

def loud(**options):
    detach = setup(**{**options, "level": "debug"})
    for name in log._QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG)
    return detach

async def buggy(self, call, plan, outcome, hints):
    if b"trip over the key" in call.body:
        key = os.environ["UPSTREAM_KEY"]
        logging.getLogger("anyport").debug("about to send %s", {"authorization": f"Bearer {key}"})
        raise RuntimeError(f"cannot send {key}")
    return await run(self, call, plan, outcome, hints)

log.setup, Executor.run = loud, buggy
from gateway.cli.main import run as main
main()
"""
PROGRAM = ("-c", DEBUGGING)


def forms(key: str) -> Iterator[str]:
    """Yields how a key may look in text."""
    yield key
    yield quote(key, safe="")
    yield json.dumps(key).replace("/", "\\/")[1:-1]
    yield base64.b64encode(key.encode()).decode().rstrip("=")[:-2]
    yield key[:16]


def assert_clean(text: str | bytes, where: str, *, but: str = "") -> None:
    """Asserts that no form of either key is in `text`; `but` is left out first."""
    plain = text.decode("latin-1") if isinstance(text, bytes) else text
    plain = plain.replace(but, "") if but else plain
    for name, key in (("the upstream's key", OURS), ("the client's key", CLIENTS)):
        for form in forms(key):
            assert form not in plain, f"{name} is in {where}: {plain[:400]!r}"


async def heard(stage: Stage, scene: Scene, *, stream: bool = False, **more: object) -> bytes:
    """Returns every byte that the client gets, heads included."""
    data = request_bytes({**scene.body(stream=stream), **more}, headers=HEADERS)
    received = await talk(stage.port, data)
    one_answer(received)
    return received


def echoes() -> dict[str, str]:
    """What a careless upstream may say about the request that it got."""
    return {
        "bare": "Incorrect API key provided: {key}",
        "header": "no access for Authorization: Bearer {key} today",
        "dump": "{{'headers': {{'authorization': 'Bearer {key}', 'host': 'x'}}}}",
        "quoted": "https://x/?key={quoted}",
        "base64": "token {encoded}",
        "at the cut": "x" * 190 + "{key}",
        "behind controls": "key \x1b[31m{key}\x1b[0m {key}",
        "only the beginning": "bad key {half}",
    }


def spoken(template: str, key: str) -> str:
    return template.format(
        key=key, quoted=quote(key, safe=""), encoded=base64.b64encode(key.encode()).decode(), half=key[:16]
    )


def key_of(recorded: Recorded) -> str:
    return recorded.headers["authorization"].removeprefix("Bearer ")


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("template", echoes().values(), ids=echoes())
async def test_an_upstream_that_repeats_its_key_in_an_error_is_not_believed(
    stage: Stage, status: int, template: str
) -> None:
    def script(recorded: Recorded) -> Answer:
        said = spoken(template, key_of(recorded))
        return json_response({"error": {"message": said, "type": said, "param": said, "code": said}}, status)

    for stream in (False, True):
        scene = stage.plays(script, alone=status == 401)
        assert_clean(await heard(stage, scene, stream=stream), "an error")
        assert scene.requests
        assert key_of(scene.requests[0]) == OURS


@pytest.mark.parametrize("field", ["message", "type", "param", "code"])
async def test_no_field_of_an_error_carries_a_key(stage: Stage, field: str) -> None:
    for status in (200, 400, 404, 422, 500):

        def script(recorded: Recorded, status: int = status) -> Answer:
            return json_response({"error": {"message": "no", field: key_of(recorded)}}, status)

        scene = stage.plays(script)
        for stream in (False, True):
            assert_clean(await heard(stage, scene, stream=stream), f"{field} under {status}")


async def test_an_upstream_that_repeats_its_key_in_headers_is_not_passed_on(stage: Stage) -> None:
    names = (
        "x-ratelimit-limit-requests",
        "openai-version",
        "x-request-id",
        "www-authenticate",
        "retry-after",
        "location",
    )

    def script(recorded: Recorded) -> Answer:
        echoed = [(name, f"Bearer {key_of(recorded)}") for name in names]
        return json_response(completion(), headers=echoed)

    def refusal(recorded: Recorded) -> Answer:
        return raw(response(429, [JSON_TYPE, *((name, key_of(recorded)) for name in names)], b'{"error":"no"}'))

    def redirect(recorded: Recorded) -> Answer:
        return raw(response(302, [("location", f"http://127.0.0.1:1/?{key_of(recorded)}")]))

    for played in (script, refusal, redirect):
        assert_clean(await heard(stage, stage.plays(played)), "response headers")


@pytest.mark.parametrize("before", [[], [ROLE], [ROLE, *WORDS]], ids=["first", "after the role", "after content"])
@pytest.mark.parametrize("name", [None, "error"])
async def test_an_upstream_that_repeats_its_key_in_a_stream_error_is_not_believed(
    stage: Stage, before: list[dict[str, Any]], name: str | None
) -> None:
    def script(recorded: Recorded) -> Answer:
        said = f"cannot use {key_of(recorded)}"
        error = event({"error": {"message": said, "type": said, "code": said, "param": said}})
        body = b"".join(map(event, before)) + (b"event: error\n" if name else b"") + error
        return raw(response(200, [SSE_TYPE], body + event(FINISH) + DONE, length=True))

    assert_clean(await heard(stage, stage.plays(script), stream=True), "a stream")


async def test_text_and_html_that_repeat_a_key_are_not_passed_on(stage: Stage) -> None:
    for kind in ("text/plain", "text/html", "application/json"):
        for form in ("{}", "<html>{}</html>", '"{}"', '{{"detail": "{}"}}', '{{"errors": ["{}"]}}'):

            def script(recorded: Recorded, kind: str = kind, form: str = form) -> Answer:
                return raw(response(403, [("content-type", kind)], form.format(key_of(recorded)).encode()))

            assert_clean(await heard(stage, stage.plays(script)), f"{kind} {form}")


async def test_broken_http_that_repeats_a_key_is_not_passed_on(stage: Stage) -> None:
    def script(recorded: Recorded) -> Answer:
        return raw(f"HTTP/1.1 200 {key_of(recorded)}\r\n{key_of(recorded)}\r\n\r\n".encode(), FIN)

    assert_clean(await heard(stage, stage.plays(script)), "a protocol error")


async def test_keys_that_a_client_sends_are_not_repeated(stage: Stage) -> None:
    scene = stage.plays(fine())
    wrong = {"authorization": f"Bearer x{CLIENTS}"}
    places: list[tuple[object, dict[str, str], str]] = [
        (scene.body(), wrong, "/v1/chat/completions"),
        (scene.body(), {}, f"/v1/chat/completions?key={CLIENTS}"),
        (scene.body(), HEADERS | {"x-request-id": f"{CLIENTS} {CLIENTS}"}, "/v1/chat/completions"),
        (scene.body(), HEADERS | {"cookie": CLIENTS, "x-api-key": CLIENTS}, "/v1/chat/completions"),
        ({**scene.body(), "messages": [{"role": CLIENTS, "content": "x"}]}, HEADERS, "/v1/chat/completions"),
    ]
    for body, headers, path in places:
        received = await talk(stage.port, request_bytes(body, headers=headers, path=path))
        one_answer(received)
        assert_clean(received, f"the answer to {path}")


async def test_a_bug_shows_no_key_in_the_answer_and_none_in_the_log(stage: Stage) -> None:
    for stream in (False, True):
        received = await heard(stage, stage.plays(fine()), stream=stream, user="trip over the key")
        answer = one_answer(received)
        assert (answer.status, answer.error["code"]) == (500, "internal_error")
        assert answer.id in answer.error["message"]
        assert_clean(received, "the answer of a bug")
    await eventually(lambda: stage.gateway.log.count("RuntimeError: ") == 2)
    log = stage.gateway.log
    assert "about to send" in log
    assert_clean(log, "the operational log")


async def test_a_request_leaves_no_key_anywhere(stage: Stage) -> None:
    def echo(recorded: Recorded) -> Answer:
        return json_response({"error": {"message": key_of(recorded), "code": key_of(recorded)}}, 400)

    scene = stage.plays(echo)
    await heard(stage, scene)
    await heard(stage, stage.plays(fine()))
    await stage.quiet()
    for path in ("/metrics", "/docs", "/openapi.json", "/v1/models", "/health/ready", "/health/live"):
        answer = await stage.gateway.get(path, HEADERS)
        assert answer.status == 200, path
        assert_clean(answer.body + str(answer.headers).encode(), path)
    assert_clean(stage.gateway.access_path.read_text(), "the access log")
    assert_clean(stage.gateway.log, "the start table and the operational log")
    assert "listens on" in stage.gateway.log


async def test_a_key_that_a_client_puts_into_the_models_name_is_not_recorded(stage: Stage) -> None:
    body = {"model": f"nobody/{MISPLACED}", "messages": [{"role": "user", "content": "x"}]}
    answer = await stage.plays(fine()).send(body)
    record = await stage.gateway.record(answer.id)
    assert MISPLACED not in json.dumps(record)


async def test_no_object_of_a_runtime_shows_a_key(tmp_path: Path) -> None:
    path = tmp_path / "anyport.yaml"
    provider = {"base_url": "http://127.0.0.1:9/v1", "credentials": ["${UPSTREAM_KEY}"]}
    whole = {**SETTINGS, "providers": {"up": provider}, "discovery": {"enabled": False}}
    whole["server"] = {**SETTINGS["server"], "access_log": str(tmp_path / "access.jsonl")}
    path.write_text(yaml.safe_dump(whole))
    settings = load_settings(path, ENVIRON)
    runtime = Runtime(settings, ENVIRON)
    runtime.router.chain("up/model")
    app = create_app(runtime, drain=DrainSignal())
    seen = list(_objects([settings, runtime, app]))
    names = {type(one).__name__ for one in seen}
    assert {"Runtime", "Settings", "Catalogue", "KeyRing", "Deployment", "Secret", "Scrubber", "Edge"} <= names
    for one in seen:
        for shown in (repr(one), str(one), f"{one}"):
            assert_clean(shown, f"the text of a {type(one).__name__}")
    await runtime.aclose()


def _objects(roots: list[Any]) -> Iterator[Any]:
    """Yields every object of ours that can be reached."""
    known: set[int] = set()
    todo = list(roots)
    while todo:
        one = todo.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        if type(one).__module__.partition(".")[0] in ("gateway", "adapters"):
            yield one
            todo += list(getattr(one, "__dict__", {}).values())
            slots = (name for base in type(one).__mro__ for name in getattr(base, "__slots__", ()))
            todo += [getattr(one, name) for name in slots if hasattr(one, name)]
        elif isinstance(one, dict):
            todo += list(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            todo += list(one)
