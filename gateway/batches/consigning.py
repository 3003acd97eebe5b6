"""Gives lines of batches to providers' own batch APIs, and brings back what came of them.

Theory. A consignment is some lines of one batch at one deployment. That it is about to be sent is written down before
it is, under a name that goes along, and what the provider calls it right after. So whoever goes on after a process has
died finds it at the provider, or finds that there is none, and nothing is sent twice. Lines are held in its name as
long as it lives; what the provider has not done, and what it would not take, is made as ordinary lines. The record of
an answer has a name of its own, too: read twice, it counts once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

from msgspec.structs import replace

from adapters.batches import Answered, Standing
from gateway.batches.consigned import ConsignedLines, Prepared, item_of
from gateway.batches.lines import ENDPOINTS, refused
from gateway.batches.provider import CALL_SECONDS, ProviderBatches, ProviderRefused, ProviderUnclear
from gateway.batches.running import Done, Ending
from gateway.credentials.keyring import Key
from gateway.engine.gate import Lease
from gateway.errors import GatewayError, Internal
from gateway.routing.deployment import Deployment
from gateway.runtime import Runtime
from gateway.storage.jobs import COMPLETED, FAILED, Batch, Consignment, Jobs, Line

_MOST_LINES: Final = 2_000
_MOST_BYTES: Final = 15 * 1024 * 1024
"""Of one consignment: what is sent is in memory at once."""
_SHORTEST_MS: Final = 10_000
_LONGEST_MS: Final = 300_000
"""Between two looks at a consignment; they become longer the longer it takes."""
_SHARE: Final = 8
_PATIENCE_MS: Final = 3_600_000
"""How long after its end a batch waits for a provider that cannot be asked."""
_SENDING_MS: Final = int(2 * CALL_SECONDS * 1000)
"""How long after it was about to be sent nobody else asks what became of that."""
_log = logging.getLogger("anyport.batches")


class Consigner:
    """Brings the consignments of one process forward; whoever calls holds the batch."""

    def __init__(self, lines: ConsignedLines, now_ms: Callable[[], int]) -> None:
        self._lines = lines
        self._now_ms = now_ms
        self._leases: dict[str, dict[int, Lease]] = {}
        """What lines of consignments may cost at most, while this process knows of them."""

    def is_due(self, batch: Batch) -> bool:
        """Says whether there is something to do for a batch."""
        now_ms = self._now_ms()
        if batch.lane == "provider" and batch.status == "in_progress" and not _is_ending(batch, now_ms):
            return True
        return any(_is_looked_at(each, batch, now_ms) for each in batch.consignments)

    def known(self) -> frozenset[str]:
        """Returns the consignments for which something is held here."""
        return frozenset(self._leases)

    def forget(self, known: frozenset[str], batches: Sequence[Batch]) -> None:
        """Gives back what is held for consignments that others have brought to their end.

        `known` is what was known before it was asked which batches are at work.
        """
        for id in known - {each.id for batch in batches for each in batch.consignments}:
            self._release(id)

    async def bring_forward(self, jobs: Jobs, runtime: Runtime, batch: Batch, holder: str) -> None:
        """Sends what is to be sent, and looks at what is due."""
        now_ms = self._now_ms()
        is_ending = _is_ending(batch, now_ms)
        for each in batch.consignments:
            if _is_looked_at(each, batch, now_ms):
                await self._step(jobs, runtime, batch, each, is_ending=is_ending)
        if batch.lane == "provider" and not is_ending:
            while await self._consign(jobs, runtime, batch, holder):
                pass
            await jobs.set_lane(batch.id, "ordinary")

    async def _consign(self, jobs: Jobs, runtime: Runtime, batch: Batch, holder: str) -> bool:
        """Sends some of the lines that wait; says whether there may be more."""
        now_ms = self._now_ms()
        new = Consignment(secrets.token_hex(12), "", "new", now_ms)
        lines = await jobs.consign(batch.id, holder, new, _MOST_LINES, _MOST_BYTES, now_ms)
        return bool(lines) and await self._send(jobs, runtime, batch, new, lines)

    async def _send(
        self, jobs: Jobs, runtime: Runtime, batch: Batch, consignment: Consignment, lines: Sequence[Line]
    ) -> bool:
        """Sends a consignment of which the provider has nothing; says whether another one may follow."""
        chosen = await self._chosen(jobs, runtime, batch, consignment, lines)
        if not chosen:
            await self._drop(jobs, batch, consignment)
            return False
        deployment = chosen[0].deployment
        key = _key(deployment, consignment.key) or deployment.key_ring.keys[0]
        provider, operation = ProviderBatches(runtime, deployment, key), ENDPOINTS[batch.endpoint]
        items = [item_of(consignment, each) for each in chosen]
        try:
            uploaded = await provider.upload(operation, items, consignment.id)
            now_ms = self._now_ms()
            sending = replace(
                consignment,
                deployment=deployment.id,
                state="sending",
                since_ms=now_ms,
                look_at_ms=now_ms + _SENDING_MS,
                key=key.account.fingerprint,
                count=len(items),
            )
            current = await jobs.put_consignment(batch.id, sending)
            if current is None or _is_ending(current, now_ms):  # cancelled while it was uploaded
                await self._drop(jobs, batch, consignment)
                return False
            standing = await provider.submit(operation, items, consignment.id, uploaded)
            await self._is_there(jobs, batch, sending, standing)
            return True
        except ProviderRefused as refused:
            _log.warning("%s takes no batch of %s: %s; its lines are made one by one", deployment.id, batch.id, refused)
            await self._drop(jobs, batch, consignment)
        except ProviderUnclear as unclear:
            _log.warning("whether %s has taken a batch of %s is asked later: %s", deployment.id, batch.id, unclear)
        return False

    async def _chosen(
        self, jobs: Jobs, runtime: Runtime, batch: Batch, consignment: Consignment, lines: Sequence[Line]
    ) -> list[Prepared]:
        """Returns the lines that go to one deployment with the same headers; gives the others back."""
        chosen: list[Prepared] = []
        self._release(consignment.id)  # of a time before, when storage was away in the middle
        leases = self._leases[consignment.id] = {}
        for line in lines:
            await asyncio.sleep(0)  # they are many, and somebody may wait
            prepared = await self._lines.prepared(runtime, batch, line)
            first = chosen[0] if chosen else prepared
            if (
                prepared is None
                or first is None
                or prepared.deployment.id != first.deployment.id
                or (prepared.request.url, prepared.request.headers) != (first.request.url, first.request.headers)
                or consignment.deployment not in ("", prepared.deployment.id)
            ):
                if prepared is not None and prepared.lease is not None:
                    prepared.lease.release()
                await jobs.give_back(line, consignment.id, 0, is_tried=False)
                continue
            chosen.append(prepared)
            if prepared.lease is not None:
                leases[line.number] = prepared.lease
        return chosen

    async def _step(
        self, jobs: Jobs, runtime: Runtime, batch: Batch, consignment: Consignment, *, is_ending: bool
    ) -> None:
        """Brings one consignment a step further, if the provider can be asked."""
        lines = await jobs.consigned(batch.id, consignment.id)
        if not lines or (is_ending and consignment.state == "new"):
            await self._drop(jobs, batch, consignment)
            return
        if consignment.state == "new":  # whoever wanted to send it has died before
            await self._send(jobs, runtime, batch, consignment, lines)
            return
        deployment = self._lines.deployment(runtime, batch, lines[0], consignment.deployment)
        key = None if deployment is None else _key(deployment, consignment.key)
        try:
            if deployment is None or key is None:
                raise ProviderUnclear("the configuration has the deployment, or its credential, no more")
            provider = ProviderBatches(runtime, deployment, key)
            if consignment.state == "sending":
                await self._find(jobs, batch, consignment, provider)
            else:
                await self._look(jobs, runtime, batch, consignment, lines, provider, deployment, is_ending=is_ending)
        except (ProviderRefused, ProviderUnclear, GatewayError) as error:
            _log.warning("a batch of %s at %s cannot be looked at: %s", batch.id, consignment.deployment, error)
            if is_ending and (key is None or self._now_ms() > batch.expires_at_ms + _PATIENCE_MS):
                await self._drop(jobs, batch, consignment)  # else the batch would never end
                return
            if is_ending and consignment.state == "there":
                consignment = replace(consignment, since_ms=self._now_ms())
            await jobs.put_consignment(batch.id, replace(consignment, look_at_ms=self._next_look(consignment)))

    async def _find(self, jobs: Jobs, batch: Batch, consignment: Consignment, provider: ProviderBatches) -> None:
        """Finds out whether the provider has what was about to be sent."""
        found = await provider.find(consignment.id, consignment.count, consignment.since_ms / 1000)
        if found is not None:
            await self._is_there(jobs, batch, consignment, found)
        else:
            _log.warning("%s has taken no batch of %s; its lines are made one by one", consignment.deployment, batch.id)
            await self._drop(jobs, batch, consignment)

    async def _look(
        self,
        jobs: Jobs,
        runtime: Runtime,
        batch: Batch,
        consignment: Consignment,
        lines: Sequence[Line],
        provider: ProviderBatches,
        deployment: Deployment,
        *,
        is_ending: bool,
    ) -> None:
        standing = await provider.look(consignment.remote_id)
        if standing is None:
            _log.warning("%s has batch %s no more; its lines are made one by one", deployment.id, consignment.remote_id)
            await self._drop(jobs, batch, consignment)
        elif standing.is_over:
            ids = [f"{consignment.id}-{line.number}" for line in lines] if len(lines) == consignment.count else []
            by_id = {f"{consignment.id}-{line.number}": line for line in lines}
            async with aclosing(provider.answers(standing, ids)) as parts:
                async for answers in parts:
                    await self._collect(jobs, runtime, batch, consignment, deployment, by_id, answers)
            await self._drop(jobs, batch, consignment)
        elif is_ending and consignment.state == "there":
            await provider.cancel(consignment.remote_id)
            now_ms = self._now_ms()
            cancelling = replace(consignment, state="cancelling", since_ms=now_ms, look_at_ms=now_ms + _SHORTEST_MS)
            await jobs.put_consignment(batch.id, cancelling)
        else:
            await jobs.put_consignment(batch.id, replace(consignment, look_at_ms=self._next_look(consignment)))

    async def _collect(
        self,
        jobs: Jobs,
        runtime: Runtime,
        batch: Batch,
        consignment: Consignment,
        deployment: Deployment,
        by_id: dict[str, Line],
        answers: Sequence[Answered],
    ) -> None:
        """Ends the lines that were answered, and takes them out of `by_id`; the others are still held."""
        leases = self._leases.get(consignment.id, {})
        for said in answers:
            line = by_id.pop(said.id, None)
            if line is None:
                continue
            lease = leases.get(line.number)
            try:
                ending: Ending = self._lines.ending(runtime, batch, consignment, deployment, line, said, lease)
            except GatewayError:
                raise
            except Exception:  # one answer that cannot be read keeps no other back
                _log.exception("line %d of %s failed inside the gateway", line.number, batch.id)
                ending = Done(FAILED, refused(line, "", Internal("the gateway failed; its log has details")))
            result = "again"
            runtime.metrics.batch_line_begun()
            try:
                if isinstance(ending, Done):
                    await jobs.end_line(line, consignment.id, ending.state, ending.result)
                    result = "completed" if ending.state == COMPLETED else "failed"
                else:
                    await jobs.give_back(line, consignment.id, 0, is_tried=ending.is_tried)
            finally:
                runtime.metrics.batch_line_ended(result)

    async def _is_there(self, jobs: Jobs, batch: Batch, consignment: Consignment, standing: Standing) -> None:
        now_ms = self._now_ms()
        there = replace(
            consignment, state="there", remote_id=standing.id, since_ms=now_ms, look_at_ms=now_ms + _SHORTEST_MS
        )
        await jobs.put_consignment(batch.id, there)
        _log.info("%s has %d lines of %s as %s", there.deployment, there.count, batch.id, there.remote_id)

    async def _drop(self, jobs: Jobs, batch: Batch, consignment: Consignment) -> None:
        self._release(consignment.id)
        await jobs.drop_consignment(batch.id, consignment.id)

    def _release(self, id: str) -> None:
        for lease in self._leases.pop(id, {}).values():
            lease.release()  # does nothing for those that are settled

    def _next_look(self, consignment: Consignment) -> int:
        now_ms = self._now_ms()
        pause = (now_ms - consignment.since_ms) // _SHARE
        return now_ms + min(max(pause, _SHORTEST_MS), _LONGEST_MS)


def _is_ending(batch: Batch, now_ms: int) -> bool:
    return batch.status != "in_progress" or batch.expires_at_ms <= now_ms


def _is_looked_at(consignment: Consignment, batch: Batch, now_ms: int) -> bool:
    """Says whether something is to be done: in its time, and at once when the batch has to end, but that once."""
    if consignment.look_at_ms <= now_ms:
        return True
    end_ms = batch.cancelling_at_ms or batch.expires_at_ms
    return _is_ending(batch, now_ms) and consignment.state in ("new", "there") and consignment.since_ms < end_ms


def _key(deployment: Deployment, fingerprint: str) -> Key | None:
    """Returns the credential with a fingerprint: a provider shows a batch to whoever sent it, and to nobody else."""
    return next((key for key in deployment.key_ring.keys if key.account.fingerprint == fingerprint), None)
