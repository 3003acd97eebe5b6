"""Looks at what a provider has, and brings back what became of it; begins nothing there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from adapters.batches import Answered, Standing
from gateway.batches.consigned import ConsignedLines, Way
from gateway.batches.held import HeldMoney
from gateway.batches.lines import lost, refused
from gateway.batches.provider import ProviderBatches, ProviderRefused, ProviderUnclear
from gateway.batches.running import Done, Ending
from gateway.batches.visit import HoldLost, Visit, end_of
from gateway.errors import GatewayError, Internal
from gateway.storage.base import DAY_MS
from gateway.storage.jobs import COMPLETED, FAILED, Consignment, Line

_SHORTEST_MS: Final = 10_000
_LONGEST_MS: Final = 300_000
"""Between two looks at a consignment; they become longer the longer it takes."""
_SHARE: Final = 8
_PATIENCE_MS: Final = DAY_MS
"""How long after its end a batch waits for a provider that cannot be asked: its answers are paid for."""
_RECORDED_SECONDS: Final = 10.0
"""How long it is waited until what answers have cost is in storage."""
_log = logging.getLogger("anyport.batches")


class Collector:
    """Brings consignments that were sent, or may have been, to their end."""

    def __init__(self, lines: ConsignedLines, held: HeldMoney, now_ms: Callable[[], int]) -> None:
        self._lines = lines
        self._held = held
        self._now_ms = now_ms

    async def step(self, visit: Visit, consignment: Consignment, lines: Sequence[Line]) -> None:
        """Brings one a step further, if the provider can be asked; raises HoldLost."""
        try:
            way = self._lines.way(visit, consignment, lines[0])
            if way is None:
                raise ProviderUnclear(_missing(visit, consignment))
            provider = ProviderBatches(visit.runtime, way.deployment, way.key)
            if consignment.state == "sending":
                await self._find(visit, consignment, provider)
            else:
                await self._look(visit, way, lines, provider)
        except (ProviderRefused, ProviderUnclear, GatewayError) as error:
            if self._is_too_late(visit):
                await self._give_up(visit, consignment, lines, str(error))  # else the batch would never end
                return
            _log.warning("a batch of %s at %s cannot be looked at: %s", visit.batch.id, consignment.deployment, error)
            if visit.is_ending and consignment.state == "there":
                # Whoever has ended it may have a clock that is ahead of ours.
                consignment = replace(consignment, since_ms=max(self._now_ms(), end_of(visit.batch)))
            await self._later(visit, consignment)

    async def is_there(self, visit: Visit, consignment: Consignment, standing: Standing) -> bool:
        """Notes what the provider calls it, whoever holds the batch; returns False if that has it no more."""
        now_ms = self._now_ms()
        there = replace(
            consignment, state="there", remote_id=standing.id, since_ms=now_ms, look_at_ms=now_ms + _SHORTEST_MS
        )
        if await visit.jobs.put_consignment(visit.batch.id, there) is None:
            return False
        _log.info("%s has %d lines of %s as %s", there.deployment, there.count, visit.batch.id, there.remote_id)
        return True

    async def drop(self, visit: Visit, consignment: Consignment) -> None:
        """Forgets a consignment; lines of it that are not done wait again. Raises HoldLost."""
        self._held.release(consignment.id)
        if not await visit.jobs.drop_consignment(visit.batch.id, consignment.id, visit.holder):
            raise HoldLost
        visit.runtime.shared.stored.thing.spending.forget(consignment.id)

    async def _find(self, visit: Visit, consignment: Consignment, provider: ProviderBatches) -> None:
        """Finds out whether the provider has what was about to be sent."""
        found = await provider.find(consignment.id, consignment.count, consignment.since_ms / 1000)
        if found is not None:
            await self.is_there(visit, consignment, found)
            return
        name = consignment.deployment
        _log.warning("%s has taken no batch of %s; its lines are made one by one", name, visit.batch.id)
        await self.drop(visit, consignment)
        await provider.withdraw(consignment.uploaded.encode())

    async def _look(self, visit: Visit, way: Way, lines: Sequence[Line], provider: ProviderBatches) -> None:
        consignment = way.consignment
        standing = await provider.look(consignment.remote_id)
        if standing is None:
            name, id = way.deployment.id, consignment.remote_id
            _log.warning("%s has batch %s no more; its lines are made one by one", name, id)
            await self.drop(visit, consignment)
        elif standing.is_over:
            ids = [f"{consignment.id}-{line.number}" for line in lines] if len(lines) == consignment.count else []
            by_id = {f"{consignment.id}-{line.number}": line for line in lines}
            async with aclosing(provider.answers(standing, ids)) as parts:
                async for answers in parts:
                    await self._collect(visit, way, by_id, answers)
            # What they have cost is in the sums before it is reserved no more.
            await visit.runtime.books.drain(_RECORDED_SECONDS)
            await self.drop(visit, consignment)
            await provider.clear(standing)
        elif visit.is_ending and consignment.state == "there":
            await provider.cancel(consignment.remote_id)
            now_ms = self._now_ms()
            cancelling = replace(consignment, state="cancelling", since_ms=now_ms, look_at_ms=now_ms + _SHORTEST_MS)
            await visit.jobs.put_consignment(visit.batch.id, cancelling)
        elif self._is_too_late(visit):
            raise ProviderUnclear("it has not come to its end there, a day after that of the batch")
        else:
            await self._later(visit, consignment)

    async def _collect(self, visit: Visit, way: Way, by_id: dict[str, Line], answers: Sequence[Answered]) -> None:
        """Ends the lines that were answered, and takes them out of `by_id`; the others are still held."""
        for said in answers:
            line = by_id.pop(said.id, None)
            if line is not None:
                await self._end(visit, way, line, said)

    async def _end(self, visit: Visit, way: Way, line: Line, said: Answered) -> None:
        jobs, metrics, id = visit.jobs, visit.runtime.metrics, way.consignment.id
        try:
            ending: Ending = self._lines.ending(visit, way, line, said, self._held.lease(id, line.number))
        except GatewayError:
            raise
        except Exception:  # one answer that cannot be read keeps no other back
            _log.exception("line %d of %s failed inside the gateway", line.number, visit.batch.id)
            ending = Done(FAILED, refused(line, "", Internal("the gateway failed; its log has details")))
        result = "again"
        metrics.batch_line_begun()
        try:
            if isinstance(ending, Done):
                await jobs.end_line(line, id, ending.state, ending.result)
                result = "completed" if ending.state == COMPLETED else "failed"
            else:
                await jobs.give_back(line, id, 0, is_tried=ending.is_tried)
        finally:
            metrics.batch_line_ended(result)

    async def _give_up(self, visit: Visit, consignment: Consignment, lines: Sequence[Line], why: str) -> None:
        """Ends lines whose answers nobody can fetch; each says so."""
        said = "answers of %d lines of %s at %s as %s are lost, and may have to be paid: %s"
        name = consignment.remote_id or consignment.id
        _log.error(said, len(lines), visit.batch.id, consignment.deployment, name, why)
        for line in lines:
            await visit.jobs.end_line(line, consignment.id, FAILED, lost(line))
        await self.drop(visit, consignment)

    def _is_too_late(self, visit: Visit) -> bool:
        return visit.is_ending and self._now_ms() > visit.batch.expires_at_ms + _PATIENCE_MS

    async def _later(self, visit: Visit, consignment: Consignment) -> None:
        now_ms = self._now_ms()
        pause = min(max((now_ms - consignment.since_ms) // _SHARE, _SHORTEST_MS), _LONGEST_MS)
        await visit.jobs.put_consignment(visit.batch.id, replace(consignment, look_at_ms=now_ms + pause))


def _missing(visit: Visit, consignment: Consignment) -> str:
    last = datetime.fromtimestamp((visit.batch.expires_at_ms + _PATIENCE_MS) // 1000, UTC)
    return (
        f"its answers wait there, and the configuration has {consignment.model or consignment.deployment}, or the "
        f"credential that it was sent with, no more; put both back before {last:%Y-%m-%d %H:%M} UTC, or they are lost"
    )
