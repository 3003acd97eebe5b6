"""The admin API of the live state: routes, deployments, upstream keys, explanations, reload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from adapters.codec import is_null
from gateway.engine.script import BadScript, Script, read_script
from gateway.errors import CallerError, InvalidRequest, LedgerUnavailable, UnknownUrl
from gateway.http.admin.door import Door
from gateway.http.admin.explained import MINIMAL, prepared, read_explained
from gateway.http.admin.pardons import Pardons
from gateway.http.admin.reading import Asked
from gateway.http.admin.states import deployment_state, deployment_states, route_states, upstream_keys
from gateway.reload.reloader import Reload
from gateway.runtime import Runtime
from gateway.storage.base import AuditEntry, StorageUnavailable, wall_ms

ACTOR = "admin API"
"""Who the audit log names."""


def add_live_paths(door: Door, current: Callable[[], Runtime], reload: Reload, pardons: Pardons) -> None:
    """Adds the paths; `current` returns the runtime that is in use."""

    async def explain(asked: Asked) -> object:
        fields = asked.fields
        body = MINIMAL if is_null(asked.raw.get("body")) else bytes(asked.raw["body"])
        call = read_explained(fields["model"], body)
        return await asyncio.to_thread(prepared(current(), call, _script(fields.get("fail") or ""), fields.get("seed")))

    async def routes(asked: Asked) -> object:
        return {"data": route_states(current())}

    async def deployments(asked: Asked) -> object:
        return {"data": deployment_states(current(), time.monotonic())}

    async def reset(asked: Asked) -> object:
        return await _reset(current(), pardons, asked.id)

    async def keys(asked: Asked) -> object:
        return {"data": upstream_keys(current(), time.monotonic())}

    async def read_again(asked: Asked) -> object:
        reloaded = await reload("POST /admin/reload")
        if not reloaded.ok:
            faults = "\n".join(fault.text for fault in reloaded.faults)
            details = {"faults": msgspec.to_builtins(reloaded.faults)}
            message = f"the configuration was not reloaded:\n{faults}"
            raise CallerError(message, status=422, details=details)
        return reloaded

    door.add("POST", "/admin/explain", explain)
    door.add("GET", "/admin/routes", routes)
    door.add("GET", "/admin/deployments", deployments)
    door.add("POST", "/admin/deployments/{id:path}/reset", reset)
    door.add("GET", "/admin/keys/upstream", keys)
    door.add("POST", "/admin/reload", read_again)


async def _reset(runtime: Runtime, pardons: Pardons, id: str) -> object:
    """Ends the rest of all deployments of this name; what the audit log cannot be told does not happen."""
    if not pardons.find(id):
        raise UnknownUrl(f"there is no deployment {id[:64]!r}; see GET /admin/deployments")
    entry = AuditEntry(wall_ms(), ACTOR, "deployment.reset", f"deployment:{id}")
    try:
        await (await runtime.books.storage()).audit(entry)
    except StorageUnavailable:
        raise LedgerUnavailable("the audit log cannot be written now; its trouble is in the log") from None
    await pardons.everywhere(id)
    deployment, names = pardons.find(id)[0]
    return deployment_state(deployment, names, time.monotonic())


def _script(text: str) -> Script:
    try:
        return read_script(text)
    except BadScript as error:
        raise InvalidRequest(f"fail: {error}", code="invalid_value", param="fail") from None
