"""Several gateways that start at once on one empty database: all serve, and what one makes is known to all."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2

from tests.e2e.process import GatewayProcess, start_gateway
from tests.workers.test_keys import anyport

GATEWAYS = 4
SLACK_SECONDS = 30.0


def test_gateways_that_start_at_once_on_an_empty_database_share_it(url: str, tmp_path: Path) -> None:
    config = {"discovery": {"enabled": False}, "storage": {"url": url}, "access": {"pepper": "pepper-0123456789"}}
    running: list[GatewayProcess] = []
    try:
        for number in range(GATEWAYS):
            (directory := tmp_path / f"gateway-{number}").mkdir()
            running.append(start_gateway(directory, config=config))
        for each in running:
            each.wait_until_ready()
            assert status(each) == 200  # there is no key yet
        key = anyport(tmp_path / "gateway-0", "keys", "create", "--name", "first")
        deadline = time.monotonic() + SLACK_SECONDS
        while {status(each) for each in running} != {401}:
            assert time.monotonic() < deadline, [status(each) for each in running]
            time.sleep(0.2)
        assert {status(each, key) for each in running} == {200}
        assert [each.stop() for each in running] == [0] * GATEWAYS
        assert not any("rror" in each.errors or "Traceback" in each.errors for each in running)
    finally:
        for each in running:
            each.stop()


def status(gateway: GatewayProcess, key: str = "") -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.get(f"{gateway.url}/v1/models", headers=headers, timeout=SLACK_SECONDS).status_code
