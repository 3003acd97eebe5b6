"""Keys, paths, methods, headers and destinations that a client may get wrong, or wrongly wish for."""

from __future__ import annotations

import pytest

from tests.faults.client import one_answer, request_bytes, talk
from tests.faults.rejections import assert_rejected
from tests.faults.shapes import fine
from tests.faults.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = "virtual-key-of-a-client"
SETTINGS = {
    "server": {"api_keys": ["${CLIENT_KEY}"], "bad_keys_per_minute": None},
    "routes": {"smart": {"deployments": [{"model": "up/never-called"}]}},
    "providers": {"keyless": {"base_url": "http://127.0.0.1:9/v1"}},
}
ENVIRON = {"CLIENT_KEY": KEY}
HEADERS = {"authorization": f"Bearer {KEY}"}
USER = {"role": "user", "content": "Hi"}


# Keys of the client


def _bad_keys() -> dict[str, str]:
    return {
        "none": "-",
        "empty": "",
        "no scheme": KEY,
        "Basic": f"Basic {KEY}",
        "Bearer empty": "Bearer ",
        "Bearer alone": "Bearer",
        "two tokens": f"Bearer {KEY} {KEY}",
        "one character less": f"Bearer {KEY[:-1]}",
        "one character more": f"Bearer {KEY}x",
        "other case": f"Bearer {KEY.upper()}",
        "long": f"Bearer {'k' * 60_000}",
        "not ASCII": "Bearer schl\xfcssel",
        "SQL": "Bearer ' OR 1=1--",
        "percent": "Bearer %",
    }


@pytest.mark.parametrize("value", _bad_keys().values(), ids=_bad_keys())
async def test_a_wrong_key_is_a_401_that_shows_no_key(stage: Stage, value: str) -> None:
    scene = stage.plays(fine())
    answer = await scene.send(scene.body(), headers={"authorization": value})
    assert answer.headers["www-authenticate"] == "Bearer"
    await assert_rejected(stage, scene, answer, (401, "invalid_api_key", None))
    assert KEY not in answer.body.decode()
    if len(value) > 10:
        assert value[7:] not in answer.body.decode()


async def test_every_path_but_health_wants_a_key(stage: Stage) -> None:
    for path in ("/v1/models", "/v1/models/smart", "/metrics", "/docs", "/openapi.json"):
        answer = await stage.gateway.get(path)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), path
    for path in ("/health/live", "/health/ready"):
        assert (await stage.gateway.get(path)).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_in_any_case(stage: Stage, scheme: str) -> None:
    scene = stage.plays(fine())
    assert (await scene.send(scene.body(), headers={"authorization": f"{scheme} {KEY}"})).status == 200
    (request,) = scene.requests
    assert request.headers["authorization"] == "Bearer key-of-the-upstream"


async def test_a_key_in_the_query_is_no_key_and_is_not_logged(stage: Stage) -> None:
    scene = stage.plays(fine())
    path = f"/v1/chat/completions?api_key={KEY}&key={KEY}"
    answer = await scene.send(scene.body(), path=path, headers={"authorization": "-"})
    await assert_rejected(stage, scene, answer, (401, "invalid_api_key", None))
    assert KEY not in stage.gateway.log + stage.gateway.access_path.read_text()


# Paths, methods, media types


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/completions/x", "/", "/v2/models", "/v1/responses", "/admin"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_a_404(stage: Stage, path: str, method: str) -> None:
    data = request_bytes(b"{}", path=path, method=method, headers=HEADERS)
    answer = one_answer(await talk(stage.port, data))
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert "ends in /v1" in answer.error["message"], "the base URL without it is the usual mistake"
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.id


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/chat/completions", "POST"),
        ("/v1/completions", "POST"),
        ("/v1/embeddings", "POST"),
        ("/v1/models", "GET"),
        ("/health/live", "GET"),
    ],
)
async def test_a_wrong_method_is_a_405_with_allow(stage: Stage, path: str, allow: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {allow}:
        answer = one_answer(await talk(stage.port, request_bytes(b"{}", path=path, method=method, headers=HEADERS)))
        assert (answer.status, answer.error["code"]) == (405, "method_not_allowed"), method
        assert answer.headers["allow"] == allow
        assert answer.headers["x-should-retry"] == "false"


TYPES = (
    "-",
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "application/jsonp",
    "text/json",
)


@pytest.mark.parametrize("media", TYPES)
async def test_another_media_type_is_a_415(stage: Stage, media: str) -> None:
    scene = stage.plays(fine())
    answer = await scene.send(scene.body(), headers={"content-type": media})
    await assert_rejected(stage, scene, answer, (415, "unsupported_media_type", None))


ANNOUNCEMENTS = (
    "application/json",
    "application/json; charset=utf-8",
    'Application/JSON;Charset="UTF-8"',
    "application/json;x=y",
)


@pytest.mark.parametrize("media", ANNOUNCEMENTS)
async def test_json_may_be_announced_in_several_ways(stage: Stage, media: str) -> None:
    scene = stage.plays(fine())
    assert (await scene.send(scene.body(), headers={"content-type": media})).status == 200


async def test_an_unknown_model_is_the_same_404_on_every_path(stage: Stage) -> None:
    scene = stage.plays(fine())
    more: dict[str, dict[str, object]] = {
        "/v1/chat/completions": {"messages": [USER]},
        "/v1/completions": {"prompt": "x"},
        "/v1/embeddings": {"input": "x"},
    }
    for path, fields in more.items():
        answer = await scene.send({"model": "smrat", **fields}, path=path)
        message = await assert_rejected(stage, scene, answer, (404, "model_not_found", "model"))
        assert "smart" in message
    answer = await stage.gateway.get("/v1/models/smrat", HEADERS)
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


async def test_a_model_whose_provider_has_no_credential_is_a_404_that_says_what_to_set(stage: Stage) -> None:
    scene = stage.plays(fine())
    answer = await scene.send({**scene.body(), "model": "keyless/m"})
    message = await assert_rejected(stage, scene, answer, (404, "model_not_found", "model"))
    assert "keyless has no credential; set providers.keyless.credentials" in message


# What must not travel on


DESTINATIONS = {
    "api_base": "http://127.0.0.1:1/v1",
    "base_url": "http://127.0.0.1:1/v1",
    "api_key": "sk-of-the-client",
    "extra_headers": {"x-evil": "1"},
    "callbacks": ["os.system"],
    "proxy": "http://127.0.0.1:1",
    "custom_llm_provider": "openai",
    "__proto__": {"x": 1},
    "constructor": {"x": 1},
    "__class__": "x",
}


@pytest.mark.parametrize("name", DESTINATIONS)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_body_cannot_choose_where_it_goes_or_with_which_key(stage: Stage, name: str, stream: bool) -> None:
    scene = stage.plays(fine())
    answer = await scene.send({**scene.body(stream=stream), name: DESTINATIONS[name]})
    assert answer.status == 200
    assert answer.headers["x-anyport-dropped"] == name
    (request,) = scene.requests
    assert name not in request.body.decode()
    assert request.headers["authorization"] == "Bearer key-of-the-upstream"
    assert "x-evil" not in request.headers
    assert request.path == "/v1/chat/completions"


async def test_a_clients_headers_stay_here(stage: Stage) -> None:
    scene = stage.plays(fine())
    theirs = {"cookie": "session=1", "x-api-key": "theirs", "x-forwarded-for": "10.0.0.1", "user-agent": "spy/1"}
    assert (await scene.send(scene.body(), headers=theirs)).status == 200
    (request,) = scene.requests
    assert not {"cookie", "x-api-key", "x-forwarded-for"} & request.headers.keys()
    assert request.headers["authorization"] == "Bearer key-of-the-upstream"
    assert "spy" not in str(request.headers)


# Request ids

JUNK = {
    "long": "x" * 10_000,
    "129 characters": "x" * 129,
    "blanks": "a b",
    "empty": "",
    "colours": "a\x1b[31mb",
    "quotes": 'a"b',
    "not ASCII": "\xe9t\xe9",
    "markup": "<script>",
    "a key": "sk-anyport-abc",
}


@pytest.mark.parametrize("value", JUNK.values(), ids=JUNK)
async def test_a_request_id_of_junk_is_replaced(stage: Stage, value: str) -> None:
    scene = stage.plays(fine())
    data = request_bytes(scene.body(), headers={**HEADERS, "x-request-id": value})
    answer, is_refused = one_answer(await talk(stage.port, data)), "\x1b" in value
    assert answer.status == (400 if is_refused else 200)
    assert answer.id != value
    assert answer.id.startswith("req_")
    assert len(scene.requests) == (0 if is_refused else 1)


@pytest.mark.parametrize("value", ["abc", "0190f1a2-7b4c-7000-8000-0123456789ab", "a.b:c_d-e", "x" * 128])
async def test_a_harmless_request_id_is_kept(stage: Stage, value: str) -> None:
    scene = stage.plays(fine())
    answer = await scene.send(scene.body(), headers={"x-request-id": value})
    assert answer.id == value
    assert (await stage.gateway.record(value))["status"] == 200
