"""The outermost ring: one dictionary look-up to an endpoint, and everything each request needs whatever it is.

Takes or makes the request id, checks the key, counts, turns every escape into one OpenAI error object, and settles
exactly once. Paths that are not ours here (docs, health, metrics) go to the FastAPI shell behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from adapters.codec import encode
from adapters.framing.sse import frame
from gateway.access.keys import ANONYMOUS, KeyCheck
from gateway.domain import Outcome
from gateway.engine.content import Kept
from gateway.errors import Draining, GatewayError, Internal, MethodNotAllowed, Overloaded
from gateway.http.guard.client import BODY_FOLLOWS, ClientConnection
from gateway.http.guard.outbox import Outbox
from gateway.http.guard.response_head import clean_header_value, header_lines, pairs_of
from gateway.http.happenings import tell_request
from gateway.http.ids import Ids
from gateway.plugins.hooks import Hooks
from gateway.telemetry.access_log import MAX_DROPPED, MAX_VALUE_CHARS, AccessLog
from gateway.telemetry.feed import Feed
from gateway.telemetry.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

CLIENT_GONE_STATUS: Final = 499
"""In records only: nobody was left to be told."""
_REQUEST_ID: Final = b"x-request-id"
_NOTHING: Final[Mapping[str, str]] = {}
_OWN_LINES: Final = (
    b"x-request-id: %b\r\n"
    b"openai-processing-ms: %d\r\n"
    b"cache-control: no-store\r\n"
    b"x-anyport-attempts: %d\r\n"
    b"x-anyport-overhead-ms: %.1f\r\n"
)
_log = logging.getLogger("anyport")


class ClientGone(Exception):
    """The client left while it was still sending; there is nobody to answer."""


class Transaction:
    """One request and its response, with the bookkeeping that both ends share."""

    __slots__ = (
        "_receive",
        "_send",
        "client_key",
        "connection",
        "cost",
        "has_started",
        "headers",
        "is_drained",
        "is_recorded",
        "is_streaming",
        "kept",
        "limits",
        "outcome",
        "scope",
        "settle",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, outcome: Outcome) -> None:
        self.scope = scope
        self.connection: ClientConnection | None = scope.get("anyport.connection")
        """The server's side of it; None under a server that is not ours."""
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.outcome = outcome
        self.client_key = ANONYMOUS
        """Whose key the request carries; known once it is admitted."""
        self.has_started = False
        self.is_streaming = False
        """A stream has begun and not ended: what goes wrong is an event of it."""
        self.is_drained = False
        """Set when the grace of a shutdown is over: what still runs ends with an error."""
        self.is_recorded = True
        """Whether it has an access record, and is told of: not if the client left before anybody was asked."""
        self.settle: Callable[[Outbox | None], str] | None = None
        """Records what the request used, at once or with others before the answers in an outbox; called once.

        Returns what it cost if the client is to be told.
        """
        self.cost = ""
        self.kept: Kept | None = None
        """What is gathered of the answer, if the key keeps content."""
        self.limits: HeaderList = []
        """Headers that say how much of its limits the client has left."""
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Returns the next ASGI message of the request."""
        return await self._receive()

    async def respond(self, status: int, body: bytes, headers: HeaderList) -> None:
        """Sends a whole JSON response."""
        outcome = self.outcome
        now = time.monotonic()
        outcome.status = status
        outcome.bytes_out = len(body)
        if outcome.first_byte is None:
            outcome.first_byte = now
        if self.kept is not None:
            self.kept.add(body)
        self.settled(None if self.connection is None else self.connection.outbox)
        lines = b"content-type: application/json\r\ncontent-length: %d\r\n%b" % (len(body), self._own_lines(now))
        if more := self._with_limits(headers):
            lines += header_lines(more)
        if self.connection is None or not self.connection.respond(status, lines, body):
            if self.connection is not None:
                self.connection.outbox.release()
            await self._send({"type": "http.response.start", "status": status, "headers": pairs_of(lines)})
            self.has_started = True
            await self._send({"type": "http.response.body", "body": body})
        self.has_started = True

    async def respond_pieces(self, length: int, content_type: str, pieces: AsyncIterator[bytes]) -> None:
        """Sends a body of `length` bytes piece by piece; waits while the client is slow."""
        outcome = self.outcome
        now = time.monotonic()
        outcome.status = 200
        outcome.first_byte = now
        self.settled()
        self.has_started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", content_type.encode("latin-1")),
                    (b"content-length", b"%d" % length),
                    *pairs_of(self._own_lines(now)),
                ],
            }
        )
        async for piece in pieces:
            outcome.bytes_out += len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def begin_stream(self, headers: HeaderList) -> None:
        """Commits: sends the head of an event stream, together with the first frames, which must follow at once."""
        outcome = self.outcome
        now = time.monotonic()
        outcome.status = 200
        outcome.first_byte = now
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"x-accel-buffering", b"no"),
                    *pairs_of(self._own_lines(now)),
                    *self._with_limits(headers),
                ],
                BODY_FOLLOWS: True,
            }
        )
        # Not before: what ends the wait for a client that takes its former answer slowly is answered by an error.
        self.has_started = self.is_streaming = True

    async def send_frames(self, frames: bytes) -> None:
        """Sends whole events; waits while the client is slow."""
        self._note(frames)
        if self.connection is None or not self.connection.send_piece(frames):
            await self._send({"type": "http.response.body", "body": frames, "more_body": True})

    def push_frames(self, frames: bytes) -> bool:
        """Sends whole events, not the last ones; returns False, and has done nothing, if that takes `send_frames`."""
        if self.connection is None or not self.connection.send_piece(frames):
            return False
        self._note(frames)
        return True

    def _note(self, frames: bytes) -> None:
        outcome = self.outcome
        outcome.chunks += 1
        outcome.bytes_out += len(frames)
        outcome.events += frames.count(b"\n\n")
        if self.kept is not None:
            self.kept.add(frames)

    def cut(self, code: str) -> None:
        """Closes the connection at once, without the end of the response; `code` is why, for the record."""
        self.outcome.error_code = code
        if self.connection is not None:
            self.connection.cut()

    async def end_stream(self, last: bytes = b"") -> None:
        """Ends the response, with its last events; what is done with the upstream afterwards is no time of the request.

        It is recorded before they go out: many clients read no further than the end of the events.
        """
        if last:
            self._note(last)
        self.is_streaming = bool(last)  # until they have gone out, an error may take their place
        self.settled()
        await self._send({"type": "http.response.body", "body": last})
        self.is_streaming = False
        self.outcome.ended = time.monotonic()

    def settled(self, outbox: Outbox | None = None) -> None:
        """Has what the request used recorded, unless it is: before its last bytes go out, or at its end.

        With an outbox this is done before the answers that are left there.
        """
        settle, self.settle = self.settle, None
        if settle is not None:
            self.cost = settle(outbox)

    async def break_stream(self, error: GatewayError) -> None:
        """Ends a stream with an event that says why; the OpenAI SDKs raise on its top-level `error`."""
        self.outcome.error_code = error.code or error.type
        event = {
            "id": self.outcome.request_id,
            "error": error.members(),
            "choices": [{"index": 0, "delta": _NOTHING, "finish_reason": "error"}],
        }
        await self.end_stream(frame(encode(event)))

    async def respond_error(self, error: GatewayError) -> None:
        """Sends an error in OpenAI's shape."""
        self.outcome.error_code = error.code or error.type
        headers = [(name.encode(), _value(value)) for name, value in error.headers()]
        await self.respond(error.status, error.body(), headers)

    def _with_limits(self, headers: HeaderList) -> HeaderList:
        """Returns headers with those of the client's own limits, which replace an upstream's."""
        if not self.limits:
            return headers
        names = {name for name, _ in self.limits}
        return [*(header for header in headers if header[0] not in names), *self.limits]

    def _own_lines(self, now: float) -> bytes:
        """Returns the headers of every answer, as lines: written at once, they cost a third of what pairs do."""
        outcome = self.outcome
        seconds = now - outcome.started
        overhead_seconds = max(0.0, seconds - outcome.upstream_seconds)
        lines = _OWN_LINES % (
            outcome.request_id.encode(),
            int(seconds * 1000),
            len(outcome.attempts),
            overhead_seconds * 1000,
        )
        if outcome.deployment:
            lines += b"x-anyport-deployment: %b\r\n" % _value(outcome.deployment)
        if outcome.fallback:
            lines += b"x-anyport-fallback: %b\r\n" % outcome.fallback.encode()
        if self.cost:
            lines += b"x-anyport-cost-usd: %b\r\n" % self.cost.encode()
        if outcome.dropped:
            names = ",".join(name[:MAX_VALUE_CHARS] for name in outcome.dropped[:MAX_DROPPED])
            lines += b"x-anyport-dropped: %b\r\n" % _value(names)
        return lines


def _value(text: str) -> bytes:
    return clean_header_value(text).encode("latin-1")


Endpoint = Callable[[Transaction], Awaitable[None]]


class Edge:
    """ASGI application: the inference paths, and the shell for everything else."""

    def __init__(
        self,
        *,
        posts: Mapping[str, Endpoint],
        gets: Sequence[tuple[str, Endpoint]],
        resources: Sequence[tuple[str, Endpoint]] = (),
        signed: Mapping[str, Endpoint] | None = None,
        shell: AsgiApp,
        keys: KeyCheck,
        metrics: Metrics,
        access_log: AccessLog | None,
        ids: Ids,
        feed: Feed,
        hooks: Hooks | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        """`posts` maps exact paths, `gets` path prefixes; the first prefix that fits is taken.

        `resources` are such prefixes, too, of endpoints that see to the method themselves. `signed` are like `posts`,
        but want no key: each of their requests has a signature, which the endpoint checks.
        """
        self._signed = signed or {}
        self._posts = {**posts, **self._signed}
        self._gets = gets
        self._resources = resources
        self._shell = shell
        self._keys = keys
        self._ids = ids
        self._metrics = metrics
        self._access_log = access_log
        self._feed = feed
        self._hooks = hooks or None
        self._max_in_flight = max_in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self._shell(scope, receive, send)
            return
        path: str = scope["path"]
        endpoint = self._posts.get(path)
        methods = "POST"
        if endpoint is None:
            endpoint, methods = self._found(path)
            if endpoint is None:
                await self._shell(scope, receive, send)
                return
        outcome = Outcome("", started=time.monotonic())
        transaction = Transaction(scope, receive, send, outcome)
        outcome.request_id = self._ids.request_id(scope["headers"] if _REQUEST_ID in transaction.headers else ())
        self._metrics.request_started()
        try:
            if methods and scope["method"] != methods:
                raise MethodNotAllowed(f"{path} takes {methods} only", headers=(("allow", methods),))
            self._admit(transaction)
            await endpoint(transaction)
        except ClientGone:
            outcome.is_cancelled = True
            outcome.status = CLIENT_GONE_STATUS
            transaction.is_recorded = bool(outcome.attempts)
        except GatewayError as error:
            outcome.limit, outcome.limit_of = error.refused_by
            await self._answer(transaction, error)
        except asyncio.CancelledError:
            await self._cancelled(transaction)
        except Exception:
            _log.exception("request %s failed inside the gateway", outcome.request_id)
            await self._answer(
                transaction, Internal(f"the gateway failed; its log has details under {outcome.request_id}")
            )
        finally:
            self._ended(transaction)

    def _ended(self, transaction: Transaction) -> None:
        outcome = transaction.outcome
        transaction.settled()
        outcome.ended = outcome.ended or time.monotonic()
        self._metrics.request_ended(outcome)
        if transaction.is_recorded:
            self._tell(outcome, transaction.client_key.name)

    def _tell(self, outcome: Outcome, client_key: str) -> None:
        if self._access_log is not None:
            self._access_log.write(outcome)
        if self._feed.is_heard:
            tell_request(self._feed, outcome, client_key)
        if self._hooks is not None:
            self._hooks.tell(outcome, client_key)

    def _found(self, path: str) -> tuple[Endpoint | None, str]:
        """Returns what serves a path that is no operation's, and by which method, "" if by any."""
        for prefixes, methods in ((self._gets, "GET"), (self._resources, "")):
            for prefix, endpoint in prefixes:
                if path.startswith(prefix) and (path == prefix or prefix.endswith("/")):
                    return endpoint, methods
        return None, ""

    def _admit(self, transaction: Transaction) -> None:
        if not self._signed or transaction.scope["path"] not in self._signed:
            transaction.client_key = self._keys.check(transaction.headers, transaction.scope.get("client"))
            transaction.outcome.key = transaction.client_key.id
        if self._max_in_flight is not None and self._metrics.in_flight > self._max_in_flight:
            raise Overloaded(f"server.max_in_flight ({self._max_in_flight}) requests are at work already")

    async def _answer(self, transaction: Transaction, error: GatewayError) -> None:
        if not transaction.has_started:
            await transaction.respond_error(error)
        elif transaction.is_streaming:
            await transaction.break_stream(error)

    async def _cancelled(self, transaction: Transaction) -> None:
        """The client left, or the grace of a shutdown is over; anything else is not ours to swallow."""
        outcome = transaction.outcome
        task = asyncio.current_task()
        if not (outcome.is_cancelled or transaction.is_drained) or task is None:
            raise asyncio.CancelledError
        task.uncancel()
        if outcome.is_cancelled:
            outcome.status = outcome.status or CLIENT_GONE_STATUS
            return
        await self._answer(transaction, Draining("the gateway is shutting down"))
