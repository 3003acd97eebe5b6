"""What a well-formed request is: target, host, and why the parser refused a head. No I/O and no state.

The parser (llhttp) is strict about bytes but lenient about meaning. Everything here closes a difference between
what it lets through and what a proxy in front of us could have understood.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import httptools

from gateway.http.guard.refusal import Refusal, Refused

MODELS_PREFIX = b"/v1/models/"
"""Below it `%2F` is part of a model's name: the OpenAI SDKs quote `org/model` that way."""

_plain_path = re.compile(rb"/[A-Za-z0-9_/:@-]*\Z").match
_safe_path = re.compile(rb"/(?:[A-Za-z0-9_.~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2})*\Z").match
_valid_host = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?\Z").match
_escaped_separator = re.compile(rb"%(?:2[ef]|5c|00)", re.IGNORECASE).search
_escaped_dot = re.compile(rb"%2e", re.IGNORECASE).search
_control = re.compile(rb"[\x00-\x1f\x7f\\]").search


class _Deaf:
    """A parser target that hears nothing."""

    def on_url(self, url: bytes) -> None: ...

    def on_header(self, name: bytes, value: bytes) -> None: ...


def decode_path(raw: bytes) -> str:
    """Returns the decoded path; raises Refused for one that two servers could read in two ways."""
    if _plain_path(raw) and b"//" not in raw:
        return raw.decode("ascii")
    is_model = raw.startswith(MODELS_PREFIX)
    escaped = _escaped_dot(raw) if is_model else _escaped_separator(raw)
    if escaped or not _safe_path(raw):
        raise _bad_path()
    decoded = unquote_to_bytes(raw)
    segments = decoded.split(b"/")[1:]
    if _control(decoded) or b"." in segments or b".." in segments or b"" in segments[:-1]:
        raise _bad_path()
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad_path() from None


def _bad_path() -> Refused:
    return Refused(400, "invalid_path", "The path of the URL is not valid.")


def split_target(url: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Returns raw path and query; raises Refused for another authority than `host`, a fragment or `*`."""
    if url[:1] != b"/":
        scheme, separator, rest = url.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise _bad_path()
        if authority.lower() != host.lower():
            raise Refused(400, "invalid_host", "The URL names another host than the Host header.")
        url = slash + path or b"/"
    path, _, query = url.partition(b"?")
    if b"#" in url:
        raise _bad_path()
    return path, query


def check_host(host: bytes, allowed: frozenset[str] | None) -> None:
    """Raises Refused unless `host` is a name or address with an optional port, and one of `allowed` if given.

    The list is the guard against DNS rebinding: a web page whose name was re-pointed at this machine sends its own
    name here.
    """
    if not _valid_host(host):
        raise Refused(400, "invalid_host", "The Host header is not valid.")
    if allowed is not None and host_name(host) not in allowed:
        raise Refused(400, "invalid_host", "This Host is not served here; see server.allowed_hosts.")


def host_name(host: bytes) -> str:
    """Returns a valid Host value without its port, in lower case."""
    name = host.decode("ascii").lower()
    return name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]


def fault_of_head(head: bytes, reason: str, url_bytes: int) -> Refusal:
    """Returns why the parser refused `head` (everything of this message so far) for `reason`.

    The answer depends on the bytes up to the first bad one only, so that it is the same for every way of cutting.
    """
    if reason.startswith("Data after"):
        return Refusal(400, "invalid_http", "The request is not valid HTTP: data after `Connection: close`.")
    seen = head[: _first_bad(head) + 1]
    line, has_line_end, _ = seen.partition(b"\n")
    parts = line.split(None, 1)
    if len(parts) < 2 and not has_line_end and b" " not in seen:
        return fault_of_method(seen)
    if reason == "Invalid method for HTTP/x.x request" or seen.startswith((b"CONNECT ", b"TRACE ")):
        return fault_of_method(seen)
    target = parts[1] if len(parts) > 1 else b""
    if b" " not in target and len(target) > url_bytes:
        return uri_too_long(url_bytes)
    if reason == "Invalid HTTP version" or (has_line_end and b" HTTP/" not in line):
        return Refusal(505, "http_version", "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
    last = seen.rstrip(b"\r\n").rpartition(b"\n")[2]
    if "Content-Length" not in reason and last[:18].lower() == b"transfer-encoding:":
        return invalid_transfer_encoding()
    return Refusal(400, "invalid_http", f"The request is not valid HTTP: {reason}.")


def fault_of_method(method: bytes) -> Refusal:
    """Returns the refusal of a first word that is no method we know; not even a word is not HTTP."""
    if method[:1].isalpha():
        return Refusal(405, "method_not_allowed", "This HTTP method is not supported.")
    return Refusal(400, "invalid_http", "The request is not valid HTTP: Invalid method encountered.")


def uri_too_long(url_bytes: int) -> Refusal:
    """Returns the refusal of a long URL."""
    return Refusal(414, "uri_too_long", f"The URL is longer than {url_bytes} bytes.")


def invalid_transfer_encoding() -> Refusal:
    """Returns the refusal of every transfer encoding but `chunked`, alone and once."""
    return Refusal(400, "invalid_transfer_encoding", "Transfer-Encoding must be exactly `chunked`.")


def _first_bad(head: bytes) -> int:
    """Returns the index of the byte at which the parser fails, by bisection over prefixes."""
    low, high = 0, len(head)
    while low + 1 < high:
        middle = (low + high) // 2
        if _is_parsable(head[:middle]):
            low = middle
        else:
            high = middle
    return high - 1


def _is_parsable(prefix: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_Deaf()).feed_data(prefix)
    except httptools.HttpParserError:
        return False
    except httptools.HttpParserUpgrade:
        return True
    return True
