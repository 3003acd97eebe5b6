"""llama.cpp's own server as a process, with a model that is made on the spot."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).parent.parent / "upstreams" / "llama_server.py"
START_SECONDS = 60.0
MODEL = "tiny-salad"
HELLO: Any = [{"role": "user", "content": "hello"}]
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "place",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "is_big": {"type": "boolean"}},
            "required": ["city", "is_big"],
        },
    },
}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def free_port() -> int:
    """Returns a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_model(directory: Path) -> Path:
    """Writes the model; fails with what is missing where the packages of the test extra are."""
    try:
        from tests.upstreams.tiny_model import write_model
    except ImportError as error:
        raise AssertionError(f"the tests against llama.cpp need xllamacpp, gguf and numpy: {error}") from error
    return write_model(directory / "tiny.gguf")


@dataclass(slots=True)
class LlamaServer:
    """One running server; `url` is its root without a trailing slash."""

    url: str
    log: Path
    popen: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ends the process."""
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def is_up(self) -> bool:
        """Returns whether it has loaded its model."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return json.load(answer)["status"] == "ok"
        except OSError:
            return False


def start_llama(model: Path, *, port: int = 0, embeddings: bool = False) -> LlamaServer:
    """Starts a server and waits until it answers; fails with its log if it does not."""
    port = port or free_port()
    log = model.parent / f"llama-{port}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, str(LAUNCHER), str(model), str(port), MODEL, *(["--embeddings"] if embeddings else [])],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = LlamaServer(f"http://127.0.0.1:{port}", log, popen)
    deadline = time.monotonic() + START_SECONDS
    while not server.is_up():
        assert popen.poll() is None, f"llama.cpp's server (package xllamacpp) did not start: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"llama.cpp's server is not ready: {log.read_text()[-2000:]}"
        time.sleep(0.02)
    return server
