"""A configuration that cannot be served changes nothing, and says where it is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.answers import completion, text_chunks
from tests.e2e.process import run_gateway
from tests.e2e.stage import Stage
from tests.reload.broken import BROKEN
from tests.reload.gateway import HELLO, Running, Start, settings
from tests.upstreams.scripted import json_response, sse_response

END_SECONDS = 2.0
ONE_OF_EACH = (BROKEN[0], BROKEN[13], BROKEN[36], BROKEN[39], BROKEN[50])


def test_no_broken_file_has_any_effect_and_each_is_told_with_its_line(start: Start) -> None:
    gateway = start("--no-watch")
    good = gateway.file.read_text()
    for number, (text, line) in enumerate(BROKEN, 1):
        gateway.file.write_bytes(text.encode("latin-1"))
        refused = gateway.reload()
        assert refused.status_code == 422, text
        fault = refused.json()["error"]["details"]["faults"][0]
        assert (Path(fault["file"]).name, fault["line"]) == ("anyport.yaml", line), (text, fault)
        assert gateway.metric("anyport_config_reloads_total", result="failed") == number
        assert gateway.ask().headers["x-anyport-deployment"] == "first/m"
    gateway.file.unlink()
    gateway.file.mkdir()
    assert "cannot be read: Is a directory" in gateway.reload().json()["error"]["message"]
    gateway.file.rmdir()
    gateway.write("# padding\n" * 300_000)
    assert gateway.reload().status_code == 422
    gateway.write(good)
    assert gateway.reload().status_code == 200
    assert gateway.metric("anyport_config_reloads_total", result="failed") == len(BROKEN) + 2
    assert gateway.metric("anyport_config_reloads_total", result="ok") == 1


@pytest.mark.parametrize(("text", "line", "workers"), [*((*each, "1") for each in ONE_OF_EACH), (*ONE_OF_EACH[0], "2")])
def test_a_start_with_a_broken_file_ends_soon_and_says_where(
    tmp_path: Path, text: str, line: int, workers: str
) -> None:
    began = time.monotonic()
    code, said = run_gateway(tmp_path, "--port", "0", "--workers", workers, config=text)
    assert time.monotonic() - began < END_SECONDS + 30  # the machine of tests is a busy one
    assert code == 2
    assert f"anyport.yaml:{line}:" in said
    assert "Traceback" not in said


def test_a_start_tells_all_faults_at_once(tmp_path: Path) -> None:
    text = "server:\n  prot: 1\nroutes:\n  a:\n    deployments:\n      - model: nobody/m\n  b: {}\nadmin:\n  port: 1\n"
    code, said = run_gateway(tmp_path, "--port", "0", config=text)
    assert code == 2
    assert [f"anyport.yaml:{line}:" in said for line in (2, 6, 7, 9)] == [True] * 4


def test_streams_go_on_byte_for_byte_while_files_change(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    pieces = [f"piece-{number} " for number in range(40)]
    scripted.play(sse_response(text_chunks(*pieces)))
    undisturbed = stream(gateway)
    scripted.play(sse_response(text_chunks(*pieces), gap_seconds=0.1))
    variants = [settings(scripted.url) | {"upstream": {"max_connections": number + 50}} for number in range(8)]

    def change(number: int) -> None:
        gateway.write(variants[number] if number % 2 else "routes: [broken]")
        assert gateway.reload().status_code == (200 if number % 2 else 422)

    assert stream(gateway, change, len(variants)) == undisturbed
    assert undisturbed.endswith(b"data: [DONE]\n\n")
    scripted.play(json_response(completion("Hi")))
    assert gateway.ask().status_code == 200


def stream(gateway: Running, change: Callable[[int], None] | None = None, changes: int = 0) -> bytes:
    """Returns the bytes of a streamed answer; between its pieces `change` is called with 0, 1, ..."""
    body = {"model": "main", "messages": HELLO, "stream": True}
    said = bytearray()
    with gateway.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        for number, piece in enumerate(answer.iter_raw()):
            said += piece
            if change is not None and number < changes:
                change(number)
    return bytes(said)
