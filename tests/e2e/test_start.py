"""The first minutes with the program: no configuration, a wrong one, an open door, a port that is taken."""

from __future__ import annotations

import json
import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.e2e.llama import free_port
from tests.e2e.process import GatewayProcess, run_gateway, start_gateway

README = Path(__file__).parents[2] / "README.md"
QUIET: Any = {"server": {"access_log": "off"}, "discovery": {"enabled": False}}
HELLO: Any = [{"role": "user", "content": "Good morning"}]
KEY = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"


def _run(tmp_path: Path, *arguments: str, **more: Any) -> Iterator[GatewayProcess]:
    process = start_gateway(tmp_path, arguments=("--port", "0", *arguments), **more)
    try:
        process.wait_until_ready()
        yield process
    finally:
        code = process.stop()
    assert code == 0, process.errors


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with nothing: no file, no key, and nobody on the usual ports."""
    yield from _run(tmp_path_factory.mktemp("bare"), config=QUIET)


def test_without_anything_the_echo_answers(bare: GatewayProcess) -> None:
    with OpenAI(base_url=f"{bare.url}/v1", api_key="any") as client:
        answer = client.chat.completions.create(model="demo/echo", messages=HELLO)
        assert answer.choices[0].message.content == "Good morning"
        assert answer.usage is not None and answer.usage.total_tokens > 0
        assert "demo/echo" in [model.id for model in client.models.list()]


def test_without_anything_the_echo_streams(bare: GatewayProcess) -> None:
    with (
        OpenAI(base_url=f"{bare.url}/v1", api_key="any") as client,
        client.chat.completions.create(model="demo/echo", messages=HELLO, stream=True) as stream,
    ):
        pieces = [choice.delta.content or "" for each in stream for choice in each.choices]
    assert "".join(pieces) == "Good morning"
    assert len([piece for piece in pieces if piece]) > 1


def test_without_anything_the_start_says_what_to_do(bare: GatewayProcess) -> None:
    said = bare.wait_for("curl")
    assert "export OPENAI_API_KEY=" in said
    assert "demo/echo" in said
    assert bare.url in said


def test_the_line_to_try_works_as_it_is_printed(bare: GatewayProcess) -> None:
    [line] = [line for line in bare.wait_for("curl").splitlines() if "curl" in line]
    words = shlex.split(line)
    assert words[:2] == ["curl", "-N"]
    body = words[words.index("-d") + 1]
    answer = httpx2.post(words[2], content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert answer.text.endswith("data: [DONE]\n\n")


def test_health_docs_and_metrics_are_there_without_a_key(bare: GatewayProcess) -> None:
    assert httpx2.get(f"{bare.url}/health/live").json() == {"status": "ok"}
    assert httpx2.get(f"{bare.url}/health/ready").status_code == 200
    assert "/v1/chat/completions" in httpx2.get(f"{bare.url}/openapi.json").json()["paths"]
    assert "<html" in httpx2.get(f"{bare.url}/docs").text.lower()
    assert "anyport_" in httpx2.get(f"{bare.url}/metrics").text


def test_with_no_file_at_all_the_local_servers_are_looked_for(tmp_path: Path) -> None:
    for process in _run(tmp_path):
        assert httpx2.get(f"{process.url}/v1/models").status_code == 200
        body = {"model": "demo/echo", "messages": HELLO}
        answer = httpx2.post(f"{process.url}/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "Good morning"
        assert '"Good morning"' not in (tmp_path / "stdout.log").read_text(), "no content in the log"


def test_keys_of_the_environment_are_listed_by_variable_and_never_by_value(tmp_path: Path) -> None:
    for process in _run(tmp_path, config=QUIET, environ={"OPENAI_API_KEY": KEY, "GROQ_API_KEY": "gsk_" + KEY[3:]}):
        said = process.wait_for("curl")
        assert "openai/..." in said and "env OPENAI_API_KEY" in said
        assert "groq/..." in said and "env GROQ_API_KEY" in said
        assert "export OPENAI_API_KEY" not in said
        assert KEY[8:] not in said
    assert KEY[8:] not in (tmp_path / "stdout.log").read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_door_is_refused_and_what_to_do_is_said(tmp_path: Path, host: str) -> None:
    code, said = run_gateway(tmp_path, "--host", host, "--port", "0")
    assert code == 2
    assert "server.api_keys" in said and "--allow-unauthenticated" in said
    assert "Traceback" not in said


def test_an_open_door_may_be_wished_for(tmp_path: Path) -> None:
    for process in _run(tmp_path, "--host", "0.0.0.0", "--allow-unauthenticated", config=QUIET):
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(f"{url}/health/live").status_code == 200


def test_an_open_door_with_a_key_is_no_open_door(tmp_path: Path) -> None:
    config = {**QUIET, "server": {**QUIET["server"], "api_keys": ["${CLIENT_KEY}"]}}
    for process in _run(tmp_path, "--host", "0.0.0.0", config=config, environ={"CLIENT_KEY": "sk-of-a-client"}):
        url = process.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx2.get(f"{url}/v1/models").status_code == 401
        headers = {"authorization": "Bearer sk-of-a-client"}
        assert httpx2.get(f"{url}/v1/models", headers=headers).status_code == 200
        assert "authorization" in process.wait_for("curl"), "the line to try has a place for the key"
        assert "sk-of-a-client" not in process.errors


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("server:\n  prot: 8080\n", "anyport.yaml:2:3", "server.prot"),
        ("server:\n  port: high\n", "anyport.yaml:2:9", "server.port"),
        ("server:\n  port: [\n", "anyport.yaml:3:1", ""),
        ("server:\n  api_keys: ['${NOT_SET_ANYWHERE}']\n", "anyport.yaml:2:", "NOT_SET_ANYWHERE"),
        ("routes:\n  fast:\n    deployments:\n      - model: nobody/x\n", "anyport.yaml:4:", "nobody"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_of_the_fault(tmp_path: Path, text: str, place: str, hint: str) -> None:
    code, said = run_gateway(tmp_path, "--port", "0", config=text)
    assert code == 2
    assert place in said
    assert hint in said
    assert "Traceback" not in said


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    code, said = run_gateway(tmp_path, "--config", "missing.yaml", "--port", "0")
    assert code == 2
    assert "missing.yaml" in said and "Traceback" not in said


def test_a_taken_port_is_said_and_ends_with_1(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, said = run_gateway(tmp_path, "--port", str(port), config=json.dumps(QUIET))
    assert code == 1
    assert str(port) in said and "Traceback" not in said


def test_the_port_of_the_file_and_of_the_command_line_are_obeyed(tmp_path: Path) -> None:
    config = {**QUIET, "server": {**QUIET["server"], "port": free_port()}}
    process = start_gateway(tmp_path, config=config, arguments=())
    try:
        assert process.wait_until_ready() == f"http://127.0.0.1:{config['server']['port']}"
    finally:
        assert process.stop() == 0


def _readme_files() -> list[str]:
    return [text for text in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.S) if "providers:" in text]


def test_the_file_in_the_readme_is_a_valid_one(tmp_path: Path) -> None:
    files = _readme_files()
    assert files, "the README shows a configuration"
    for number, text in enumerate(files):
        directory = tmp_path / str(number)
        directory.mkdir()
        environ = {name: "sk-any-value-0001" for name in re.findall(r"\$\{(\w+)", text)} | {"GROQ_API_KEY": "gsk_x"}
        for process in _run(directory, config=text, environ=environ):
            headers = {"authorization": "Bearer sk-any-value-0001"}
            listed = httpx2.get(f"{process.url}/v1/models", headers=headers)
            assert listed.status_code == 200
            assert listed.json()["data"]
