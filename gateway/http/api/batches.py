"""/v1/batches: files of requests that run when there is room; a key sees its own batches and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from adapters.codec import encode
from gateway.batches.lines import ENDPOINTS
from gateway.batches.names import new_batch_id
from gateway.errors import CallerError, GatewayError, InvalidRequest, MethodNotAllowed
from gateway.http.api.files import INPUT_PURPOSE, listed, owner_of, page_of, quota_exceeded, storage_trouble
from gateway.http.api.inference import check_media, read_body
from gateway.http.edge import Transaction
from gateway.runtime import Runtime
from gateway.storage.base import DAY_MS
from gateway.storage.jobs import AT_WORK, Batch, Jobs, Tokens

BATCHES_PATH: Final = "/v1/batches"
_MAX_BODY_BYTES: Final = 64 * 1024
_DEFAULT_PAGE: Final = 20
_MAX_PAGE: Final = 100
_WINDOW: Final = "24h"
_MOMENTS: Final = (
    *("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at"),
)
_Key = Annotated[str, Meta(max_length=64)]
_Value = Annotated[str, Meta(max_length=512)]


class _Wish(Struct, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Annotated[dict[_Key, _Value], Meta(max_length=16)] | None = None


_wish = msgspec.json.Decoder(_Wish).decode


class BatchesEndpoint:
    """Takes, lists, shows and cancels batches."""

    def __init__(self, runtime: Runtime, wake: Callable[[], None]) -> None:
        """`wake` tells whoever runs them that there is something new."""
        self._runtime = runtime
        self._wake = wake
        self._now_ms = runtime.shared.stored.thing.picture.now_ms

    async def __call__(self, transaction: Transaction) -> None:
        """Answers; raises GatewayError."""
        transaction.outcome.operation = "batches"
        owner = owner_of(transaction, self._runtime)
        path: str = transaction.scope["path"]
        id, _, rest = path[len(BATCHES_PATH) + 1 :].partition("/")
        wanted = (transaction.scope["method"], bool(id), rest)
        with storage_trouble():
            jobs = (await self._runtime.books.storage()).jobs
            if wanted == ("POST", False, ""):
                await transaction.respond(200, encode(shown(await self._made(transaction, jobs, owner))), [])
            elif wanted == ("GET", False, ""):
                page, _ = page_of(transaction, _DEFAULT_PAGE, _MAX_PAGE)
                found = [shown(batch) for batch in await jobs.batches(owner, page)]
                await transaction.respond(200, listed(page, found), [])
            elif wanted == ("GET", True, ""):
                if (batch := await jobs.batch(owner, id)) is None:
                    raise self._missing(id)
                await transaction.respond(200, encode(shown(batch)), [])
            elif wanted == ("POST", True, "cancel"):
                await transaction.respond(200, encode(shown(await self._cancelled(jobs, owner, id))), [])
            else:
                allowed = "POST" if rest else "GET" if id else "GET, POST"
                raise MethodNotAllowed(f"this path takes {allowed} only", headers=(("allow", allowed),))

    async def _made(self, transaction: Transaction, jobs: Jobs, owner: str) -> Batch:
        check_media(transaction)
        body = await read_body(transaction, _MAX_BODY_BYTES)
        try:
            wish = _wish(body)
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"the batch cannot be read: {error}", code="invalid_value") from None
        if wish.endpoint not in ENDPOINTS:
            message = f"endpoint must be one of {', '.join(ENDPOINTS)}"
            raise InvalidRequest(message, code="invalid_value", param="endpoint")
        if wish.completion_window != _WINDOW:
            message = f"completion_window must be {_WINDOW!r}: a batch has no other"
            raise InvalidRequest(message, code="invalid_value", param="completion_window")
        file = await jobs.file(owner, wish.input_file_id)
        if file is None or file.purpose != INPUT_PURPOSE:
            message = "there is no such file of purpose `batch`; upload one with POST /v1/files"
            raise InvalidRequest(message, code="file_not_found", param="input_file_id", status=404)
        if await jobs.kept_bytes(owner) + file.bytes > self._runtime.settings.batches.max_owner_bytes:
            raise quota_exceeded("input_file_id")
        now_ms = self._now_ms()
        batch = Batch(
            id=new_batch_id(),
            owner=owner,
            endpoint=wish.endpoint,
            input_file_id=file.id,
            window=_WINDOW,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + DAY_MS,
            metadata=wish.metadata,
            input_bytes=file.bytes,
        )
        await jobs.put_batch(batch)
        self._wake()
        return batch

    async def _cancelled(self, jobs: Jobs, owner: str, id: str) -> Batch:
        batch = await jobs.cancel(owner, id, self._now_ms())
        if batch is None:
            raise self._missing(id)
        if batch.status not in (*AT_WORK, "cancelled"):
            message = f"the batch has ended already: it is {batch.status}"
            raise CallerError(message, status=409, code="batch_has_ended")
        self._wake()
        return batch

    def _missing(self, id: str) -> GatewayError:
        message = f"no such batch: {self._runtime.router.show(id)}"
        return CallerError(message, status=404, code="batch_not_found", param="id")


def shown(batch: Batch) -> dict[str, Any]:
    """Returns a batch in OpenAI's shape."""
    errors = [msgspec.structs.asdict(fault) for fault in batch.errors]
    moments = {name: _seconds(getattr(batch, f"{name}_ms")) for name in _MOMENTS}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.window,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at_ms // 1000,
        "expires_at": batch.expires_at_ms // 1000,
        **moments,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
        "model": batch.model,
        "usage": None if batch.tokens is None else _usage(batch.tokens),
    }


def _usage(tokens: Tokens) -> dict[str, Any]:
    return {
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
    }


def _seconds(moment_ms: int | None) -> int | None:
    return None if moment_ms is None else moment_ms // 1000
