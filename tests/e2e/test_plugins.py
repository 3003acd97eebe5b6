"""The example plugin, built, installed and used by a real gateway: its protocol, its hook, and its absence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from openai import BadRequestError, OpenAI

from tests.e2e.process import GatewayProcess, run_gateway, start_gateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import json_response, raw, response

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
ENTRY = """
class Fails:
    def attempt_ended(self, event):
        raise RuntimeError("this hook is broken")
    def request_ended(self, event):
        pass
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the example, as a wheel that was built and installed without a network, and a broken hook."""
    work = tmp_path_factory.mktemp("plugin")
    source, site = work / "source", work / "site"
    shutil.copytree(ROOT / "examples/anyport-example", source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-index"]
    for command in (
        ["wheel", *offline, "--no-build-isolation", "--wheel-dir", str(work), str(source)],
        ["install", *offline, "--target", str(site), str(work / "anyport_example-0.1.0-py3-none-any.whl")],
    ):
        done = subprocess.run([*pip, *command], capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stderr
    (site / "broken_hook.py").write_text(ENTRY)
    info = site / "broken_hook-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-hook\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[anyport.hooks]\nbroken = broken_hook:Fails\n")
    return site


def environ(site: Path, directory: Path) -> dict[str, str]:
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "ANYPORT_EXAMPLE_FILE": str(directory / "costs.txt")}


@pytest.fixture
def running(site: Path, tmp_path: Path, stage: Stage) -> Iterator[GatewayProcess]:
    config = {
        "server": {"access_log": "off", "api_keys": [{"key": "key-1", "name": "team-a"}]},
        "discovery": {"enabled": False},
        "storage": {"directory": str(tmp_path / "data")},
        "plugins": ["broken", "anyport-example"],
        "providers": {"toy": {"protocol": "toy", "base_url": stage.url, "requires_credential": False}},
    }
    process = start_gateway(tmp_path, config=config, environ=environ(site, tmp_path))
    process.wait_until_ready()
    yield process
    assert process.stop() == 0


def client(process: GatewayProcess) -> OpenAI:
    return OpenAI(base_url=f"{process.url}/v1", api_key="key-1", max_retries=0, timeout=SECONDS)


def test_a_protocol_of_a_plugin_serves_and_its_hook_hears_of_it(
    running: GatewayProcess, tmp_path: Path, scripted: Stage
) -> None:
    lines = b'{"text":"Hi"}\n{"text":" there"}\n{"read":3,"wrote":2}\n'
    stream = raw(response(200, (("content-type", "application/x-ndjson"),), lines))
    scripted.play(json_response({"text": "Hi!", "read": 3, "wrote": 2}), stream)
    with client(running) as sdk:
        answer = sdk.chat.completions.create(
            model="toy/m", messages=[{"role": "user", "content": "Hello"}], max_tokens=9, temperature=0.5
        )
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hi!", "stop")
        assert answer.usage is not None
        assert answer.usage.total_tokens == 5
        assert scripted.last.path == "/say"
        wanted = {"model": "m", "text": "user: Hello", "stream": False, "limit": 9}
        assert json.loads(scripted.last.body) == wanted
        pieces = sdk.chat.completions.create(
            model="toy/m", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "Hi there"
        with pytest.raises(BadRequestError, match="the toy protocol knows no tools"):
            sdk.chat.completions.create(
                model="toy/m",
                messages=[{"role": "user", "content": "Hello"}],
                tools=[{"type": "function", "function": {"name": "f"}}],
            )
    file = tmp_path / "costs.txt"
    deadline = time.monotonic() + SECONDS
    while not (file.exists() and file.read_text().count("\n") == 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    heard = [line.rsplit(" ", 1)[0] for line in file.read_text().splitlines()]
    assert heard == ["team-a toy/m 200 5", "team-a toy/m 200 5", "team-a toy/m 400 0"]
    # The other hook has failed at both that had an attempt: one line, a count, and no harm.
    said = running.wait_for("RuntimeError: this hook is broken", SECONDS)
    assert said.count("the hook of the plugin broken has failed") == 1
    with httpx2.Client(base_url=running.url, headers={"authorization": "Bearer key-1"}) as scraper:
        assert 'anyport_hook_failures_total{plugin="broken"} 2.0' in scraper.get("/metrics").text


def test_what_is_installed_but_not_named_does_not_run(site: Path, tmp_path: Path) -> None:
    config = json.dumps({"providers": {"toy": {"protocol": "toy", "base_url": "http://127.0.0.1:9"}}})
    code, said = run_gateway(tmp_path, config=config, environ=environ(site, tmp_path))
    assert code == 2
    assert "providers.toy.protocol  nothing speaks the protocol 'toy'" in said
    assert "one of a plugin needs that plugin under `plugins`" in said


def test_a_plugin_that_is_not_installed_or_cannot_be_made_is_a_fault(site: Path, tmp_path: Path) -> None:
    code, said = run_gateway(tmp_path, config=json.dumps({"plugins": ["anyport-exampel"]}))
    assert (code, "no installed package offers the plugin 'anyport-exampel'" in said) == (2, True)
    without = {"PYTHONPATH": environ(site, tmp_path)["PYTHONPATH"]}
    code, said = run_gateway(tmp_path, config=json.dumps({"plugins": ["anyport-example"]}), environ=without)
    assert code == 2
    assert "(anyport-example 0.1.0) cannot be loaded: KeyError: 'ANYPORT_EXAMPLE_FILE'" in said
