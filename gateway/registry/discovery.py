"""Finds model servers on this machine and asks providers which models they have. Free calls only.

Several local servers share a default port (llama.cpp, TGI and MLX all take 8080), so a place is asked once and the
answer attributed to one row by what only that server has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from adapters.codec import JSON, as_list, as_object, decode
from adapters.hosts import is_local_host
from adapters.ollama.models import read_mark
from adapters.types import Headers, HttpRequest, Operation
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.resolve import operation_url, probe_url
from gateway.credentials.sign import signed
from gateway.registry.adapters import paths_of
from gateway.registry.catalogue import Catalogue
from gateway.registry.provider import Provider
from gateway.registry.registry import is_keyless
from gateway.transport.base import TransportError
from gateway.transport.control import ControlClient, ControlReply

Status = Literal["ok", "offline", "auth", "error"]

PROBE_SECONDS: Final = 1.5
LISTING_SECONDS: Final = 10.0
HOSTED_EVERY_SECONDS: Final = 600.0
"""Model lists of hosted providers change rarely, and theirs is a rate limit to respect."""
MAX_MODELS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Probe:
    """What one provider answered when it was asked for its models."""

    provider: Provider
    base_url: str
    status: Status
    models: tuple[str, ...] = ()
    detail: str = ""
    seconds: float = 0.0


class Discovery:
    """Asks, and keeps the catalogue's listing up to date."""

    def __init__(
        self,
        catalogue: Catalogue,
        client: ControlClient,
        *,
        changed: Callable[[], None],
        ended: Callable[[Probe], None],
    ) -> None:
        """`changed` is called when models came or went, `ended` after every probe."""
        self._catalogue = catalogue
        self._client = client
        self._changed = changed
        self._ended = ended
        self.first_done = asyncio.Event()
        self.hosted_due = 0.0
        """When all hosted lists are asked for again, monotonic seconds; until then only those that are not known."""

    async def run(self, interval_seconds: float) -> None:
        """Looks for local servers every `interval_seconds`, and at hosted lists more rarely, until cancelled."""
        async with asyncio.TaskGroup() as group:  # a hosted list that is slow to come holds up no local one
            group.create_task(self._run_local(interval_seconds))
            group.create_task(self._run_hosted())

    async def _run_local(self, interval_seconds: float) -> None:
        while True:
            began = time.monotonic()
            await self.look_local()
            self.first_done.set()
            await asyncio.sleep(max(0.1, interval_seconds - (time.monotonic() - began)))

    async def _run_hosted(self) -> None:
        while True:
            is_due = time.monotonic() >= self.hosted_due
            if is_due:
                self.hosted_due = time.monotonic() + HOSTED_EVERY_SECONDS
            await self.look_hosted(only_unknown=not is_due)
            await asyncio.sleep(max(0.1, self.hosted_due - time.monotonic()))

    async def look_local(self) -> list[Probe]:
        """Probes every local row at once and returns what was found, in the rows' order."""
        providers = self._catalogue.local()
        places: dict[str, list[Provider]] = {}
        for provider in providers:
            for base_url in _places(provider):
                places.setdefault(base_url, []).append(provider)
        answers = await asyncio.gather(*(self._look_at(place, rows) for place, rows in places.items()))
        best: dict[str, Probe] = {}
        for probe in (probe for group in answers for probe in group):
            known = best.get(probe.provider.spec.id)
            if known is None or (known.status != "ok" and probe.status != "offline"):
                best[probe.provider.spec.id] = probe
        probes = [best[provider.spec.id] for provider in providers]
        self._note(probes)
        return probes

    async def look_hosted(self, *, only_unknown: bool = False) -> list[Probe]:
        """Asks every ready hosted provider for its models, or those that have not told them yet."""
        local = {provider.spec.id for provider in self._catalogue.local()}
        hosted = [p for p in self._catalogue.ready() if p.spec.id not in local and p.spec.probe]
        if only_unknown:
            hosted = [p for p in hosted if p.spec.id not in self._catalogue.listing.models]
        probes = list(await asyncio.gather(*(self.ask(provider) for provider in hosted)))
        self._note([probe for probe in probes if probe.status == "ok"])
        return probes

    async def ask(self, provider: Provider, base_url: str | None = None, seconds: float = LISTING_SECONDS) -> Probe:
        """Asks one provider for its models."""
        base_url = base_url or provider.base_url
        began = time.monotonic()
        paths = paths_of(provider.spec)
        has_list = Operation.MODELS in paths
        url = operation_url(paths, base_url, Operation.MODELS) if has_list else base_url
        request = HttpRequest("GET", url, provider.spec.headers)
        try:
            request = signed(request, await provider.key_ring.sign(request))
        except CredentialUnavailable as error:
            return Probe(provider, base_url, "auth", detail=error.message, seconds=time.monotonic() - began)
        if not has_list:
            return await self._reach(provider, base_url, seconds, began)
        reply = await self._get(url, request.headers, seconds)
        if isinstance(reply, str):
            return Probe(provider, base_url, "offline", detail=reply, seconds=time.monotonic() - began)
        return _read(provider, base_url, reply, time.monotonic() - began)

    async def _reach(self, provider: Provider, base_url: str, seconds: float, began: float) -> Probe:
        """Knocks at a provider that has no list of models: whatever it answers without a key, it is there."""
        parts = urlsplit(base_url)
        reply = await self._get(f"{parts.scheme}://{parts.netloc}/", (), seconds)
        status = "offline" if isinstance(reply, str) else "ok"
        detail = reply if isinstance(reply, str) else "there, but without a list of models: the credential is not tried"
        return Probe(provider, base_url, status, detail=detail, seconds=time.monotonic() - began)

    async def _look_at(self, base_url: str, rows: Sequence[Provider]) -> list[Probe]:
        owner = rows[0] if len(rows) == 1 else await self._owner(base_url, rows)
        if owner is None:
            return [Probe(row, base_url, "offline") for row in rows]
        asked = await self.ask(owner, base_url, PROBE_SECONDS)
        return [
            asked
            if row is owner
            else Probe(row, base_url, "offline", detail=f"{owner.spec.id} answers there", seconds=asked.seconds)
            for row in rows
        ]

    async def _owner(self, base_url: str, rows: Sequence[Provider]) -> Provider | None:
        """Returns the row that the server at `base_url` belongs to, None if nobody answers.

        Nothing but free paths without a key: a key is for the server that it was made for.
        """
        anybody = await self._get(operation_url(paths_of(rows[0].spec), base_url, Operation.MODELS), (), PROBE_SECONDS)
        if isinstance(anybody, str):
            return None
        for row in rows:
            mark, url = _MARKS.get(row.spec.id), probe_url(row.spec, base_url)
            if mark is not None and url is not None:
                reply = await self._get(url, (), PROBE_SECONDS)
                if not isinstance(reply, str) and mark(reply):
                    return row
        return next((row for row in rows if row.spec.id not in _MARKS), rows[0])

    async def _get(self, url: str, headers: Headers, seconds: float) -> ControlReply | str:
        try:
            return await self._client.get(url, headers=headers, timeout_seconds=seconds)
        except TransportError as error:
            return error.message

    def _note(self, probes: Sequence[Probe]) -> None:
        is_changed = False
        for probe in probes:
            spec = probe.provider.spec
            is_ok = probe.status == "ok"
            is_changed = self._catalogue.listing.replace(spec.id, probe.models if is_ok else None) or is_changed
            elsewhere = probe.base_url if is_ok and probe.base_url != probe.provider.base_url else None
            self._catalogue.found_at(spec.id, elsewhere)
            self._ended(probe)
        if is_changed:
            self._changed()


def _is_llama_cpp(reply: ControlReply) -> bool:
    return reply.status == 200 or "llama.cpp" in reply.headers.get("server", "").lower()


def _is_tgi(reply: ControlReply) -> bool:
    return reply.status == 200 and b'"model_id"' in reply.body


_MARKS: Final[Mapping[str, Callable[[ControlReply], bool]]] = {"llama-cpp": _is_llama_cpp, "tgi": _is_tgi}
"""What the answer at a row's own probe path says where several servers share a port."""


def _places(provider: Provider) -> list[str]:
    """The configured place, or the default one and the row's other usual ports."""
    if provider.is_configured:
        return [provider.base_url]
    return [provider.base_url, *provider.spec.regions.values()]


def _read(provider: Provider, base_url: str, reply: ControlReply, seconds: float) -> Probe:
    if reply.status in (401, 403):
        return Probe(provider, base_url, "auth", detail=f"HTTP {reply.status}", seconds=seconds)
    if reply.status != 200:
        return Probe(provider, base_url, "error", detail=f"HTTP {reply.status}", seconds=seconds)
    models = model_ids(reply.body)
    if models is None:
        return Probe(provider, base_url, "error", detail="not a list of models", seconds=seconds)
    return Probe(provider, base_url, "ok", _own(provider, base_url, models), seconds=seconds)


def _own(provider: Provider, base_url: str, models: Sequence[str]) -> tuple[str, ...]:
    """Leaves out what would be refused: what a local Ollama lists of its cloud, and what wants a key where none is."""
    spec = provider.spec
    if provider.key_ring.is_empty:
        models = [model for model in models if is_keyless(spec, model)]
    if spec.protocol != "ollama" or spec.options.cloud_suffix == "keep" or not is_local_host(base_url):
        return tuple(models)
    return tuple(model for model in models if read_mark(model)[1] != "cloud")


def model_ids(body: bytes) -> tuple[str, ...] | None:
    """Returns the ids of a model list in any shape (OpenAI's, Google's, Together's array); None if it is none."""
    try:
        decoded: JSON = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    members = as_object(decoded)
    if not isinstance(decoded, list) and not isinstance(members.get("data", members.get("models")), list):
        return None
    items = as_list(decoded) or as_list(members.get("data")) or as_list(members.get("models"))
    ids = (as_object(item).get("id") or as_object(item).get("name") for item in items[:MAX_MODELS])
    # Google names a model by its place in its API: `models/gemini-...`.
    return tuple(dict.fromkeys(id.removeprefix("models/") for id in ids if isinstance(id, str) and id))
