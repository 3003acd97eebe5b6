"""Gemini's batch API: all requests in one body, all answers in the operation that it becomes; chats alone.

As in https://ai.google.dev/api/batch-api and https://ai.google.dev/gemini-api/docs/batch-api, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, Final
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct, field

from adapters.batches import ANSWER, BATCH, LIST, NEVER_MADE, Answered, Item, Standing, plain_id, read
from adapters.codec import encode
from adapters.errors import Malformed
from adapters.gemini.request import model_path
from adapters.types import JSON_HEADERS, HttpRequest, Operation, Target

_PARENT: Final = "batches/"
_OVER: Final = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
_CANCELLED: Final = 1
_LONGEST_TOKEN: Final = 2_000
_STATUS: Final[Mapping[int, tuple[int, str]]] = MappingProxyType(
    {
        3: (400, "INVALID_ARGUMENT"),
        4: (504, "DEADLINE_EXCEEDED"),
        5: (404, "NOT_FOUND"),
        7: (403, "PERMISSION_DENIED"),
        8: (429, "RESOURCE_EXHAUSTED"),
        9: (400, "FAILED_PRECONDITION"),
        13: (500, "INTERNAL"),
        14: (503, "UNAVAILABLE"),
        16: (401, "UNAUTHENTICATED"),
    }
)
"""Code of `google.rpc.Status` -> what it has as a status where it comes alone, and its name."""
_UNKNOWN: Final = (500, "UNKNOWN")


class _Stats(Struct, frozen=True, rename="camel"):
    request_count: str | int = 0


class _About(Struct, frozen=True, rename="camel"):
    state: str = ""
    display_name: str = ""
    create_time: datetime | None = None
    batch_stats: _Stats = _Stats()


class _Key(Struct, frozen=True):
    key: str = ""


class _Error(Struct, frozen=True):
    code: int = 0
    message: str = ""


class _One(Struct, frozen=True):
    response: Raw = Raw()
    error: _Error | None = None
    metadata: _Key = _Key()


class _Operation(Struct, frozen=True):
    name: str
    metadata: _About = _About()
    done: bool = False


class _List(Struct, frozen=True, rename="camel"):
    operations: list[_Operation] = field(default_factory=list[_Operation])
    next_page_token: str = ""


_operation = msgspec.json.Decoder(_Operation).decode
_one = msgspec.json.Decoder(_One).decode
_list = msgspec.json.Decoder(_List).decode


class GeminiBatches:
    """See `BatchProtocol`."""

    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT})
    has_names: ClassVar[bool] = True
    answers_in: ClassVar[bytes] = b"inlinedResponses"

    def upload(self, target: Target, operation: Operation, items: Sequence[Item], name: str) -> HttpRequest | None:
        """Returns None: the requests come with the batch."""
        return None

    def submit(
        self, target: Target, operation: Operation, items: Sequence[Item], name: str, uploaded: bytes
    ) -> HttpRequest:
        """Returns what begins a batch."""
        requests = [{"request": Raw(item.body), "metadata": {"key": item.id}} for item in items]
        body = encode({"batch": {"displayName": name, "inputConfig": {"requests": {"requests": requests}}}})
        url = f"{target.base_url}/{model_path(target.model)}:batchGenerateContent"
        return HttpRequest("POST", url, target.headers + JSON_HEADERS, body)

    def look(self, target: Target, id: str) -> HttpRequest:
        """Returns what asks how it stands."""
        return HttpRequest("GET", f"{target.base_url}/{_PARENT}{id}", target.headers)

    def cancel(self, target: Target, id: str) -> HttpRequest:
        """Returns what ends it early."""
        return HttpRequest("POST", f"{target.base_url}/{_PARENT}{id}:cancel", target.headers)

    def find(self, target: Target, page: str) -> HttpRequest:
        """Returns what asks for batches, or for the page that a token stands for."""
        token = f"&pageToken={quote(page, safe='')}" if page else ""
        return HttpRequest("GET", f"{target.base_url}/batches?pageSize=100{token}", target.headers)

    def next_page(self, body: bytes) -> str:
        """Reads the token of a list that goes on."""
        token = read(_list, body, LIST).next_page_token
        if len(token) > _LONGEST_TOKEN:
            raise Malformed(f"{LIST} goes on behind a token of {len(token)} characters")
        return token

    def standing(self, body: bytes) -> Standing:
        """Reads an operation."""
        return _standing(read(_operation, body, BATCH))

    def found(self, body: bytes) -> Sequence[Standing]:
        """Reads a list of operations."""
        return [_standing(each) for each in read(_list, body, LIST).operations]

    def results(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns what gets the operation, which the answers are in."""
        return [self.look(target, standing.id)]

    def answered(self, answer: bytes) -> Answered:
        """Reads an answer; they stand in the order of the requests, and say whose they are if all is well."""
        one = read(_one, answer, ANSWER)
        id = one.metadata.key
        if one.error is None:
            return Answered(id, 200, bytes(one.response))
        if one.error.code == _CANCELLED:
            return Answered(id, NEVER_MADE)
        status, name = _STATUS.get(one.error.code, _UNKNOWN)
        said = {"code": status, "message": one.error.message, "status": name}
        return Answered(id, status, encode({"error": said}))

    def withdrawal(self, target: Target, uploaded: bytes) -> Sequence[HttpRequest]:
        """Returns nothing: there was no upload."""
        return ()

    def clearing(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns nothing: there are no files."""
        return ()


def _standing(operation: _Operation) -> Standing:
    about = operation.metadata
    try:
        count = int(about.batch_stats.request_count)
    except ValueError:
        raise Malformed(f"{BATCH} has a `requestCount` that is no number") from None
    return Standing(
        plain_id(operation.name.removeprefix(_PARENT)),
        operation.done or about.state.endswith(_OVER),
        about.display_name,
        count,
        created=about.create_time.timestamp() if about.create_time else 0.0,
    )
