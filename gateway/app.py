"""The ASGI application: the edge in front, the FastAPI shell behind, and what lives between start and stop."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from adapters.types import Operation
from gateway.access.repeats import Repeats
from gateway.batches.consigned import ConsignedLines
from gateway.batches.running import LineRunner
from gateway.batches.scheduler import Scheduler
from gateway.domain import Outcome
from gateway.http.admin.pardons import Pardons
from gateway.http.api.batches import BATCHES_PATH, BatchesEndpoint
from gateway.http.api.files import FILES_PATH, FilesEndpoint
from gateway.http.api.inbound import read_call
from gateway.http.api.inference import InferenceEndpoint
from gateway.http.api.models import LIST_PATH, ModelsEndpoint
from gateway.http.api.own_usage import OWN_SNAPSHOT_PATH, OWN_USAGE_PATH, UsageEndpoint
from gateway.http.drain import DrainSignal
from gateway.http.edge import Edge, Endpoint, Receive, Scope, Send
from gateway.http.happenings import Happenings, tell_request
from gateway.http.ids import Ids
from gateway.http.shell import Exposition, build_shell
from gateway.integrations.discord.answering import Answering
from gateway.reload.holder import RuntimeHolder
from gateway.runtime import Runtime
from gateway.telemetry.feed import Feed
from gateway.telemetry.ledger import LedgerFigures

_YOUNG_OBJECTS = 20_000
"""So many may be new before the collector looks at them. Requests leave no cycles behind, and with 700, as usual,
it walks through those that are under way at every few packets, which takes a tenth of the time."""
INFERENCE_PATHS = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.COMPLETIONS,
    "/v1/embeddings": Operation.EMBEDDINGS,
    "/v1/rerank": Operation.RERANK,
}


class App:
    """ASGI application: what the runtime of this moment serves, and the shell for everything that is no request."""

    def __init__(self, runtime: Runtime, drain: DrainSignal, exposition: Exposition) -> None:
        self._drain = drain
        self._ids = Ids()
        self._repeats = Repeats(clock=time.monotonic)
        self.feed = Feed()
        self.happenings = Happenings(self.feed, lambda: self.holder.current)
        self.pardons = Pardons(lambda: self.holder.current)
        self._scheduler = Scheduler(
            lambda: self.holder,
            LineRunner(read_call, self._ids.next, self._ended),
            ConsignedLines(read_call, self._ids.next, self._ended),
            lambda: drain.is_draining,
        )
        self._discord = Answering(lambda: self.holder, drain, self._ids.next, self._ended)
        self._beside: list[AbstractAsyncContextManager[Any]] = [self._scheduler, self._discord]
        self._shell = build_shell(
            exposition=exposition,
            drain=drain,
            check=lambda headers, peer: self.holder.current.keys.check(headers, peer),
            ids=self._ids,
            lifespan=self._lifespan,
            serves_metrics=runtime.settings.server.metrics_port is None,
        )
        self.holder = RuntimeHolder(runtime, self._edge)
        runtime.metrics.follow_ledger(lambda: ledger_figures(self.holder.current))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection; a request keeps its runtime until it has ended."""
        if scope["type"] != "http":
            await self._shell(scope, receive, send)
            return
        lease = self.holder.lease()
        try:
            await lease.app(scope, receive, send)
        finally:
            lease.release()

    def beside(self, manager: AbstractAsyncContextManager[Any]) -> None:
        """Has something entered at the start and left after the last request has ended: another listener, a watch."""
        self._beside.append(manager)

    @asynccontextmanager
    async def _lifespan(self, shell: Any) -> AsyncGenerator[None]:
        await self.holder.current.start()
        # What exists now lives as long as the process: the collector need not look at it at every pass, nor once, since
        # a hundredth of it is garbage.
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        gc.enable()
        try:
            async with AsyncExitStack() as stack:
                for manager in self._beside:
                    await stack.enter_async_context(manager)
                yield
        finally:
            await self.holder.aclose()

    def _edge(self, runtime: Runtime) -> Edge:
        server = runtime.settings.server
        models, usage = ModelsEndpoint(runtime), UsageEndpoint(runtime)
        files, batches = FilesEndpoint(runtime), BatchesEndpoint(runtime, self._scheduler.wake)
        runtime.news.follow(self.happenings)
        return Edge(
            posts={path: self._inference(runtime, operation) for path, operation in INFERENCE_PATHS.items()},
            gets=[(LIST_PATH, models), (LIST_PATH + "/", models), (OWN_USAGE_PATH, usage), (OWN_SNAPSHOT_PATH, usage)],
            resources=[
                *((FILES_PATH, files), (f"{FILES_PATH}/", files)),
                *((BATCHES_PATH, batches), (f"{BATCHES_PATH}/", batches)),
            ],
            signed=self._signed(runtime),
            shell=self._shell,
            keys=runtime.keys,
            metrics=runtime.metrics,
            ids=self._ids,
            access_log=runtime.access_log,
            feed=self.feed,
            hooks=runtime.hooks,
            max_in_flight=server.max_in_flight,
        )

    def _ended(self, outcome: Outcome, client_key: str) -> None:
        """Tells listeners of a request that no connection waited for."""
        if self.feed.is_heard:
            tell_request(self.feed, outcome, client_key)

    def _signed(self, runtime: Runtime) -> dict[str, Endpoint]:
        discord = runtime.settings.integrations.discord
        if discord is None:
            return {}
        # Here and not above: it needs a package that only those have who want it.
        from gateway.integrations.discord.endpoint import INTERACTIONS_PATH, InteractionsEndpoint

        return {INTERACTIONS_PATH: InteractionsEndpoint(discord, self._discord)}

    def _inference(self, runtime: Runtime, operation: Operation) -> InferenceEndpoint:
        server = runtime.settings.server
        return InferenceEndpoint(
            operation,
            router=runtime.router,
            executor=runtime.executor,
            mirror=runtime.mirror,
            drain=self._drain,
            ids=self._ids,
            max_body_bytes=server.max_body_bytes,
            books=runtime.books,
            gate=runtime.gate,
            settler=runtime.settler,
            keeper=runtime.keeper,
            repeats=self._repeats,
            tells_cost=server.cost_header,
        )


def ledger_figures(runtime: Runtime) -> LedgerFigures | None:
    """Returns how it stands with the ledger; storage is up if keys could be read there a moment ago, too."""
    figures = runtime.books.figures()
    if figures is None or not runtime.shared.stored.thing.picture.trouble:
        return figures
    return replace(figures, is_storage_up=False)


def create_app(runtime: Runtime, *, drain: DrainSignal, exposition: Exposition | None = None) -> App:
    """Returns the application that serves `runtime`, and those that replace it; its lifespan starts and closes them.

    `exposition` gives the metrics, if not this process alone does.
    """
    return App(runtime, drain, exposition or runtime.metrics.render_off_loop)
