"""What a scripted upstream makes of the bytes that it received."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client, whole; names of its headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def take_request(received: bytearray) -> Request | None:
    """Takes one whole request off the front of `received`, or returns None if there is none yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = received[:end].decode("latin-1").split("\r\n")
    method, path, _version = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    taken = _body(bytes(received[end + 4 :]), headers)
    if taken is None:
        return None
    body, size = taken
    del received[: end + 4 + size]
    return Request(method, path, headers, body)


def _body(data: bytes, headers: dict[str, str]) -> tuple[bytes, int] | None:
    """Returns the body and how many bytes of `data` it took, or None if it is not whole."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        size = int(headers.get("content-length", "0"))
        return (data[:size], size) if len(data) >= size else None
    body, at = b"", 0
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].partition(b";")[0], 16)
        start = line_end + 2
        if len(data) < start + size + 2:
            return None
        body += data[start : start + size]
        at = start + size + 2
        if size == 0:
            return body, at
    return None
