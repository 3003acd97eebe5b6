"""The endpoints that call models: read the request, run it, answer."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from adapters.codec import encode
from adapters.failures import Failure
from adapters.framing.sse import frame
from adapters.types import Call, Head, Operation
from gateway.engine.executor import Answer, Executor, Stream, from_transport
from gateway.engine.verdict import passed_on
from gateway.errors import BodyTooLarge, GatewayError, UnknownModel, UnsupportedMedia
from gateway.http.drain import DrainSignal
from gateway.http.edge import ClientGone, HeaderList, Transaction
from gateway.http.guard import ClientConnection
from gateway.http.ids import Ids
from gateway.http.inbound import read_call
from gateway.resilience.planner import past_deadline
from gateway.routing.deployment import Plan
from gateway.routing.router import Router
from gateway.transport.base import TransportError

_LINGER_SECONDS: Final = 0.1
"""How long a finished stream's upstream may take to end its body before its connection is closed, not pooled."""
_JSON_TYPES: Final = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")


class InferenceEndpoint:
    """Serves one operation."""

    def __init__(
        self,
        operation: Operation,
        *,
        router: Router,
        executor: Executor,
        drain: DrainSignal,
        ids: Ids,
        max_body_bytes: int,
    ) -> None:
        self._operation = operation
        self._router = router
        self._executor = executor
        self._drain = drain
        self._ids = ids
        self._max_body_bytes = max_body_bytes

    async def __call__(self, transaction: Transaction) -> None:
        """Answers one request; raises GatewayError for what must be answered as an error."""
        outcome = transaction.outcome
        outcome.operation = self._operation.value
        check_media(transaction)
        body = await read_body(transaction, self._max_body_bytes)
        outcome.bytes_in = len(body)
        call = read_call(self._operation, body, id="chatcmpl-" + self._ids.next(), created=int(time.time()))
        outcome.stream = call.stream
        try:
            plan = self._router.plan(call.model)
        except UnknownModel:
            outcome.model = self._router.show(call.model)
            raise
        outcome.model = plan.model
        with Interruption(transaction, self._drain):
            await self._run(call, plan, transaction)

    async def _run(self, call: Call, plan: Plan, transaction: Transaction) -> None:
        outcome = transaction.outcome
        answer = await self._executor.run(call, plan, outcome)
        if isinstance(answer, Answer):
            reply = answer.reply
            outcome.usage, outcome.response_model, outcome.finish = reply.usage, reply.model, reply.finish
            await transaction.respond(200, reply.body, _passed_on(answer.head))
            return
        try:
            await self._relay(answer, transaction)
        finally:
            answer.response.release()
            decoder = answer.decoder
            outcome.usage, outcome.response_model, outcome.finish = decoder.usage, decoder.model, decoder.finish

    async def _relay(self, stream: Stream, transaction: Transaction) -> None:
        """Sends a stream on as it comes; after the first byte every abnormal end is an error event."""
        response, decoder = stream.response, stream.decoder
        try:
            await transaction.begin_stream(stream.first, _passed_on(response.head))
            while not decoder.is_done and decoder.failure is None:
                data = await response.next()
                out = decoder.feed(data) if data else decoder.close()
                data = b""  # while a slow client is waited for, only what it still has to get is kept
                if out:
                    await transaction.send_frames(out)
                if time.monotonic() >= stream.deadline and not decoder.is_done:
                    await self._fail(stream, transaction, past_deadline())
                    return
        except TransportError as error:
            await self._fail(stream, transaction, from_transport(error))
            return
        except asyncio.CancelledError:
            if transaction.is_drained:
                transaction.outcome.error_code = "server_shutting_down"
                await transaction.send_frames(
                    error_frame(transaction, "the gateway is shutting down", "server_error", "server_shutting_down")
                )
                await transaction.end_stream()
            raise
        if decoder.failure is not None:
            await self._fail(stream, transaction, decoder.failure)
            return
        await transaction.end_stream()
        await self._linger(stream)

    async def _fail(self, stream: Stream, transaction: Transaction, failure: Failure) -> None:
        error = self._executor.client_error(failure, stream.deployment.id)
        outcome = transaction.outcome
        outcome.attempts[-1].failure = failure
        outcome.error_code = error.code
        await transaction.send_frames(error_frame(transaction, error.message, error.type, error.code, error.param))
        await transaction.end_stream()

    async def _linger(self, stream: Stream) -> None:
        """Lets the upstream end its body, so that its connection can be used again; the client has everything."""
        response = stream.response
        if response.is_complete:
            return
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await response.next()
        except (TransportError, TimeoutError):
            return


class Interruption:
    """While it is entered, a client that leaves or a shutdown whose grace is over ends the current task."""

    __slots__ = ("_connection", "_drain", "_task", "_transaction")

    def __init__(self, transaction: Transaction, drain: DrainSignal) -> None:
        self._transaction = transaction
        self._drain = drain
        self._connection: ClientConnection | None = transaction.scope.get("anyport.connection")
        self._task = asyncio.current_task() if self._connection is None else self._connection.task

    def __enter__(self) -> None:
        if self._connection is not None:
            self._connection.watch(self._gone)
        self._drain.on_deadline(self._expired)

    def __exit__(self, *exception: object) -> None:
        if self._connection is not None:
            self._connection.unwatch()
        self._drain.forget(self._expired)

    def _gone(self) -> None:
        self._transaction.outcome.is_cancelled = True
        self._cancel()

    def _expired(self) -> None:
        self._transaction.is_drained = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def check_media(transaction: Transaction) -> None:
    """Raises UnsupportedMedia unless the body is said to be JSON in UTF-8."""
    value = transaction.headers.get(b"content-type", b"")
    if value in _JSON_TYPES:
        return
    kind, _, parameters = value.lower().partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"")
    if kind.strip() != b"application/json" or (b"charset=" in charset and b"charset=utf-8" not in charset):
        raise UnsupportedMedia("the body must be JSON in UTF-8; send `content-type: application/json`")


async def read_body(transaction: Transaction, limit: int) -> bytes:
    """Returns the whole request body; raises BodyTooLarge past `limit` bytes, ClientGone if it never comes."""
    message = await transaction.receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    pieces = [body]
    size = len(body)
    while message.get("more_body", False):
        message = await transaction.receive()
        if message["type"] != "http.request":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(pieces)


def _too_large(limit: int) -> GatewayError:
    return BodyTooLarge(f"the body is longer than server.max_body_bytes ({limit})")


def error_frame(transaction: Transaction, message: str, type: str, code: str | None, param: str | None = None) -> bytes:
    """Returns the event that ends a broken stream: the OpenAI SDKs raise on its top-level `error`."""
    return frame(
        encode(
            {
                "id": transaction.outcome.request_id,
                "error": {"message": message, "type": type, "param": param, "code": code},
                "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
            }
        )
    )


def _passed_on(head: Head) -> HeaderList:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in passed_on(head)]
