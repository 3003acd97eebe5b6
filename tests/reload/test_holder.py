"""A runtime is closed after its last request, and what its successor shares with it stays open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.errors import ConfigError, Fault
from gateway.reload.holder import RuntimeHolder
from gateway.reload.reloader import Built, Reloader
from gateway.runtime import Runtime
from gateway.settings.model import Settings
from gateway.storage.factory import DATA_VARIABLE

SECRETS = ["canary-old-0123456789", "canary-new-0123456789"]
BASE: Any = {"server": {"access_log": "off"}, "discovery": {"enabled": False}}


def settings(secret: str = SECRETS[0], **more: Any) -> Settings:
    route = {"deployments": [{"model": "openai/gpt-4.1", "keys": [secret]}]}
    return Settings.model_validate({**BASE, "routes": {"r": route}, **more})


@pytest_asyncio.fixture
async def holder(tmp_path: Path) -> AsyncIterator[RuntimeHolder[Runtime]]:
    made = RuntimeHolder(Runtime(settings(), {DATA_VARIABLE: str(tmp_path)}), lambda runtime: runtime)
    await made.current.start()
    yield made
    await made.aclose()


async def swap(holder: RuntimeHolder[Runtime], said: Settings) -> Runtime:
    await holder.swap(Runtime(said, {}, before=holder.current))
    return holder.current


async def drained(holder: RuntimeHolder[Runtime], count: int = 0) -> None:
    async with asyncio.timeout(10):
        while holder.draining > count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_request_keeps_the_runtime_that_it_began_with(holder: RuntimeHolder[Runtime]) -> None:
    lease = holder.lease()
    old = holder.current
    new = await swap(holder, settings())
    assert lease.app is lease.runtime is old
    assert holder.current is new is not old
    await asyncio.sleep(0.05)
    assert holder.draining == 1
    lease.release()
    await drained(holder)


@pytest.mark.parametrize("error", [ConfigError([Fault("f", 1, 1, "storage", "cannot be")]), OSError("no")])
async def test_a_reload_whose_work_beside_requests_cannot_begin_says_that_it_serves_and_what_is_wrong(
    error: Exception, holder: RuntimeHolder[Runtime], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(runtime: Runtime) -> None:
        raise error

    def build(before: Runtime, data: bytes | None) -> Built:
        said = settings(SECRETS[1])
        return Built(Runtime(said, {}, before=before), said)

    monkeypatch.setattr(Runtime, "start", failing)
    old = holder.current
    reloaded = await Reloader(holder, build).reload("test")
    assert holder.current is not old
    assert (reloaded.ok, reloaded.faults) == (True, ())
    assert reloaded.warnings[0] in (
        "f:1:1  storage  cannot be",
        "not all of the work beside requests has begun: the log has details",
    )
    assert f"the new configuration serves, but: {reloaded.warnings[0]}" in caplog.text


async def test_secrets_of_runtimes_that_drain_are_still_taken_out_of_texts(holder: RuntimeHolder[Runtime]) -> None:
    lease = holder.lease()
    await swap(holder, settings(SECRETS[1]))
    assert not any(secret in holder.scrub(" and ".join(SECRETS)) for secret in SECRETS)
    lease.release()


async def test_a_client_for_providers_is_shared_until_its_settings_change(holder: RuntimeHolder[Runtime]) -> None:
    first = holder.current
    second = await swap(holder, settings(upstream={"total_seconds": 5}))
    assert second.transport is first.transport
    third = await swap(holder, settings(upstream={"max_connections": 5}))
    assert third.transport is not first.transport
    assert third.metrics is first.metrics
    assert third.control is first.control
    await drained(holder)


async def test_live_states_of_what_did_not_change_are_kept(holder: RuntimeHolder[Runtime]) -> None:
    old = holder.current.router.chain("r").route
    second = {"deployments": [{"model": "openai/gpt-4.1", "keys": [SECRETS[0]]}, {"model": "openai/gpt-5"}]}
    await swap(holder, settings(routes={"r": second}, health={"consecutive_failures": 3}))
    new = holder.current.router.chain("r").route
    assert new.deployments[0].vitals is old.deployments[0].vitals
    assert new.deployments[0].vitals.policy.consecutive_failures == 3
    assert new.memory is old.memory
    assert new.deployments[0].key_ring.keys[0].state is old.deployments[0].key_ring.keys[0].state


async def test_live_states_of_what_is_gone_are_forgotten(holder: RuntimeHolder[Runtime]) -> None:
    for number in range(20):
        route = {"deployments": [{"model": f"openai/gpt-{number}", "keys": SECRETS}]}
        await swap(holder, settings(routes={f"r{number}": route}))
    assert len(holder.current.routes.deployments()) <= 2


async def test_models_that_were_listed_are_listed_on_unless_the_provider_is_another_one() -> None:
    environ = {"OPENAI_API_KEY": "sk-canary-0001", "GROQ_API_KEY": "gsk_canary0001"}
    old = Runtime(Settings.model_validate(BASE), environ)
    old.catalogue.listing.replace("openai", ["gpt-4.1"])
    old.catalogue.listing.replace("groq", ["llama"])
    new = Runtime(Settings.model_validate(BASE), {**environ, "GROQ_API_KEY": "gsk_canary0002"}, before=old)
    assert dict(new.catalogue.listing.models) == {"openai": ("gpt-4.1",)}
    await old.aclose()
