"""A process that serves until it is told to stop; prints its URL, and `ended` when the application was shut down.

Arguments: port, grace seconds, drain delay seconds, loop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from gateway.http.drain import DrainSignal
from gateway.http.guard.protocol import GuardLimits
from gateway.http.server import BindError, run

drain = DrainSignal()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/ready":
        await answer(send, 503 if drain.is_draining else 200)
    elif scope["path"] == "/stream":
        await stream(int(scope["query_string"]), send)
    else:
        await asyncio.sleep(float(scope["query_string"] or b"0"))
        await answer(send, 200)


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    if "broken" in sys.argv:
        await send({"type": "lifespan.startup.failed", "message": "no"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("ended", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Any, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def stream(events: int, send: Any) -> None:
    """One event each 20 ms; the deadline ends it with an error event."""
    late = asyncio.Event()
    drain.on_deadline(late.set)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    last = b"data: [DONE]\n\n"
    for number in range(events):
        if late.is_set():
            last = b'data: {"error":{"code":"server_shutting_down"}}\n\n'
            break
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": last})
    drain.forget(late.set)


def main() -> int:
    port, grace, delay, loop = sys.argv[1:5]
    try:
        return run(
            app,
            host="127.0.0.1",
            port=int(port),
            limits=GuardLimits(),
            grace_seconds=float(grace),
            drain_delay_seconds=float(delay),
            drain=drain,
            loop=loop,
            on_ready=lambda url: print(url, flush=True),
        )
    except BindError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
