"""The endpoints that call models: read the request, run it, answer."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from msgspec.structs import replace

from adapters.types import Call, Head, Headers, Operation
from gateway.access.keys import not_served
from gateway.access.repeats import IDEMPOTENCY_KEY, Repeats
from gateway.books import Books
from gateway.domain import Outcome
from gateway.engine.answer import Answer, Stream
from gateway.engine.client_errors import passed_on
from gateway.engine.content import Keeper
from gateway.engine.executor import Executor
from gateway.engine.gate import Gate, Lease
from gateway.engine.hints import read_hints
from gateway.engine.mirror import Mirror
from gateway.engine.settle import Settler
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    InvalidRequest,
    LedgerUnavailable,
    UnknownModel,
    UnsupportedMedia,
)
from gateway.http.api.inbound import read_call
from gateway.http.drain import DrainSignal
from gateway.http.edge import ClientGone, HeaderList, Transaction
from gateway.http.guard.outbox import Outbox
from gateway.http.ids import Ids
from gateway.records import dollars
from gateway.routing.asking import Asking
from gateway.routing.route import Plan
from gateway.routing.router import Router

_LAST_WORDS_SECONDS: Final = 1.0
"""After the time of a request is over, how long a stream has to send its error event."""
_STRICT: Final = b"x-anyport-strict"
_BOOLEANS: Final = {b"true": True, b"1": True, b"false": False, b"0": False}
_JSON_TYPES: Final = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")


class InferenceEndpoint:
    """Serves one operation."""

    def __init__(
        self,
        operation: Operation,
        *,
        router: Router,
        executor: Executor,
        mirror: Mirror,
        drain: DrainSignal,
        ids: Ids,
        max_body_bytes: int,
        books: Books,
        gate: Gate,
        settler: Settler,
        keeper: Keeper,
        repeats: Repeats,
        tells_cost: bool = False,
    ) -> None:
        """`books` are what each request is recorded in, with what `keeper` makes of it if its key keeps content.

        `tells_cost` says what an answer in one piece has cost.
        """
        self._operation = operation
        self._router = router
        self._executor = executor
        self._mirror = mirror
        self._drain = drain
        self._ids = ids
        self._max_body_bytes = max_body_bytes
        self._books = books
        self._gate = gate
        self._settler = settler
        self._keeper = keeper
        self._repeats = repeats
        self._tells_cost = tells_cost

    async def __call__(self, transaction: Transaction) -> None:
        """Answers one request; raises GatewayError for what must be answered as an error."""
        outcome = transaction.outcome
        outcome.operation = self._operation.value
        check_media(transaction)
        body = await read_body(transaction, self._max_body_bytes)
        outcome.bytes_in = len(body)
        call = read_call(self._operation, body, id="chatcmpl-" + self._ids.next(), created=int(time.time()))
        outcome.stream = call.stream
        is_strict = asks_strictly(transaction)
        if IDEMPOTENCY_KEY in transaction.headers:
            given = [value for name, value in transaction.scope["headers"] if name == IDEMPOTENCY_KEY]
            task = asyncio.current_task()
            self._repeats.check(transaction.headers, given, self._operation.value, body, task)
        client = transaction.client_key
        asking = Asking(call, transaction.headers, key_name=client.name, key_tags=client.tags)
        try:
            if not client.may_use(call.model):
                raise not_served(call.model)
            plan = self._router.plan(call.model, asking)
        except UnknownModel:
            outcome.model = self._router.show(call.model)
            if client.is_restricted:
                raise not_served(outcome.model) from None
            raise
        outcome.model = plan.model
        if self._books.is_refusing:
            raise LedgerUnavailable("what a request uses cannot be recorded now (storage.on_ledger_failure: refuse)")
        if is_strict and not plan.is_strict:
            plan = replace(plan, is_strict=True)
        lease = await self._gate.admit(asking, plan, client)
        if lease is not None:
            transaction.limits = _encoded(lease.headers)
        transaction.settle = lambda outbox: self._settle(transaction, plan, lease, outbox)
        if client.key is not None and client.key.keeps_content:
            transaction.kept = self._keeper.begin(body)
        if plan.route.mirror is not None:
            self._mirror.copy(asking, plan.route.mirror, outcome.request_id)
        with Interruption(transaction, self._drain):
            await self._run(call, plan, transaction)

    def _settle(self, transaction: Transaction, plan: Plan, lease: Lease | None, outbox: Outbox | None) -> str:
        try:
            return self._recorded(transaction, plan, lease, outbox) if transaction.outcome.attempts else ""
        finally:
            if lease is not None:
                lease.release()  # does nothing once it is settled; a place that is never given back is lost for good

    def _recorded(self, transaction: Transaction, plan: Plan, lease: Lease | None, outbox: Outbox | None) -> str:
        outcome = transaction.outcome
        record_id = outcome.request_id
        if b"x-request-id" in transaction.headers:
            # Clients may send the same one twice, and a record counts once.
            record_id = f"{record_id}/{self._ids.next()}"
        record = self._settler.settle(outcome, plan, transaction.client_key, record_id)
        if transaction.kept is not None:
            record = replace(record, content=transaction.kept.content())
        self._books.record(record, outbox)
        if lease is not None:
            lease.settle(record)
        cost = record.cost_nano_usd
        is_told = self._tells_cost and cost is not None and record.usage_source != "none"
        return dollars(cost) if is_told and cost is not None else ""

    async def _run(self, call: Call, plan: Plan, transaction: Transaction) -> None:
        outcome = transaction.outcome
        answer = await self._executor.run(call, plan, outcome, read_hints(transaction.headers))
        if isinstance(answer, Answer):
            reply = answer.reply
            outcome.usage, outcome.response_model, outcome.finish = reply.usage, reply.model, reply.finish
            await transaction.respond(200, reply.body, _passed_on(answer.head))
            return
        try:
            await _relay(answer, transaction)
        finally:
            await answer.aclose()
            outcome.usage = answer.usage or outcome.usage
            outcome.response_model, outcome.finish = answer.model, answer.finish


async def _relay(stream: Stream, transaction: Transaction) -> None:
    """Sends a stream on as it comes; raises why it broke off, which the edge tells the client.

    A client that reads too slowly to be told anything in time is cut off.
    """
    try:
        async with asyncio.timeout(stream.ends_by - time.monotonic() + _LAST_WORDS_SECONDS):
            await _send_all(stream, transaction)
    except TimeoutError:
        transaction.cut("client_too_slow")
        raise ClientGone from None
    # Nobody can be too slow any more: the client has everything, and its connection may serve its next request.
    await stream.linger()


async def _send_all(stream: Stream, transaction: Transaction) -> None:
    await transaction.begin_stream(_passed_on(stream.head))
    frames = stream.first
    while not (is_last := stream.is_said):
        await transaction.send_frames(frames)
        if not (frames := await stream.next(transaction.push_frames)):
            break
    if stream.error is not None:
        raise stream.error
    _note(stream, transaction.outcome)
    await transaction.end_stream(frames)
    if is_last:
        await stream.next()  # which has nothing more, and says so to whoever hears what becomes of it


def _note(stream: Stream, outcome: Outcome) -> None:
    """Notes what is known of an answer by now."""
    outcome.usage, outcome.response_model, outcome.finish = stream.usage, stream.model, stream.finish


class Interruption:
    """While it is entered, a client that leaves or a shutdown whose grace is over ends the current task."""

    __slots__ = ("_connection", "_drain", "_task", "_transaction")

    def __init__(self, transaction: Transaction, drain: DrainSignal) -> None:
        self._transaction = transaction
        self._drain = drain
        self._connection = transaction.connection
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


def asks_strictly(transaction: Transaction) -> bool:
    """Returns whether `x-anyport-strict` says so, once at least; raises InvalidRequest for what is no yes or no."""
    if _STRICT not in transaction.headers:
        return False
    said = [_BOOLEANS.get(value.lower()) for name, value in transaction.scope["headers"] if name == _STRICT]
    if None in said:
        message = "the header x-anyport-strict must be true, false, 1 or 0"
        raise InvalidRequest(message, code="invalid_value", param="x-anyport-strict")
    return True in said


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
    connection = transaction.connection
    whole = None if connection is None else connection.whole_body()
    if whole is not None:
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
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


def _passed_on(head: Head) -> HeaderList:
    return _encoded(passed_on(head))


def _encoded(headers: Headers) -> HeaderList:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
