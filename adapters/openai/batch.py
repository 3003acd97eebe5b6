"""OpenAI's batch API: a file of requests, a batch of it, files of answers.

Files and batches as in https://platform.openai.com/docs/api-reference/batch and .../files, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec
from msgspec import Raw, Struct, field

from adapters.batches import ANSWER, BATCH, LIST, NEVER_MADE, Answered, Item, Standing, plain_id, read
from adapters.codec import encode
from adapters.errors import Malformed
from adapters.types import JSON_HEADERS, HttpRequest, Operation, Target

_URLS: Final[Mapping[Operation, str]] = MappingProxyType(
    {
        Operation.CHAT: "/v1/chat/completions",
        Operation.COMPLETIONS: "/v1/completions",
        Operation.EMBEDDINGS: "/v1/embeddings",
    }
)
_OVER: Final = frozenset({"failed", "completed", "expired", "cancelled"})
_NAME: Final = "anyport"
"""The member of `metadata` that has our name of a batch."""


class _File(Struct, frozen=True):
    id: str


class _Counts(Struct, frozen=True):
    total: int = 0


class _Batch(Struct, frozen=True):
    id: str
    status: str
    metadata: dict[str, str] | None = None
    created_at: float = 0.0
    request_counts: _Counts | None = None
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None


class _List(Struct, frozen=True):
    data: list[_Batch] = field(default_factory=list[_Batch])
    has_more: bool = False


class _Response(Struct, frozen=True):
    status_code: int
    body: Raw


class _Line(Struct, frozen=True):
    custom_id: str
    response: _Response | None = None


_file = msgspec.json.Decoder(_File).decode
_batch = msgspec.json.Decoder(_Batch).decode
_list = msgspec.json.Decoder(_List).decode
_line = msgspec.json.Decoder(_Line).decode


class OpenAIBatches:
    """See `BatchProtocol`."""

    operations: ClassVar[frozenset[Operation]] = frozenset(_URLS)
    has_names: ClassVar[bool] = True
    answers_in: ClassVar[bytes] = b""

    def upload(self, target: Target, operation: Operation, items: Sequence[Item], name: str) -> HttpRequest | None:
        """Returns the upload of the file; `name` is no text that a request could have in it by chance."""
        head = {"method": "POST", "url": _URLS[operation]}
        lines = b"".join(encode({"custom_id": item.id, **head, "body": Raw(item.body)}) + b"\n" for item in items)
        boundary = name.encode()
        parts = b'--%b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' % boundary
        parts += b'--%b\r\ncontent-disposition: form-data; name="file"; filename="%b.jsonl"\r\n' % (boundary, boundary)
        parts += b"content-type: application/jsonl\r\n\r\n" + lines + b"\r\n--%b--\r\n" % boundary
        headers = (*target.headers, ("content-type", f"multipart/form-data; boundary={name}"))
        return HttpRequest("POST", f"{target.base_url}/files", headers, parts)

    def submit(
        self, target: Target, operation: Operation, items: Sequence[Item], name: str, uploaded: bytes
    ) -> HttpRequest:
        """Returns what begins a batch of the uploaded file."""
        wish = {"input_file_id": _uploaded(uploaded), "endpoint": _URLS[operation], "completion_window": "24h"}
        body = encode({**wish, "metadata": {_NAME: name}})
        return HttpRequest("POST", f"{target.base_url}/batches", target.headers + JSON_HEADERS, body)

    def look(self, target: Target, id: str) -> HttpRequest:
        """Returns what asks how it stands."""
        return HttpRequest("GET", f"{target.base_url}/batches/{id}", target.headers)

    def cancel(self, target: Target, id: str) -> HttpRequest:
        """Returns what ends it early."""
        return HttpRequest("POST", f"{target.base_url}/batches/{id}/cancel", target.headers)

    def find(self, target: Target, page: str) -> HttpRequest:
        """Returns what asks for the newest batches, or for those after one."""
        after = f"&after={page}" if page else ""
        return HttpRequest("GET", f"{target.base_url}/batches?limit=100{after}", target.headers)

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
        """Returns what gets the file of answers, and that of errors."""
        return [HttpRequest("GET", f"{target.base_url}/files/{id}/content", target.headers) for id in standing.files]

    def answered(self, answer: bytes) -> Answered:
        """Reads a line of such a file."""
        line = read(_line, answer, ANSWER)
        if line.response is None:
            return Answered(line.custom_id, NEVER_MADE)
        return Answered(line.custom_id, line.response.status_code, bytes(line.response.body))

    def withdrawal(self, target: Target, uploaded: bytes) -> Sequence[HttpRequest]:
        """Returns what deletes the uploaded file."""
        return [_deletion(target, _uploaded(uploaded))]

    def clearing(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns what deletes the files of requests, answers and errors."""
        files = (standing.input_file, *standing.files)
        return [_deletion(target, file) for file in files if file]


def _uploaded(answer: bytes) -> str:
    try:
        return plain_id(_file(answer).id)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Malformed("the answer to the upload of a batch has no `id`") from None


def _deletion(target: Target, file: str) -> HttpRequest:
    return HttpRequest("DELETE", f"{target.base_url}/files/{file}", target.headers)


def _standing(batch: _Batch) -> Standing:
    return Standing(
        plain_id(batch.id),
        batch.status in _OVER,
        (batch.metadata or {}).get(_NAME, ""),
        batch.request_counts.total if batch.request_counts else 0,
        batch.created_at,
        tuple(plain_id(file) for file in (batch.output_file_id, batch.error_file_id) if file),
        plain_id(batch.input_file_id) if batch.input_file_id else "",
    )
