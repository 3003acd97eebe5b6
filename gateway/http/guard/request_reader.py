"""Cuts a connection's input into requests and judges each head; the byte-level parser is llhttp."""

from __future__ import annotations

from typing import Protocol

import httptools

from gateway.http.guard.chunk_rules import ChunkScanner, too_large
from gateway.http.guard.framing_rules import (
    check_host,
    decode_path,
    fault_of_head,
    fault_of_method,
    invalid_transfer_encoding,
    split_target,
    uri_too_long,
)
from gateway.http.guard.limits import GuardLimits
from gateway.http.guard.refusal import METHODS, Refused
from gateway.transport.repeated import MAX_DIGITS, RepeatedHead, repeated

_END_OF_HEAD = b"\r\n\r\n"
_LINE_ENDS = b"\r\n"
_SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"transfer-encoding",
        b"content-encoding",
        b"expect",
        b"upgrade",
    }
)
"""Headers that are judged here; a second one of the same name is refused."""


class Sink(Protocol):
    """Who gets the requests."""

    def begin(self) -> None:
        """A head is complete and good; the reader's attributes describe it."""
        ...

    def body(self, data: bytes) -> None:
        """A piece of its body."""
        ...

    def end(self) -> None:
        """Its body is complete."""
        ...


class RequestReader:
    """One per connection. The attributes describe the request whose head was read last."""

    __slots__ = (
        "_blank_bytes",
        "_body_left",
        "_chunks",
        "_fault",
        "_good_host",
        "_good_path",
        "_head",
        "_is_repeated",
        "_is_upgrade",
        "_known",
        "_length_place",
        "_limits",
        "_parser",
        "_second",
        "_single",
        "_sink",
        "_url",
        "awaits_continue",
        "headers",
        "in_body",
        "is_http11",
        "keep_alive",
        "method",
        "path",
        "query",
        "raw_path",
    )

    def __init__(self, limits: GuardLimits, sink: Sink) -> None:
        self._limits = limits
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._head = b""
        """The current head as far as it has come, while it is incomplete."""
        self._blank_bytes = 0
        self._url = b""
        self._single: dict[bytes, bytes] = {}
        self._second: bytes | None = None
        """Name of the first header that came twice and must not."""
        self._is_upgrade = False
        self._fault: Refused | None = None
        self._good_host: bytes | None = None
        self._good_path: bytes | None = None
        """What `raw_path`, `query` and `path` were read from; most clients ask for one thing again and again."""
        self._known: tuple[RepeatedHead, bytes] | None = None
        """The head that was read last, and its method, if the next one may be the same: its attributes still stand."""
        self._length_place = 0
        """Where its length stands among `headers`."""
        self._is_repeated = False
        """The head at hand is that one, and the parser knows nothing of it."""
        self._chunks: ChunkScanner | None = None
        self._body_left = 0
        self.in_body = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.method = b""
        self.path = ""
        self.raw_path = b""
        self.query = b""
        self.is_http11 = True
        self.keep_alive = True
        self.awaits_continue = False

    @property
    def is_mid_head(self) -> bool:
        """True while a head has begun and not ended."""
        return bool(self._head)

    def feed(self, data: bytes, start: int) -> int:
        """Reads one part (a head, or body bytes) and returns the index behind it; raises Refused."""
        if not self.in_body:
            return (self._known and self._feed_known(*self._known, data, start)) or self._feed_head(data, start)
        if self._chunks is not None:
            return self._feed_chunks(data, start, self._chunks)
        stop = min(len(data), start + self._body_left)
        self._body_left -= stop - start
        if not self._is_repeated:
            self._parse(data[start:stop] if stop - start < 4096 else memoryview(data)[start:stop], b"")
            return stop
        self._sink.body(data[start:stop])
        if not self._body_left:
            self.on_message_complete()
        return stop

    def _feed_known(self, known: RepeatedHead, method: bytes, data: bytes, start: int) -> int:
        """Reads a head that is the same as the last one but for the length, and its body if all of it is there.

        Returns 0 if it is another head.
        """
        found = None if self._head else known.match(data, start)
        if found is None:
            return 0
        stop, digits = found
        length = int(digits)
        if not 0 < length <= self._limits.max_body_bytes:
            return 0
        headers = self.headers = self.headers.copy()
        headers[self._length_place] = (b"content-length", digits)
        self._blank_bytes = 0
        self.method = method
        self._is_repeated = True
        self._sink.begin()
        self.method = b""
        end = stop + length
        if end > len(data):
            self.in_body = True
            self._body_left = length
            return stop
        self._sink.body(data[stop:end])
        self._sink.end()
        return end

    def _remember(self, head: bytes) -> None:
        """Keeps a head if the next one may be the same: one of a plain body, behind which the connection stays."""
        single = self._single
        is_plain = not (b"transfer-encoding" in single or b"expect" in single or b"upgrade" in single)
        is_short = len(head) <= self._limits.header_bytes - MAX_DIGITS
        known = repeated(head) if is_plain and is_short and self.keep_alive else None
        self._known = None if known is None else (known, self.method)
        if known is not None:
            self._length_place = [name for name, _ in self.headers].index(b"content-length")

    def _feed_chunks(self, data: bytes, start: int, chunks: ChunkScanner) -> int:
        stop = chunks.scan(data, start)
        if stop > start:
            self._parse(memoryview(data)[start:stop], b"")
        if chunks.fault is not None:
            raise Refused(chunks.fault.status, chunks.fault.code, chunks.fault.message)
        if chunks.is_done == self.in_body:
            raise Refused(400, "invalid_http", "The request is not valid HTTP: bad chunked body.")
        return stop

    def _feed_head(self, data: bytes, start: int) -> int:
        old = self._head
        self._is_repeated = False
        if not old and data[start] in _LINE_ENDS:
            return self._skip_blank(data, start)
        room = self._limits.header_bytes - len(old)
        stop = _end_of_head(old, data, start, room)
        is_whole = stop > 0
        if not is_whole:
            stop = min(len(data), start + room)
        piece = data if start == 0 and stop == len(data) else data[start:stop]
        head = self._head = old + piece if old else piece
        if piece:
            self._parse(piece, head)
        if self._is_upgrade:
            self._parse_without_upgrade()
        elif not is_whole or (not self.in_body and not self.method):
            self._wait_for_rest(head, stop < len(data))
            return stop
        self._remember(head)
        self._head = b""
        self.method = b""
        return stop

    def _skip_blank(self, data: bytes, start: int) -> int:
        """Drops empty lines before a request (RFC 9112 section 2.2), within the cap of a head."""
        stop = len(data) - len(data[start:].lstrip(b"\r\n"))
        self._blank_bytes += stop - start
        if self._blank_bytes > self._limits.header_bytes:
            raise self._too_many_bytes()
        return stop

    def _too_many_bytes(self) -> Refused:
        limit = self._limits.header_bytes
        return Refused(431, "header_too_large", f"The headers are larger than {limit} bytes.")

    def _wait_for_rest(self, head: bytes, has_more: bool) -> None:
        if has_more and len(head) >= self._limits.header_bytes:
            raise self._too_many_bytes()
        first = head.partition(b"\n")
        if first[1] and b" HTTP/" not in first[0]:
            raise Refused(505, "http_version", "Only HTTP/1.0 and HTTP/1.1 are spoken here.")

    def _parse(self, piece: bytes | memoryview, head: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if not self._is_upgrade:
                raise Refused(400, "invalid_http", "The request is not valid HTTP.") from None
        except httptools.HttpParserError as error:
            fault, self._fault = self._fault, None
            if fault is not None:
                raise fault from None
            if not head:
                raise Refused(400, "invalid_http", f"The request is not valid HTTP: {error}.") from None
            refusal = fault_of_head(head, str(error), self._limits.url_bytes)
            raise Refused(refusal.status, refusal.code, refusal.message) from None

    def _parse_without_upgrade(self) -> None:
        """Reads the head again as if no upgrade had been asked for: its body is a body, not another protocol."""
        version = self._parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (self._parser.get_method(), self._url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token for token in value.split(b",") if token.strip().lower() != b"upgrade"]
                value = b",".join(tokens).strip()
            if name != b"upgrade" and (value or name != b"connection"):
                head.append(b"%b: %b\r\n" % (name, value))
        head.append(b"\r\n")
        self._is_upgrade = False
        self._parser = httptools.HttpRequestParser(self)
        whole = b"".join(head)
        self._parse(whole, whole)

    def on_message_begin(self) -> None:
        """Parser: the first byte of a request."""
        self._blank_bytes = 0
        self._url = b""
        self.headers = []
        self._single = {}
        self._second = None

    def on_url(self, url: bytes) -> None:
        """Parser: a piece of the request target."""
        self._url = self._url + url if self._url else url
        if len(self._url) > self._limits.url_bytes:
            refusal = uri_too_long(self._limits.url_bytes)
            self._refuse(Refused(refusal.status, refusal.code, refusal.message))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: one header or trailer; trailers are dropped."""
        if self.in_body:
            return
        name = name.lower()
        self.headers.append((name, value))
        if name in _SINGLE:
            if name in self._single and self._second is None:
                self._second = name
            self._single[name] = value

    def on_headers_complete(self) -> None:
        """Parser: the head is complete; whatever is wrong with it is found here, in a fixed order."""
        if b"upgrade" in self._single and self._parser.should_upgrade():
            self._is_upgrade = True
            return
        try:
            self._judge()
        except Refused as refused:
            self._refuse(refused)
        self.in_body = True
        self._sink.begin()

    def on_body(self, data: bytes) -> None:
        """Parser: body bytes without their framing."""
        self._sink.body(data)

    def on_message_complete(self) -> None:
        """Parser: the end of a request."""
        if self.in_body:
            self.in_body = False
            self._sink.end()

    def _refuse(self, refused: Refused) -> None:
        self._fault = refused
        raise refused

    def _judge(self) -> None:
        method = self._parser.get_method()
        version = self._parser.get_http_version()
        if version != "1.1" and (version != "1.0" or b" HTTP/" not in self._head.partition(b"\n")[0]):
            # The parser also lets RTSP/1.0 and HTTP/0.9 pass.
            raise Refused(505, "http_version", "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
        if method not in METHODS:
            refusal = fault_of_method(method)
            raise Refused(refusal.status, refusal.code, refusal.message)
        if len(self.headers) > self._limits.header_count:
            count = self._limits.header_count
            raise Refused(431, "header_too_large", f"There are more than {count} headers.")
        self.method = method
        self.is_http11 = version == "1.1"
        self.keep_alive = self.is_http11 and self._parser.should_keep_alive()
        single = self._single
        if self._second is not None:
            raise _second(self._second)
        host = single.get(b"host")
        if host != self._good_host or host is None:
            self._judge_host(host)
        if self._url != self._good_path:
            self._judge_target(host)
        self._judge_body(single)

    def _judge_host(self, host: bytes | None) -> None:
        if host is not None:
            check_host(host, self._limits.allowed_hosts)
            self._good_host = host
        elif self.is_http11 or self._limits.allowed_hosts is not None:
            raise Refused(400, "invalid_host", "The Host header is missing.")

    def _judge_target(self, host: bytes | None) -> None:
        self._good_path = None
        self.raw_path, self.query = split_target(self._url, host or b"")
        self.path = decode_path(self.raw_path)
        if self._url[:1] == b"/":  # else it may be good for this host only
            self._good_path = self._url

    def _judge_body(self, single: dict[bytes, bytes]) -> None:
        length = single.get(b"content-length")
        self._body_left = int(length) if length else 0
        if self._body_left > self._limits.max_body_bytes:
            raise too_large(self._limits.max_body_bytes)
        self._chunks = None
        encoding = single.get(b"transfer-encoding")
        if encoding is not None:
            if encoding.lower() != b"chunked" or not self.is_http11:
                refusal = invalid_transfer_encoding()
                raise Refused(refusal.status, refusal.code, refusal.message)
            self._chunks = ChunkScanner(self._limits.max_body_bytes)
        coding = single.get(b"content-encoding")
        if coding is not None and coding.strip().lower() not in (b"", b"identity"):
            message = "Compressed request bodies are not supported."
            raise Refused(415, "unsupported_content_encoding", message)
        expectation = single.get(b"expect")
        self.awaits_continue = False
        if expectation is not None:
            if expectation.lower() != b"100-continue":
                raise Refused(417, "expectation_failed", "Only `Expect: 100-continue` is supported.")
            self.awaits_continue = self.is_http11 and (encoding is not None or self._body_left > 0)


def _second(name: bytes) -> Refused:
    if name == b"host":
        return Refused(400, "invalid_host", "There is more than one Host header.")
    if name == b"transfer-encoding":
        refusal = invalid_transfer_encoding()
        return Refused(refusal.status, refusal.code, refusal.message)
    return Refused(400, "duplicate_header", f"There is more than one {name.decode('ascii')} header.")


def _end_of_head(old: bytes, data: bytes, start: int, room: int) -> int:
    """Returns the index in `data` behind the empty line that ends the head, or 0 if it is not in reach."""
    if not old:
        found = data.find(_END_OF_HEAD, start, start + room)
        return found + 4 if found >= 0 else 0
    overlap = old[-3:]
    found = (overlap + data[start : start + room]).find(_END_OF_HEAD)
    return start + found + 4 - len(overlap) if found >= 0 else 0
