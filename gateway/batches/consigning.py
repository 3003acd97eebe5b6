"""Gives lines of batches to providers' own batch APIs, and brings back what came of them.

Theory. A consignment is some lines of one batch at one deployment. That it is about to be sent is written down before
it is, under a name that goes along, and what the provider calls it right after. So whoever goes on after a process has
died finds it at the provider, or finds that there is none, and nothing is sent twice. Only who still holds the batch
writes that down: one that was out of the world for so long that another one took it stops before it begins anything
there. Lines are held in its name as long as it lives; what the provider has not done, and what it would not take, is
made as ordinary lines. The record of an answer has a name of its own, too: read twice, it counts once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from adapters.batches import Standing
from gateway.batches.collecting import Collector
from gateway.batches.consigned import ConsignedLines, Prepared, item_of, public_model
from gateway.batches.held import HeldMoney
from gateway.batches.lines import ENDPOINTS
from gateway.batches.provider import CALL_SECONDS, ProviderBatches, ProviderRefused, ProviderUnclear
from gateway.batches.visit import HoldLost, Visit, end_of
from gateway.credentials.keyring import Key
from gateway.runtime import Runtime
from gateway.storage.jobs import Batch, Consignment, Jobs, Line

_MOST_LINES: Final = 2_000
_MOST_BYTES: Final = 15 * 1024 * 1024
"""Of one consignment: what is sent is in memory at once."""
_MOST_ROUNDS: Final = 8
"""Over all lines: where a route sends neighbours to different places, each round finds fewer of them."""
_SENDING_MS: Final = int(2 * CALL_SECONDS * 1000)
"""How long after it was about to be sent nobody else asks what became of that."""
_READ_MS: Final = 15_000
"""After that every replica has read what was written down of a consignment."""
_LONGEST_UPLOADED: Final = 4_000
"""An answer to an upload has some hundred bytes; the document of a batch is no place for longer ones."""
_log = logging.getLogger("anyport.batches")


class Consigner:
    """Brings the consignments of one process forward; whoever calls holds the batch."""

    def __init__(self, lines: ConsignedLines, now_ms: Callable[[], int]) -> None:
        self._lines = lines
        self._now_ms = now_ms
        self._held = HeldMoney()
        self._collector = Collector(lines, self._held, now_ms)

    def is_due(self, batch: Batch) -> bool:
        """Says whether there is something to do for a batch."""
        now_ms = self._now_ms()
        if batch.lane == "provider" and batch.status == "in_progress" and not _is_ending(batch, now_ms):
            return True
        return any(_is_looked_at(each, batch, now_ms) for each in batch.consignments)

    def known(self) -> frozenset[str]:
        """Returns the consignments for which something is held here."""
        return self._held.ids

    def forget(self, known: frozenset[str], batches: Sequence[Batch]) -> None:
        """Gives back what is held for consignments that have come to their end, or are written down for long enough.

        `known` is what was known before it was asked which batches are at work.
        """
        now_ms = self._now_ms()
        there = {each.id: each for batch in batches for each in batch.consignments}
        for id in known:
            found = there.get(id)
            if found is None or (found.sent_ms and now_ms - found.sent_ms >= _READ_MS):
                self._held.release(id)

    def close(self) -> None:
        """Gives back everything that is held here."""
        self._held.release_all()

    async def bring_forward(self, jobs: Jobs, runtime: Runtime, batch: Batch, holder: str) -> None:
        """Sends what is to be sent, and looks at what is due."""
        now_ms = self._now_ms()
        visit = Visit(jobs, runtime, batch, holder, _is_ending(batch, now_ms))
        try:
            for each in batch.consignments:
                if _is_looked_at(each, batch, now_ms):
                    await self._step(visit, each)
            if batch.lane == "provider" and not visit.is_ending:
                await self._consign_all(visit)
                await jobs.set_lane(batch.id, "ordinary")
        except HoldLost:
            _log.info("%s was taken by another one, or cancelled, while it was at a provider", batch.id)

    async def _step(self, visit: Visit, consignment: Consignment) -> None:
        """Brings one consignment a step further."""
        lines = await visit.jobs.consigned(visit.batch.id, consignment.id)
        if not lines or (visit.is_ending and consignment.state == "new"):
            await self._collector.drop(visit, consignment)
        elif consignment.state == "new":  # whoever wanted to send it has died before
            await self._send(visit, consignment, lines)
        else:
            await self._collector.step(visit, consignment, lines)

    async def _consign_all(self, visit: Visit) -> None:
        """Sends lines that wait, from the first to the last, and again those that went elsewhere than their neighbours.

        Never from the first after each consignment: lines that cannot go would be prepared again for each that can.
        """
        for _ in range(_MOST_ROUNDS):
            last = -1
            while lines := await self._consign(visit, last):
                last = lines[-1].number
            if lines is None or last < 0:
                return

    async def _consign(self, visit: Visit, after: int) -> Sequence[Line] | None:
        """Sends some of the lines that wait behind one; returns those that were looked at, None if no more may go."""
        now_ms = self._now_ms()
        new = Consignment(secrets.token_hex(12), "", "new", now_ms)
        place = visit.batch.id, visit.holder
        lines = await visit.jobs.consign(*place, new, _MOST_LINES, _MOST_BYTES, now_ms, after=after)
        return lines if not lines or await self._send(visit, new, lines) else None

    async def _send(self, visit: Visit, consignment: Consignment, lines: Sequence[Line]) -> bool:
        """Sends a consignment of which the provider has nothing; says whether another one may follow."""
        chosen, others = await self._chosen(visit, consignment, lines)
        if not chosen:
            await self._collector.drop(visit, consignment)
            return False
        deployment = chosen[0].deployment
        key = deployment.key_ring.keys[0]
        provider, operation = ProviderBatches(visit.runtime, deployment, key), ENDPOINTS[visit.batch.endpoint]
        items = [item_of(consignment, each) for each in chosen]
        uploaded = b""
        try:
            uploaded = await provider.upload(operation, items, consignment.id)
            sending = await self._begin(visit, replace(consignment, uploaded=_short(uploaded)), chosen, key)
            for line in others:
                await visit.jobs.give_back(line, consignment.id, 0, is_tried=False)
            if others:  # which may have taken long
                sending = await self._about_to_send(visit, sending)
            standing = await provider.submit(operation, items, consignment.id, uploaded)
            if not await self._collector.is_there(visit, sending, standing):
                await self._stop(visit, provider, standing)
                raise HoldLost
            return True
        except HoldLost:
            self._held.release(consignment.id)
            await provider.withdraw(uploaded)
            raise
        except ProviderRefused as refused:
            name = deployment.id
            _log.warning("%s takes no batch of %s: %s; its lines are made one by one", name, visit.batch.id, refused)
            try:
                await self._collector.drop(visit, consignment)
            finally:
                await provider.withdraw(uploaded)
        except ProviderUnclear as unclear:
            _log.warning(
                "whether %s has taken a batch of %s is asked later: %s", deployment.id, visit.batch.id, unclear
            )
        return False

    async def _begin(self, visit: Visit, consignment: Consignment, chosen: Sequence[Prepared], key: Key) -> Consignment:
        """Writes down that a consignment is about to be sent; raises HoldLost if it is not to be."""
        deployment = chosen[0].deployment
        sending = replace(
            consignment,
            deployment=deployment.id,
            state="sending",
            provider=deployment.provider,
            model=public_model(deployment),
            price=deployment.price if deployment.is_price_own else None,
            key=key.account.fingerprint,
            sent_ms=self._now_ms(),
            count=len(chosen),
            reserved_nano_usd=self._held.nano_usd(consignment.id),
        )
        return await self._about_to_send(visit, sending)

    async def _about_to_send(self, visit: Visit, consignment: Consignment) -> Consignment:
        """Writes down that for a while nobody need ask what became of it; raises HoldLost if it is not to be sent."""
        now_ms = self._now_ms()
        sending = replace(consignment, since_ms=now_ms, look_at_ms=now_ms + _SENDING_MS)
        if _is_ending(visit.batch, now_ms):
            raise HoldLost
        if await visit.jobs.put_consignment(visit.batch.id, sending, visit.holder) is None:
            raise HoldLost
        return sending

    async def _stop(self, visit: Visit, provider: ProviderBatches, standing: Standing) -> None:
        """Ends what was begun though others had found that there is nothing, and make the lines themselves."""
        said = "%s has lines of %s as %s that are made elsewhere, too: this process was held up; it is cancelled there"
        _log.warning(said, provider.name, visit.batch.id, standing.id)
        with suppress(ProviderRefused, ProviderUnclear):
            await provider.cancel(standing.id)

    async def _chosen(
        self, visit: Visit, consignment: Consignment, lines: Sequence[Line]
    ) -> tuple[list[Prepared], list[Line]]:
        """Returns the lines that go to one deployment with the same headers, and the others."""
        chosen: list[Prepared] = []
        others: list[Line] = []
        self._held.begin(consignment.id, visit.runtime)
        for line in lines:
            await asyncio.sleep(0)  # they are many, and somebody may wait
            prepared = await self._lines.prepared(visit, line)
            if prepared is not None and (not chosen or _go_together(prepared, chosen[0])):
                chosen.append(prepared)
                self._held.add(consignment.id, line.number, prepared.lease)
                continue
            if prepared is not None and prepared.lease is not None:
                prepared.lease.release()
            others.append(line)
        return chosen, others


def _short(uploaded: bytes) -> str:
    return uploaded.decode(errors="replace") if len(uploaded) <= _LONGEST_UPLOADED else ""


def _go_together(one: Prepared, other: Prepared) -> bool:
    is_alike = (one.request.url, one.request.headers) == (other.request.url, other.request.headers)
    return is_alike and one.deployment.id == other.deployment.id


def _is_ending(batch: Batch, now_ms: int) -> bool:
    return batch.status != "in_progress" or batch.expires_at_ms <= now_ms


def _is_looked_at(consignment: Consignment, batch: Batch, now_ms: int) -> bool:
    """Says whether something is to be done: in its time, and at once when the batch has to end, but that once."""
    if consignment.look_at_ms <= now_ms:
        return True
    is_new_to_us = consignment.state in ("new", "there") and consignment.since_ms < end_of(batch)
    return _is_ending(batch, now_ms) and is_new_to_us
