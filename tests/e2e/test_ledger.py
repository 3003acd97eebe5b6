"""What requests used is written down by a process as its users run it, and still there after a kill."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.records import UsageRecord
from gateway.storage.base import RecordsQuery
from gateway.storage.factory import open_storage
from tests.e2e.answers import completion, error, text_chunks
from tests.e2e.conftest import scripted_config
from tests.e2e.process import GatewayProcess, start_gateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import json_response, sse_response

HELLO: Any = [{"role": "user", "content": "a private question"}]
PRICE = {"input_usd_per_million": 2, "output_usd_per_million": 10}


def begin(directory: Path, stage: Stage, **more: Any) -> GatewayProcess:
    config = scripted_config(stage.url)
    config["routes"]["fast"]["deployments"][0]["price"] = PRICE
    process = start_gateway(directory, config={**config, **more})
    process.wait_until_ready()
    return process


def ask(process: GatewayProcess, **fields: Any) -> httpx2.Response:
    body = {"model": "fast", "messages": HELLO, **fields}
    headers = {"x-request-id": "mine"}
    return httpx2.post(f"{process.url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def stored(directory: Path) -> list[UsageRecord]:
    async def read() -> list[UsageRecord]:
        storage = open_storage(None, directory / ".anyport")
        try:
            return await storage.records(RecordsQuery())
        finally:
            await storage.aclose()

    return sorted(asyncio.run(read()), key=lambda record: record.id)


def test_every_request_is_a_record_even_if_its_client_gives_all_the_same_id(scripted: Stage, tmp_path: Path) -> None:
    scripted.play(
        json_response(completion("Hi")),
        sse_response(text_chunks("a ", "stream")),
        error(400, "no such thing"),
    )
    process = begin(tmp_path, scripted)
    assert ask(process).headers["x-anyport-cost-usd"] == "0.000044"
    assert "x-anyport-cost-usd" not in ask(process, stream=True).headers
    assert ask(process).status_code == 400
    assert process.stop() == 0, process.errors
    first, second, third = stored(tmp_path)
    assert [each.id.partition("/")[0] for each in (first, second, third)] == ["mine"] * 3
    assert (first.usage_source, first.cost_nano_usd, first.price_version) == ("reported", 44_000, "configuration")
    assert (second.stream, second.status, second.cost_nano_usd is not None) == (True, 200, True)
    assert (third.status, third.usage_source, third.cost_nano_usd) == (400, "none", 0)


def test_an_answered_request_survives_a_kill(scripted: Stage, tmp_path: Path) -> None:
    scripted.play(*[json_response(completion("Hi"))] * 20)
    process = begin(tmp_path, scripted)
    for _ in range(20):
        assert ask(process).status_code == 200
    process.kill()
    process = begin(tmp_path, scripted)
    assert process.stop() == 0, process.errors
    assert [record.cost_nano_usd for record in stored(tmp_path)] == [44_000] * 20


def test_a_place_that_cannot_be_written_is_a_warning_unless_somebody_has_chosen_it(
    scripted: Stage, tmp_path: Path
) -> None:
    (tmp_path / ".anyport").write_text("a file, where a directory should be")
    scripted.play(json_response(completion("Hi")))
    process = begin(tmp_path, scripted)
    assert ask(process).status_code == 200
    assert process.stop() == 0
    assert "nothing is recorded. Set storage.directory" in process.errors


def test_a_chosen_place_that_cannot_be_written_lets_nothing_start(scripted: Stage, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, where a directory should be")
    config = {**scripted_config(scripted.url), "storage": {"directory": str(tmp_path / "taken")}}
    process = start_gateway(tmp_path, config=config)
    assert process.wait() == 2
    assert "the journal cannot be kept in" in process.errors
    assert "Traceback" not in process.errors


def test_the_admin_api_adds_up_what_requests_cost(scripted: Stage, tmp_path: Path) -> None:
    scripted.play(*[json_response(completion("Hi"))] * 3)
    process = begin(tmp_path, scripted, admin={"port": 0, "key": "admin-canary-0123456789"})
    for _ in range(3):
        assert ask(process).status_code == 200
    (base,) = re.findall(r"admin API is at (http://\S+)", process.wait_for("admin API is at"))
    headers = {"authorization": "Bearer admin-canary-0123456789"}
    deadline = time.monotonic() + 10
    rows: list[Any] = []
    while not (rows and rows[0]["requests"] == 3) and time.monotonic() < deadline:
        rows = httpx2.get(f"{base}/usage?by=route", headers=headers).json()["data"]
    assert [(row["route"], row["requests"], row["cost_usd"]) for row in rows] == [("fast", 3, "0.000132")]
    table = httpx2.get(f"{base}/usage?by=route&format=csv", headers=headers)
    assert table.text.splitlines()[1].endswith("0.000132")
    assert httpx2.get(f"{base}/usage?by=colour", headers=headers).status_code == 400
    assert process.stop() == 0, process.errors


@pytest.mark.parametrize(("policy", "status"), [("refuse", 503), ("serve", 200)])
def test_the_operator_decides_what_becomes_of_requests_that_cannot_be_recorded(
    scripted: Stage, tmp_path: Path, policy: str, status: int
) -> None:
    scripted.play(*[json_response(completion("Hi"))] * 2)
    process = begin(tmp_path, scripted, storage={"on_ledger_failure": policy})
    journal = tmp_path / ".anyport" / "journal"
    shutil.rmtree(journal)
    journal.write_text("a file, where a directory should be")
    assert ask(process).status_code == 200  # nobody could know
    answer = ask(process)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["code"] == "ledger_unavailable"
    process.kill()


def test_the_header_can_be_switched_off(scripted: Stage, tmp_path: Path) -> None:
    scripted.play(json_response(completion("Hi")))
    process = begin(tmp_path, scripted, server={"access_log": "off", "cost_header": False})
    assert "x-anyport-cost-usd" not in ask(process).headers
    assert process.stop() == 0, process.errors


def test_an_unknown_price_is_no_price_of_zero_anywhere(scripted: Stage, tmp_path: Path) -> None:
    scripted.play(*[json_response(completion("Hi"))] * 3)
    config = {**scripted_config(scripted.url), "admin": {"port": 0, "key": "admin-canary-0123456789"}}
    process = start_gateway(tmp_path, config=config)
    process.wait_until_ready()
    for _ in range(3):
        assert "x-anyport-cost-usd" not in ask(process).headers
    window = httpx2.get(f"{process.url}/v1/usage", timeout=20).json()["windows"]["day"]
    assert (window["requests"], window["unpriced"], window["cost_nano_usd"]) == (3, 3, 0)
    text = httpx2.get(f"{process.url}/metrics", timeout=20).text
    assert 'anyport_unpriced_requests_total{deployment="stub/quick",provider="stub",route="fast"} 3.0' in text
    assert "anyport_cost_nano_usd_total{" not in text
    assert process.stop() == 0, process.errors
    assert process.errors.count("the price of stub/quick is not known") == 1
    assert [record.cost_nano_usd for record in stored(tmp_path)] == [None] * 3
