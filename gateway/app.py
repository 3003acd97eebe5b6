"""The ASGI application: the edge in front, the FastAPI shell behind, and what lives between start and stop."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from adapters.types import Operation
from gateway.http.drain import DrainSignal
from gateway.http.edge import Edge
from gateway.http.ids import Ids
from gateway.http.inference import InferenceEndpoint
from gateway.http.models import LIST_PATH, ModelsEndpoint
from gateway.http.shell import build_shell
from gateway.runtime import Runtime

INFERENCE_PATHS = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.COMPLETIONS,
    "/v1/embeddings": Operation.EMBEDDINGS,
    "/v1/rerank": Operation.RERANK,
}


def create_app(runtime: Runtime, *, drain: DrainSignal, beside: AbstractAsyncContextManager[Any] | None = None) -> Edge:
    """Returns the application that serves `runtime`; its lifespan starts and closes it.

    `beside` is entered and left with it: another listener, which is there until the last request has ended.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[None]:
        await runtime.start()
        # What exists now lives as long as the process: the collector need not look at it at every pass.
        gc.collect()
        gc.freeze()
        try:
            async with beside or nullcontext():
                yield
        finally:
            await runtime.aclose()

    server = runtime.settings.server
    ids = Ids()
    shell = build_shell(
        metrics=runtime.metrics,
        drain=drain,
        keys=runtime.keys,
        ids=ids,
        lifespan=lifespan,
        serves_metrics=server.metrics_port is None,
    )
    models = ModelsEndpoint(runtime)
    return Edge(
        posts={
            path: InferenceEndpoint(
                operation,
                router=runtime.router,
                executor=runtime.executor,
                mirror=runtime.mirror,
                drain=drain,
                ids=ids,
                max_body_bytes=server.max_body_bytes,
            )
            for path, operation in INFERENCE_PATHS.items()
        },
        gets=[(LIST_PATH, models), (LIST_PATH + "/", models)],
        shell=shell,
        keys=runtime.keys,
        metrics=runtime.metrics,
        ids=ids,
        access_log=runtime.access_log,
        max_in_flight=server.max_in_flight,
    )
