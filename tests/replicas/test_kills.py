"""SIGKILL at any moment, under load: what was answered is in the ledger, once, and as the upstream knows it.

`ANYPORT_KILLS=100` kills so often.
"""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from tests.replicas.conftest import Make
from tests.replicas.gateways import held_ledger
from tests.replicas.load import Load
from tests.replicas.truth import Truth

KILLS = int(os.environ.get("ANYPORT_KILLS", "4"))
SEED = int(os.environ.get("ANYPORT_SEED", "11"))
LIFE_SECONDS = 1.0
# Each life starts an interpreter.
pytestmark = pytest.mark.timeout(60 + 20 * KILLS)


async def test_what_was_answered_is_in_the_ledger_once_however_often_the_process_is_killed(
    make: Make, truth: Truth, storage_url: str
) -> None:
    chance = random.Random(SEED)
    gateway = make(storage={"url": storage_url})
    await gateway.start()
    made = [await gateway.new_key(f"key {number}") for number in range(3)]
    keys = {secret: id for id, secret in made}
    load = Load(lambda: gateway.port, clients=9, keys=list(keys))
    starts: list[float] = []
    for _ in range(KILLS):
        truth.latency_seconds = chance.choice([0.0, 0.001, 0.02])
        load.start()
        await asyncio.sleep(chance.random() * LIFE_SECONDS)
        await gateway.kill()
        await load.stop()
        await gateway.start()
        starts.append(gateway.start_seconds)
    load.start()
    await asyncio.sleep(LIFE_SECONDS / 4)
    await load.stop()
    await gateway.stop()
    assert "set aside" not in gateway.errors and "lost" not in gateway.errors, gateway.errors
    ledger = await held_ledger(storage_url, truth, load, keys)
    assert {record.key_id for (record,) in ledger.records.values()} == set(keys.values())
    assert len(load.answered) > 10 * KILLS
    cut = [reply for reply in load.replies if reply.trouble]
    assert cut, "no request was under way when the process was killed"
    print(  # what the long form is run for
        f"kills {KILLS}, answered {len(load.answered)}, cut {len(cut)}, in the ledger {len(ledger.records)}, "
        f"start at most {max(starts):.2f} s, usually {sorted(starts)[len(starts) // 2]:.2f} s"
    )
