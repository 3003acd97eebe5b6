"""Brings batches forward: checks their files, runs their lines while there is room, writes what came of them.

Theory. What is to be done stands in storage; every process looks there, takes what nobody holds, and holds it for
`HOLD_SECONDS`, again and again while it works. A process that dies holds nothing any more after that time, and what it
had begun is begun once more by whoever comes first. What is done is written down before anything else is begun in its
place, so that it is never done again. Requests that somebody waits for go first: while there are many of them no line
is begun.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from msgspec.structs import replace

from gateway.batches.checking import check_batch
from gateway.batches.consigned import ConsignedLines
from gateway.batches.consigning import Consigner
from gateway.batches.finishing import finish_batch
from gateway.batches.lines import refused
from gateway.batches.running import MAX_TRIES, Done, Ending, LineRunner, Pause
from gateway.engine.ending import end_all
from gateway.errors import Internal
from gateway.reload.holder import RuntimeHolder
from gateway.runtime import Runtime
from gateway.storage.base import DAY_MS, StorageError, wall_ms
from gateway.storage.jobs import COMPLETED, FAILED, Batch, Jobs, Line

HOLD_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 10.0
"""When storage that could not be opened is asked again."""
_ROOM_SECONDS: Final = 0.1
"""How often it is looked whether requests have left room."""
_SWEEP_SECONDS: Final = 600.0
_UPLOAD_MS: Final = DAY_MS
"""How long an upload may take."""
_LAST_SECONDS: Final = 3.0
"""How long lines may still run when the process ends; what is cut then is begun again by the next one."""

_log = logging.getLogger("anyport.batches")


class Scheduler(AbstractAsyncContextManager["Scheduler"]):
    """The scheduler of one process; it works while it is entered."""

    def __init__(
        self,
        runtimes: Callable[[], RuntimeHolder[Any]],
        runner: LineRunner,
        consigned: ConsignedLines,
        is_draining: Callable[[], bool],
        *,
        now_ms: Callable[[], int] = wall_ms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtimes = runtimes
        self._runner = runner
        self._is_draining = is_draining
        self._now_ms = now_ms
        self._clock = clock
        self._consigner = Consigner(consigned, now_ms)
        self._consigning: dict[str, asyncio.Task[None]] = {}
        """Batches of which something is at a provider, while they are brought forward."""
        self._name = secrets.token_hex(8)
        self._running: dict[asyncio.Task[None], str] = {}
        """Tasks of lines, and the batch of each."""
        self._held = ""
        """The batch that is being checked or finished."""
        self._paused: dict[str, float] = {}
        self._empty: set[str] = set()
        """Batches of which there was nothing to take."""
        self._turn = 0
        self._jobs: Jobs | None = None
        self._is_busy = False
        """There was a batch at work when it was last looked."""
        self._trouble = ""
        self._swept_at = -_SWEEP_SECONDS
        self._new = asyncio.Event()
        self._room = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Scheduler:
        """Begins."""
        self._loops = [
            asyncio.create_task(self._again(work), name=f"batches-{name}")
            for name, work in (("look", self._look), ("take", self._take), ("hold", self._hold_on))
        ]
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Lets lines end that are nearly done, and gives the others back."""
        look, take, hold = self._loops
        await end_all([look, take])
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=_LAST_SECONDS)
        await end_all((*self._running, *self._consigning.values()))
        self._consigner.close()
        await end_all([hold])

    def wake(self) -> None:
        """Has it look now: there is something new."""
        self._new.set()
        self._room.set()

    async def _again(self, work: Callable[[Jobs, Runtime], Awaitable[None]]) -> None:
        """Does a piece of work again and again; trouble with storage is logged while there is something to do."""
        while True:
            runtime = self._runtimes().current
            try:
                # One alone opens storage: others who want it should not have to stand in line while it is away.
                if self._jobs is None and work == self._look and not runtime.shared.stored.thing.is_absent():
                    self._jobs = (await runtime.books.storage()).jobs
                if self._jobs is None:
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                await work(self._jobs, runtime)
                if self._trouble:
                    _log.warning("batches go on")
                    self._trouble = ""
            except StorageError as error:
                if self._is_busy and not self._trouble:
                    _log.warning("batches wait: %s", error)
                    self._trouble = str(error)
                await asyncio.sleep(_LOOK_SECONDS if self._jobs else _AGAIN_SECONDS)
            except Exception:
                _log.exception("batches could not be brought forward")
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _look(self, jobs: Jobs, runtime: Runtime) -> None:
        """Checks what is new and finishes what is done; then waits for a while."""
        self._new.clear()
        known = self._consigner.known()
        batches = await jobs.at_work()
        self._consigner.forget(known, batches)
        self._is_busy = bool(batches)
        sent = (each for batch in batches for each in batch.consignments if each.sent_ms)
        runtime.metrics.consignments_seen((each.provider, each.state, each.sent_ms / 1000) for each in sent)
        self._paused = {each.id: self._paused[each.id] for each in batches if each.id in self._paused}
        for batch in batches:
            if self._is_draining():
                break
            await self._bring_forward(jobs, runtime, batch)
        if self._clock() - self._swept_at >= _SWEEP_SECONDS:
            now_ms = self._now_ms()
            if not await jobs.sweep(now_ms - runtime.settings.batches.keep_days * DAY_MS, now_ms - _UPLOAD_MS):
                self._swept_at = self._clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._new.wait()

    async def _bring_forward(self, jobs: Jobs, runtime: Runtime, batch: Batch) -> None:
        now_ms = self._now_ms()
        if batch.id in self._consigning:
            return
        if batch.status != "validating" and self._consigner.is_due(batch):
            self._consigning[batch.id] = task = asyncio.create_task(self._consign(jobs, batch.id), name="consigning")
            task.add_done_callback(lambda _: self._consigning.pop(batch.id))
            return
        if batch.status == "in_progress":
            if batch.expires_at_ms > now_ms:
                if batch.id not in self._empty:
                    return
                self._empty.discard(batch.id)
                if (await jobs.unfinished(batch.id, now_ms))[0]:
                    return
        elif batch.status != "validating" and (await jobs.unfinished(batch.id, now_ms))[1]:
            return  # what is under way may end
        held = await jobs.hold(batch.id, self._name, now_ms, now_ms + int(HOLD_SECONDS * 1000))
        if held is None or held.status != batch.status:
            return
        self._held = held.id
        try:
            await self._change(jobs, runtime, held, now_ms)
        finally:
            self._held = ""

    async def _change(self, jobs: Jobs, runtime: Runtime, batch: Batch, now_ms: int) -> None:
        """Takes a batch that is held one state further."""
        changed: Batch | None
        if batch.status == "validating":
            may_be_consigned = any(provider.spec.has_batches for provider in runtime.catalogue)
            changed = await check_batch(jobs, batch, self._name, now_ms, may_be_consigned=may_be_consigned)
        elif batch.status == "in_progress":
            changed = replace(batch, status="finalizing", finalizing_at_ms=now_ms)
            if not await jobs.change(changed, self._name, "in_progress"):
                return
        else:
            changed = await finish_batch(jobs, batch, self._name, now_ms)
        if changed is not None and changed.status in ("in_progress", "finalizing"):
            self.wake()
        elif changed is not None:
            runtime.metrics.batch_ended(changed.status)

    async def _consign(self, jobs: Jobs, batch_id: str) -> None:
        """Brings forward what of a batch is at a provider, or is to go there."""
        now_ms = self._now_ms()
        lease = self._runtimes().lease()
        try:
            held = await jobs.hold(batch_id, self._name, now_ms, now_ms + int(HOLD_SECONDS * 1000))
            if held is None:  # another one is at it; woken, we would ask for it again and again until that one ends
                return
            if self._consigner.is_due(held):
                await self._consigner.bring_forward(jobs, lease.runtime, held, self._name)
            await jobs.let_go(batch_id, self._name)
            self.wake()
        except StorageError as error:
            _log.warning("a batch at a provider has to wait: %s", error)
        except Exception:
            _log.exception("a batch at a provider could not be brought forward")
        finally:
            lease.release()

    async def _take(self, jobs: Jobs, runtime: Runtime) -> None:
        """Begins as many lines as there is room for; then waits until there may be more of either."""
        self._room.clear()
        taken = 0
        room = self._room_now(runtime) if self._is_busy else 0
        if room:
            taken = await self._begin_lines(jobs, room)
        is_full = len(self._running) >= runtime.settings.batches.max_in_flight
        if taken and not is_full:
            return
        with suppress(TimeoutError):
            is_hindered = self._is_busy and not room and not is_full
            async with asyncio.timeout(_ROOM_SECONDS if is_hindered else _LOOK_SECONDS):
                await self._room.wait()

    def _room_now(self, runtime: Runtime) -> int:
        settings = runtime.settings.batches
        if self._is_draining() or runtime.metrics.in_flight >= settings.below_in_flight:
            return 0
        return max(0, settings.max_in_flight - len(self._running))

    async def _begin_lines(self, jobs: Jobs, room: int) -> int:
        """Begins lines of all batches in turn, so that a long one does not keep others waiting; returns how many."""
        now, now_ms = self._clock(), self._now_ms()
        batches = [
            each
            for each in await jobs.at_work()
            if each.status == "in_progress" and each.lane != "provider" and self._paused.get(each.id, 0.0) <= now
        ]
        begun = 0
        for number in range(len(batches)):
            if begun >= room:
                break
            batch = batches[(self._turn + number) % len(batches)]
            share = max(1, (room - begun) // (len(batches) - number))
            lines = await jobs.take(batch.id, self._name, share, now_ms, now_ms + int(HOLD_SECONDS * 1000))
            if len(lines) < share:
                self._empty.add(batch.id)
                if not lines:
                    self._new.set()
            for line in lines:
                task = asyncio.create_task(self._run(jobs, batch, line), name="batch-line")
                self._running[task] = batch.id
                task.add_done_callback(self._ended)
            begun += len(lines)
        self._turn += 1
        return begun

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._room.set()

    async def _run(self, jobs: Jobs, batch: Batch, line: Line) -> None:
        lease = self._runtimes().lease()
        metrics = lease.runtime.metrics
        metrics.batch_line_begun()
        result = "again"
        ending: Ending = Pause(0.0, is_tried=False)
        try:
            ending = await self._ending(lease.runtime, batch, line)
            result = _RESULTS[ending.state] if isinstance(ending, Done) else "again" if ending.is_tried else "paused"
            await self._write_down(jobs, line, ending)
        except asyncio.CancelledError:
            with suppress(StorageError):
                if isinstance(ending, Done):
                    await jobs.end_line(line, self._name, ending.state, ending.result)
                else:
                    await jobs.give_back(line, self._name, 0, is_tried=False)
            raise
        finally:
            metrics.batch_line_ended(result)
            lease.release()

    async def _ending(self, runtime: Runtime, batch: Batch, line: Line) -> Ending:
        if line.tries > MAX_TRIES:
            error = Internal(f"the process that made this request has ended {MAX_TRIES} times before the answer came")
            return Done(FAILED, refused(line, "", error))
        try:
            return await self._runner.run(runtime, batch, line)
        except Exception:
            _log.exception("line %d of %s failed inside the gateway", line.number, batch.id)
            return Done(FAILED, refused(line, "", Internal("the gateway failed; its log has details")))

    async def _write_down(self, jobs: Jobs, line: Line, ending: Ending) -> None:
        """Keeps what became of a line, however long storage is away."""
        while True:
            try:
                if isinstance(ending, Pause):
                    await self._let_wait(jobs, line, ending)
                elif not await jobs.end_line(line, self._name, ending.state, ending.result):
                    _log.warning("line %d of %s was begun elsewhere, too: it was held no longer", *_place(line))
                return
            except StorageError as error:
                _log.warning("what became of line %d of %s cannot be kept yet: %s", *_place(line), error)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _let_wait(self, jobs: Jobs, line: Line, pause: Pause) -> None:
        not_before_ms = 0
        if pause.is_tried:
            not_before_ms = self._now_ms() + int(pause.seconds * 1000)
        else:
            until = self._clock() + pause.seconds  # one that was told stays, whatever others guess
            self._paused[line.batch_id] = max(until, self._paused.get(line.batch_id, 0.0))
        await jobs.give_back(line, self._name, not_before_ms, is_tried=pause.is_tried)

    async def _hold_on(self, jobs: Jobs, runtime: Runtime) -> None:
        """Holds for longer what is under way."""
        await asyncio.sleep(HOLD_SECONDS / 4)
        held = {*self._running.values(), *self._consigning, self._held} - {""}
        if held:
            await jobs.renew(self._name, sorted(held), self._now_ms() + int(HOLD_SECONDS * 1000))


_RESULTS: Final = {COMPLETED: "completed", FAILED: "failed"}


def _place(line: Line) -> tuple[int, str]:
    return line.number, line.batch_id
