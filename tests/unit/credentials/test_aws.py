"""AWS signatures, and where the keys for them come from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import HttpRequest
from gateway.credentials import extras
from gateway.credentials.aws import AwsKeys, region_of, signature
from gateway.credentials.errors import CredentialUnavailable, InvalidCredential
from gateway.credentials.resolve import Resolved, resolve_credentials
from gateway.credentials.sign import auth_headers, signed
from gateway.domain import ProviderSpec
from gateway.registry.builtin import to_spec
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow
from gateway.transport.base import Timeouts
from gateway.transport.builtin import BuiltinTransport

from .sigv4_reader import Received, expected_signature, is_well_signed, read

ID, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdz/session=="
KEYS = {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET}
HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
MODELS = [
    "anthropic.claude-sonnet-4-5-20250929-v1%3A0",
    "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2c3",
    "us.amazon.nova-lite-v1%3A0",
]


def bedrock(**row: object) -> ProviderSpec:
    base = {
        "base_url": "https://bedrock-runtime.{AWS_REGION}.amazonaws.com",
        "auth": "sigv4",
        "credential_envs": ["AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY"],
    }
    return to_spec("bedrock", ProviderRow.model_validate({**base, **row}))


def resolved(environ: dict[str, str], base_url: str = HOST, *, is_named: bool = False, **row: object) -> Resolved:
    return resolve_credentials(bedrock(**row), environ, base_url=base_url, is_named=is_named)


def converse(model: str, body: bytes = b"{}", query: str = "") -> HttpRequest:
    headers = (("content-type", "application/json"), ("accept", "application/json"))
    return HttpRequest("POST", f"{HOST}/model/{model}/converse{query}", headers, body)


def of_botocore(request: HttpRequest, keys: AwsKeys, monkeypatch: pytest.MonkeyPatch) -> str:
    """What botocore's clients would send at the same moment."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))
    made = AWSRequest(method=request.method, url=request.url, data=request.body, headers=dict(request.headers))
    token = keys.session_token.reveal() if keys.session_token else None
    pair = Credentials(keys.access_key, keys.secret_key.reveal(), token)
    botocore.auth.SigV4Auth(pair, "bedrock", "eu-west-1").add_auth(made)
    return made.headers["authorization"]


def test_the_judge_agrees_with_the_example_that_aws_publishes() -> None:
    # `get-vanilla` of AWS's Signature Version 4 test suite.
    request = Received("GET", "/", {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}, b"")
    scope = "20150830/us-east-1/service/aws4_request"
    known = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    assert expected_signature(request, SECRET, scope, "host;x-amz-date") == known


@pytest.mark.parametrize("session", [None, Secret(SESSION)], ids=["keys", "session"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("body", [b"", b"{}", '{"a":"ü"}'.encode(), bytes(range(256)) * 100], ids=len)
def test_a_signature_is_that_of_botocore(
    model: str, body: bytes, session: Secret | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = AwsKeys(ID, Secret(SECRET), session)
    request = converse(model, body)
    assert dict(signature(request, keys, "eu-west-1", NOW))["authorization"] == of_botocore(request, keys, monkeypatch)


@given(
    segment=st.text("abcdefghij.-_~0123456789", min_size=1).filter(lambda text: set(text) != {"."}),
    body=st.binary(max_size=200),
    query=st.dictionaries(st.text("abcXYZ019", min_size=1), st.text("abcXYZ019"), max_size=3),
)
def test_a_signature_is_what_aws_computes_from_the_wire(segment: str, body: bytes, query: dict[str, str]) -> None:
    text = "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
    request = converse(f"{segment}%3A0", body, text)
    made = signed(request, signature(request, AwsKeys(ID, Secret(SECRET)), "eu-west-1", NOW))
    headers = {"host": "bedrock-runtime.eu-west-1.amazonaws.com", **dict(made.headers)}
    received = Received(made.method, made.url.removeprefix(HOST), headers, body)
    assert is_well_signed(received, SECRET)


def test_every_received_header_that_matters_is_signed() -> None:
    request = converse(MODELS[0])
    headers = dict(signature(request, AwsKeys(ID, Secret(SECRET), Secret(SESSION)), "eu-west-1", NOW))
    assert headers["x-amz-date"] == "20261121T120000Z"
    assert headers["x-amz-security-token"] == SESSION
    assert f"Credential={ID}/20261121/eu-west-1/bedrock/aws4_request, " in headers["authorization"]
    assert "SignedHeaders=accept;content-type;host;x-amz-date;x-amz-security-token, " in headers["authorization"]


async def test_what_goes_over_the_wire_is_what_was_signed() -> None:
    async with recording_server() as (port, requests):
        base_url = f"http://127.0.0.1:{port}"
        found = resolved({**KEYS, "AWS_SESSION_TOKEN": SESSION, "AWS_REGION": "eu-west-1"}, base_url)
        assert found.signer is not None
        transport = BuiltinTransport(max_connections=2)
        for model in MODELS:
            ours = converse(model, b'{"messages":[]}')
            request = HttpRequest("POST", ours.url.replace(HOST, base_url), ours.headers, ours.body)
            response = await transport.send(signed(request, await found.signer.sign(request)), Timeouts())
            assert response.head.status == 200
            response.release()
        await transport.aclose()
    assert [request.target for request in requests] == [f"/model/{model}/converse" for model in MODELS]
    assert all(is_well_signed(request, SECRET) for request in requests)
    assert all(request.headers["x-amz-security-token"] == SESSION for request in requests)


@asynccontextmanager
async def recording_server() -> Any:
    requests: list[Received] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = await reader.readuntil(b"\r\n\r\n")
        length = int(read(raw).headers.get("content-length", "0"))
        requests.append(read(raw + await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], requests


def test_a_bedrock_key_wins_over_a_pair_and_is_a_bearer_token() -> None:
    found = resolved({**KEYS, "AWS_BEARER_TOKEN_BEDROCK": "ABSKx"})
    assert (found.signer, found.source) == (None, "env AWS_BEARER_TOKEN_BEDROCK")
    assert auth_headers(found.auth, found.secrets[0]) == (("authorization", "Bearer ABSKx"),)


def test_a_pair_says_where_it_is_from_and_knows_its_secrets() -> None:
    found = resolved({**KEYS, "AWS_SESSION_TOKEN": SESSION})
    assert (found.secrets, found.source) == ((), "env AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY")
    assert found.signer is not None
    assert found.signer.secrets == (Secret(SECRET), Secret(SESSION))
    assert SECRET not in repr(found)


async def test_the_session_of_one_pair_is_not_put_on_another() -> None:
    environ = {f"ABI_{name}": value for name, value in KEYS.items()} | {"AWS_SESSION_TOKEN": SESSION}
    found = resolved(environ)
    assert found.source == "env ABI_AWS_ACCESS_KEY_ID+ABI_AWS_SECRET_ACCESS_KEY"
    assert found.signer is not None
    assert "x-amz-security-token" not in dict(await found.signer.sign(converse(MODELS[0])))


@pytest.mark.parametrize("name", KEYS)
def test_half_a_pair_names_the_other_half(name: str) -> None:
    other = next(each for each in KEYS if each != name)
    with pytest.raises(CredentialUnavailable, match=f"{name} is set, {other} is not") as caught:
        resolved({name: KEYS[name]})
    assert KEYS[name] not in str(caught.value)


def test_a_session_that_no_header_can_hold_is_refused_without_showing_it() -> None:
    with pytest.raises(InvalidCredential, match="AWS_SESSION_TOKEN") as caught:
        resolved({**KEYS, "AWS_SESSION_TOKEN": "se\ncret"})
    assert "cret" not in str(caught.value).replace("credential", "")


@pytest.mark.parametrize(
    ("environ", "base_url", "expected"),
    [
        ({"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-west-2"}, "https://proxy.example", "us-east-1"),
        ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "us-west-2"}, "http://127.0.0.1:1", "us-west-2"),
        ({}, HOST, "eu-west-1"),
        ({"AWS_REGION": "us-east-1"}, HOST, "eu-west-1"),
        ({}, "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ({}, "https://vpce-0a1b-2c3d.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ({}, "https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ({}, "https://bedrock-mantle.us-east-2.api.aws/v1", "us-east-2"),
        ({"AWS_REGION": "us-east-1"}, "https://eu-west-1.amazonaws.com.evil.example", "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_host_else_of_the_variables(
    environ: dict[str, str], base_url: str, expected: str
) -> None:
    assert region_of(environ, base_url, "bedrock") == expected


def test_without_any_region_the_variable_is_named() -> None:
    with pytest.raises(CredentialUnavailable, match="set AWS_REGION"):
        resolved(KEYS, "https://proxy.example")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(CredentialUnavailable, match=r"pip install -e '\.\[aws\]'"):
        resolved(KEYS)
    assert resolved({}, is_named=True).signer is None


def test_the_machine_is_not_searched_for_a_provider_that_nobody_named() -> None:
    assert resolved({}).signer is None


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No AWS settings of the machine that runs the tests, and no instance metadata."""
    for name in ("PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return monkeypatch


@pytest.mark.usefixtures("bare")
async def test_a_profile_signs_for_a_provider_that_is_named(tmp_path: Path) -> None:
    text = f"[work]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\naws_session_token = {SESSION}\n"
    (tmp_path / "credentials").write_text(text)
    found = resolved({"AWS_PROFILE": "work"}, is_named=True)
    assert found.source == "aws credential chain"
    assert found.signer is not None
    learned: list[Secret] = []
    found.signer.watch(learned.append)
    headers = dict(await found.signer.sign(converse(MODELS[0])))
    assert headers["x-amz-security-token"] == SESSION
    assert learned == [Secret(SECRET), Secret(SESSION)]


@pytest.mark.usefixtures("bare")
async def test_a_machine_without_any_credential_says_what_to_do() -> None:
    found = resolved({}, is_named=True)
    assert found.signer is not None
    with pytest.raises(CredentialUnavailable, match="AWS_BEARER_TOKEN_BEDROCK or AWS_ACCESS_KEY_ID"):
        await found.signer.sign(converse(MODELS[0]))


@pytest.mark.usefixtures("bare")
async def test_a_profile_that_does_not_exist_is_told_as_such() -> None:
    found = resolved({"AWS_PROFILE": "nobody"}, is_named=True)
    assert found.signer is not None
    with pytest.raises(CredentialUnavailable, match=r"nobody.*check AWS_PROFILE"):
        await found.signer.sign(converse(MODELS[0]))


@pytest.fixture
def container(bare: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An endpoint like that of a container service: a new session with each call, good for twenty minutes."""
    calls: list[str] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            ends = datetime.now(UTC) + timedelta(minutes=20)
            session = {
                "AccessKeyId": ID,
                "SecretAccessKey": SECRET,
                "Token": f"session-{len(calls)}",
                "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            body = json.dumps(session).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/session")
        yield calls
        server.shutdown()
        thread.join()


async def test_a_session_is_fetched_once_for_many_requests(
    container: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    found = resolved({}, is_named=True)
    assert container == [], "asked before anybody wanted it"
    signer = found.signer
    assert signer is not None
    all_headers = await asyncio.gather(*(signer.sign(converse(MODELS[0])) for _ in range(20)))
    assert {dict(headers)["x-amz-security-token"] for headers in all_headers} == {"session-1"}
    assert container == ["/session"]
    assert SECRET not in caplog.text
    assert "session-1" not in caplog.text
