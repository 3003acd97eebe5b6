"""`anyport discover` as a process, with a model server that comes and goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from gateway.cli.providers.discover import status_text
from gateway.registry.discovery import Probe, Status
from tests.unit.registry.test_catalogue import catalogue
from tests.upstreams.scripted import ScriptedUpstream, json_response

SECONDS = 30.0
"""How long a busy machine may take."""
MODELS = json_response({"data": [{"id": "m1"}, {"id": "m2"}]})


async def start(directory: Path, url: str, *arguments: str) -> Process:
    usual = {name: value for name, value in os.environ.items() if not name.endswith(("_HOST", "_URL", "_KEY"))}
    environ = {**usual, "VLLM_HOST": url, "ANYPORT_DATA_DIR": str(directory)}
    program = "from gateway.cli.main import run; run()"
    command = (sys.executable, "-c", program, "discover", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=Path.cwd(), env=environ)


async def line_with(process: Process, *words: str) -> str:
    """Returns the next line that has all the words."""
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        while line := (await process.stdout.readline()).decode():
            if all(word in line for word in words):
                return line
    raise AssertionError(f"no line with {words}")


async def test_it_lists_servers_with_the_number_of_their_models(tmp_path: Path) -> None:
    async with ScriptedUpstream([MODELS]) as upstream:
        process = await start(tmp_path, upstream.url)
        line = await line_with(process, "vllm ")
        assert line.split(maxsplit=2)[1:] == [f"{upstream.url}/v1", "[OK] 2 models\n"]
        assert await asyncio.wait_for(process.wait(), SECONDS) == 0


@pytest.mark.parametrize(
    ("status", "models", "detail", "text"),
    [
        ("ok", ("a",), "", "[OK] 1 model"),
        ("ok", ("a", "b", "c"), "", "[OK] 3 models"),
        ("offline", (), "", "[OFFLINE]"),
        ("auth", (), "HTTP 401", "[AUTH]"),
        ("error", (), "HTTP 500", "[ERROR HTTP 500]"),
    ],
)
def test_a_state_is_said_in_a_word(status: Status, models: tuple[str, ...], detail: str, text: str) -> None:
    vllm = catalogue().find("vllm")
    assert not isinstance(vllm, str)
    assert status_text(Probe(vllm, vllm.base_url, status, models, detail)) == text


@pytest.mark.parametrize("as_json", [False, True])
async def test_watching_tells_of_servers_that_come_and_go(as_json: bool, tmp_path: Path) -> None:
    state = [json_response({}, 500)]
    async with ScriptedUpstream(lambda _: state[0]) as upstream:
        process = await start(tmp_path, upstream.url, "--watch", *(["--json"] if as_json else []))
        try:
            await line_with(process, "vllm", "HTTP 500")
            state[0] = MODELS
            line = await line_with(process, "vllm", "m1" if as_json else "[OK] 2 models")
            if as_json:
                assert json.loads(line)["models"] == ["m1", "m2"]
            state[0] = json_response({}, 500)
            await line_with(process, "vllm", "HTTP 500")
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), SECONDS) == 130
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
