"""That the event loop stands still is told while it does, and counted when it goes on."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.telemetry.stalls import StallWatch

STALL = 0.4


async def test_a_loop_that_stands_still_is_told_with_its_place_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    stalls: list[float] = []
    async with StallWatch(stalls.append, stall_seconds=STALL):
        await asyncio.sleep(STALL)
        time.sleep(4 * STALL)  # noqa: ASYNC251 - that is what it is about
        while not stalls:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert stalls[0] >= 2 * STALL
    assert "the event loop stands still, at telemetry/test_stalls.py:" in caplog.text
    assert "the event loop goes on after" in caplog.text


async def test_a_loop_that_runs_is_left_alone_and_the_watch_ends() -> None:
    stalls: list[float] = []
    async with StallWatch(stalls.append, stall_seconds=20) as watch:
        await asyncio.sleep(0.1)
    assert stalls == []
    thread = watch._thread
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()
