"""Copies of requests, for trying another model on real traffic: their answers are read to the end and thrown away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.domain import Outcome
from gateway.engine.answer import Answer
from gateway.engine.ending import end_all
from gateway.engine.executor import Executor
from gateway.errors import GatewayError
from gateway.routing.asking import Asking
from gateway.routing.balance import Random
from gateway.routing.route import MirrorPolicy
from gateway.routing.router import Router

_log = logging.getLogger("anyport")
Ended = Callable[[Outcome], None]


class Mirror:
    """Sends copies in the background; a copy never delays, changes or fails the request that it is of."""

    def __init__(self, *, router: Router, executor: Executor, random: Random, ended: Ended) -> None:
        """`ended` is told what became of each copy: it counts nowhere else, and is on nobody's budget."""
        self._router = router
        self._executor = executor
        self._random = random
        self._ended = ended
        self._running: dict[str, set[asyncio.Task[None]]] = {}

    def copy(self, asking: Asking, policy: MirrorPolicy, request_id: str) -> None:
        """Sends a copy, if this request is one of the policy's share and there is room."""
        running = self._running.setdefault(policy.model, set())
        if len(running) >= policy.max_in_flight or self._random() >= policy.share:
            return
        task = asyncio.create_task(self._run(asking, policy, request_id), name="mirror")
        running.add(task)
        task.add_done_callback(running.discard)

    async def finish(self) -> None:
        """Waits until all copies have ended by themselves."""
        if tasks := self._tasks():
            await asyncio.wait(tasks)

    async def aclose(self) -> None:
        """Ends what still runs."""
        await end_all(self._tasks())

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for running in self._running.values() for task in running]

    async def _run(self, asking: Asking, policy: MirrorPolicy, request_id: str) -> None:
        call = asking.call
        outcome = Outcome(f"{request_id}-mirror", operation=call.operation.value, stream=call.stream)
        outcome.started = time.monotonic()
        try:
            plan = self._router.plan(policy.model, asking)
            outcome.model = plan.model
            answer = await self._executor.run(call, plan, outcome)
            outcome.status = 200
            if isinstance(answer, Answer):
                outcome.usage = answer.reply.usage
                return
            try:
                while await answer.next():
                    pass
                if answer.error is not None:
                    raise answer.error
            finally:
                await answer.aclose()
                outcome.usage = answer.usage
        except GatewayError as error:
            outcome.status, outcome.error_code = error.status, error.code or error.type
        except Exception:
            outcome.status = 500
            _log.exception("the copy of request %s failed inside the gateway", request_id)
        finally:
            outcome.ended = time.monotonic()
            self._ended(outcome)
