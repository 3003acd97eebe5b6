"""Lines of files: what a request of an input file must look like, and what results look like. Pure."""

from __future__ import annotations

import codecs
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.types import Operation
from gateway.errors import GatewayError
from gateway.storage.jobs import BatchFault, Line, LineResult, Tokens

ENDPOINTS: Final = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.COMPLETIONS,
    "/v1/embeddings": Operation.EMBEDDINGS,
    "/v1/rerank": Operation.RERANK,
}
"""What a batch can be of."""
MAX_LINES: Final = 50_000
MAX_LINE_BYTES: Final = 32 * 1024 * 1024
MAX_FAULTS: Final = 100
"""Of one file, that are told."""
_MAX_CUSTOM_ID: Final = 512
_encode = msgspec.json.Encoder().encode


class _Request(Struct, frozen=True):
    custom_id: str
    method: str
    url: str
    body: Raw


class _Body(Struct, frozen=True):
    stream: bool | None = None
    model: Any = None


class _TokenDetails(Struct, frozen=True):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _TokenDetails | None = None
    completion_tokens_details: _TokenDetails | None = None


class _AnswerBody(Struct, frozen=True):
    usage: _Usage | None = None


class _Response(Struct, frozen=True):
    body: _AnswerBody


class _Written(Struct, frozen=True):
    response: _Response


_request = msgspec.json.Decoder(_Request).decode
_body = msgspec.json.Decoder(_Body).decode
_written_line = msgspec.json.Decoder(_Written).decode


class LineReader:
    """Reads an input file piece by piece; what is wrong is gathered."""

    def __init__(self, batch_id: str, endpoint: str) -> None:
        self.faults: list[BatchFault] = []
        self.total = 0
        self.bytes = 0
        """How many it was given."""
        self.model: str | None = None
        """What all lines ask for; None if they differ."""
        self._batch_id = batch_id
        self._endpoint = endpoint
        self._pieces: list[bytes] = []
        """Of the line that has not ended."""
        self._length = 0
        self._number = 0
        self._seen: set[str] = set()

    def feed(self, data: bytes) -> list[Line]:
        """Returns the lines that these bytes complete."""
        self.bytes += len(data)
        first, *others = data.split(b"\n")
        self._add(first)
        found: list[Line] = []
        for text in others:
            if (line := self._read(self._taken())) is not None:
                found.append(line)
            self._add(text)
        return found

    def close(self) -> list[Line]:
        """Returns the last line, if it has no line end, and notes a file without lines."""
        line = self._read(self._taken())
        if not self.total and not self.faults:
            self._fault("empty_file", "the file has no lines; each must be a request", None)
        return [] if line is None else [line]

    @property
    def is_hopeless(self) -> bool:
        """Says whether reading on tells nothing new."""
        return len(self.faults) >= MAX_FAULTS or self.total > MAX_LINES

    def _add(self, text: bytes) -> None:
        was_fit = self._length <= MAX_LINE_BYTES
        self._length += len(text)
        if self._length <= MAX_LINE_BYTES:
            self._pieces.append(text)
        elif was_fit:
            self._pieces.clear()
            self._fault("line_too_long", f"the line is longer than {MAX_LINE_BYTES} bytes", None, self._number + 1)

    def _taken(self) -> bytes:
        """Returns the line that has ended, without what stands before the first one on some systems."""
        text = b"".join(self._pieces)
        self._pieces.clear()
        self._length = 0
        return text if self._number else text.removeprefix(codecs.BOM_UTF8)

    def _read(self, text: bytes) -> Line | None:
        self._number += 1
        if not text.strip() or self.is_hopeless:
            return None
        self.total += 1
        if self.total > MAX_LINES:
            self._fault("too_many_tasks", f"the file has more than {MAX_LINES} lines; split it", None)
            return None
        try:
            text.decode()
            request = _request(text)
            body = _body(request.body)
        except (ValueError, RecursionError) as error:
            must = "the line must be a JSON object in UTF-8 with `custom_id`, `method`, `url` and an object `body`"
            why = f" ({error})" if isinstance(error, msgspec.ValidationError) else ""
            self._fault("invalid_json_line", f"{must}{why}", None)
            return None
        if not self._is_fit(request, stream=bool(body.stream)):
            return None
        model = body.model if isinstance(body.model, str) else None
        self.model = model if self.total == 1 or self.model == model else None
        self._seen.add(request.custom_id)
        return Line(self._batch_id, self.total - 1, request.custom_id, bytes(request.body))

    def _is_fit(self, request: _Request, *, stream: bool) -> bool:
        if not 0 < len(request.custom_id) <= _MAX_CUSTOM_ID or "\0" in request.custom_id:
            self._fault("invalid_custom_id", f"must have 1 to {_MAX_CUSTOM_ID} characters", "custom_id")
        elif request.custom_id in self._seen:
            self._fault("duplicate_custom_id", f"{request.custom_id[:100]!r} stands in a line before", "custom_id")
        elif request.method != "POST":
            self._fault("invalid_method", "must be POST", "method")
        elif request.url != self._endpoint:
            self._fault("mismatched_url", f"must be the endpoint of the batch, {self._endpoint}", "url")
        elif stream:
            self._fault("stream_unsupported", "nobody is there to read a stream: leave it out", "body.stream")
        else:
            return True
        return False

    def _fault(self, code: str, message: str, param: str | None, number: int | None = None) -> None:
        line = None if code == "empty_file" else number or self._number
        self.faults.append(BatchFault(code, message, line, param))


def answered(line: Line, request_id: str, body: bytes) -> bytes:
    """Returns the line of the output file for an answer."""
    return _written(line.custom_id, line.batch_id, line.number, request_id, 200, body)


def refused(line: Line, request_id: str, error: GatewayError) -> bytes:
    """Returns the line of the error file for an error that the request was answered with."""
    return _written(line.custom_id, line.batch_id, line.number, request_id, error.status, error.body())


def never_done(batch_id: str, result: LineResult, code: str, message: str) -> bytes:
    """Returns the line of the error file for a request that was never made."""
    line = {
        "id": _id(batch_id, result.number),
        "custom_id": result.custom_id,
        "response": None,
        "error": {"code": code, "message": message},
    }
    return _encode(line) + b"\n"


def lost(line: Line) -> bytes:
    """Returns the line of the error file for a request whose answer could not be fetched."""
    message = "the provider's batch may have answered this request, but its answers could not be fetched in time"
    return never_done(line.batch_id, LineResult(line.number, line.custom_id, 0, None), "batch_answers_lost", message)


def with_usage(tokens: Tokens, written: bytes) -> Tokens:
    """Returns what is used with what the answer in a line of the output file says that it used."""
    try:
        usage = _written_line(written).response.body.usage
    except msgspec.DecodeError:  # an error, or an answer that counts in its own way
        return tokens
    if usage is None:
        return tokens
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Tokens(
        tokens.input + usage.prompt_tokens,
        tokens.cached + ((prompt.cached_tokens or 0) if prompt else 0),
        tokens.output + usage.completion_tokens,
        tokens.reasoning + ((completion.reasoning_tokens or 0) if completion else 0),
    )


def _written(custom_id: str, batch_id: str, number: int, request_id: str, status: int, body: bytes) -> bytes:
    # An answer may be written over several lines, which a line may not.
    response = {"status_code": status, "request_id": request_id, "body": Raw(msgspec.json.format(body, indent=-1))}
    line = {"id": _id(batch_id, number), "custom_id": custom_id, "response": response, "error": None}
    return _encode(line) + b"\n"


def _id(batch_id: str, number: int) -> str:
    return f"batch_req_{batch_id.removeprefix('batch_')}_{number}"
