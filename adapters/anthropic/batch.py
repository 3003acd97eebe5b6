"""Anthropic's Message Batches: all requests in one body, answers as lines.

As in https://platform.claude.com/docs/en/api/messages/batches/create, .../retrieve and .../results, read 2026-11-21.
A batch has no name, so that one whose beginning was not answered is known again by its answers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec
from msgspec import Raw, Struct, field

from adapters.batches import ANSWER, BATCH, LIST, NEVER_MADE, Answered, Item, Standing, plain_id, read
from adapters.codec import encode
from adapters.types import JSON_HEADERS, HttpRequest, Operation, Target

_VERSION: Final = ("anthropic-version", "2023-06-01")
_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "invalid_request_error": 400,
        "authentication_error": 401,
        "billing_error": 402,
        "permission_error": 403,
        "not_found_error": 404,
        "request_too_large": 413,
        "rate_limit_error": 429,
        "api_error": 500,
        "timeout_error": 504,
        "overloaded_error": 529,
    }
)
"""What each error has as a status where it comes alone (https://platform.claude.com/docs/en/api/errors)."""
_UNKNOWN: Final = 500


class _Counts(Struct, frozen=True):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class _Batch(Struct, frozen=True):
    id: str
    processing_status: str
    created_at: datetime | None = None
    request_counts: _Counts = _Counts()


class _List(Struct, frozen=True):
    data: list[_Batch] = field(default_factory=list[_Batch])
    has_more: bool = False


class _Kind(Struct, frozen=True):
    type: str = ""


class _Error(Struct, frozen=True):
    error: _Kind = _Kind()


class _Result(Struct, frozen=True):
    type: str
    message: Raw = Raw()
    error: Raw = Raw()


class _Line(Struct, frozen=True):
    custom_id: str
    result: _Result


_batch = msgspec.json.Decoder(_Batch).decode
_list = msgspec.json.Decoder(_List).decode
_line = msgspec.json.Decoder(_Line).decode
_error = msgspec.json.Decoder(_Error).decode


class AnthropicBatches:
    """See `BatchProtocol`."""

    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT})
    has_names: ClassVar[bool] = False
    answers_in: ClassVar[bytes] = b""

    def upload(self, target: Target, operation: Operation, items: Sequence[Item], name: str) -> HttpRequest | None:
        """Returns None: the requests come with the batch."""
        return None

    def submit(
        self, target: Target, operation: Operation, items: Sequence[Item], name: str, uploaded: bytes
    ) -> HttpRequest:
        """Returns what begins a batch."""
        body = encode({"requests": [{"custom_id": item.id, "params": Raw(item.body)} for item in items]})
        return HttpRequest("POST", _url(target), _headers(target) + JSON_HEADERS, body)

    def look(self, target: Target, id: str) -> HttpRequest:
        """Returns what asks how it stands."""
        return HttpRequest("GET", f"{_url(target)}/{id}", _headers(target))

    def cancel(self, target: Target, id: str) -> HttpRequest:
        """Returns what ends it early."""
        return HttpRequest("POST", f"{_url(target)}/{id}/cancel", _headers(target))

    def find(self, target: Target, page: str) -> HttpRequest:
        """Returns what asks for the newest batches, or for those after one."""
        after = f"&after_id={page}" if page else ""
        return HttpRequest("GET", f"{_url(target)}?limit=100{after}", _headers(target))

    def next_page(self, body: bytes) -> str:
        """Reads the id of the last batch of a list that goes on."""
        found = read(_list, body, LIST)
        return plain_id(found.data[-1].id) if found.has_more and found.data else ""

    def standing(self, body: bytes) -> Standing:
        """Reads a batch."""
        return _standing(read(_batch, body, BATCH))

    def found(self, body: bytes) -> Sequence[Standing]:
        """Reads a list of batches."""
        return [_standing(each) for each in read(_list, body, LIST).data]

    def results(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns what gets the answers: below our own URL, since a credential goes nowhere else."""
        return [HttpRequest("GET", f"{_url(target)}/{standing.id}/results", _headers(target))]

    def answered(self, answer: bytes) -> Answered:
        """Reads a line of answers."""
        line = read(_line, answer, ANSWER)
        result = line.result
        if result.type == "succeeded":
            return Answered(line.custom_id, 200, bytes(result.message))
        if result.type != "errored":
            return Answered(line.custom_id, NEVER_MADE)
        said = bytes(result.error)
        kind = read(_error, said, ANSWER).error.type
        return Answered(line.custom_id, _STATUS.get(kind, _UNKNOWN), said)

    def withdrawal(self, target: Target, uploaded: bytes) -> Sequence[HttpRequest]:
        """Returns nothing: there was no upload."""
        return ()

    def clearing(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns nothing: there are no files."""
        return ()


def _url(target: Target) -> str:
    return f"{target.url(Operation.CHAT)}/batches"


def _headers(target: Target) -> tuple[tuple[str, str], ...]:
    names = {name for name, _ in target.headers}
    return target.headers if _VERSION[0] in names else (*target.headers, _VERSION)


def _standing(batch: _Batch) -> Standing:
    counts = batch.request_counts
    created = batch.created_at.timestamp() if batch.created_at else 0.0
    total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    return Standing(plain_id(batch.id), batch.processing_status == "ended", "", total, created)
