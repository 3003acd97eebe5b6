"""Checks AWS signatures of raw HTTP requests, written from AWS's page and not from any library.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, 2026-11-21.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def read(raw: bytes) -> Received:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    return Received(method, target, {name.lower(): value.strip() for name, value in pairs}, body)


def expected_signature(request: Received, secret: str, scope: str, names: str) -> str:
    """Returns the signature that AWS computes; `scope` is `date/region/service/aws4_request`."""
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        (
            request.method,
            quote(path, safe="/-_.~"),
            "&".join("=".join(pair) for pair in sorted(part.split("=", 1) for part in query.split("&"))),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names.split(";")),
            "",
            names,
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    text = "\n".join(
        ("AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def is_well_signed(request: Received, secret: str) -> bool:
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=[A-Z0-9]+/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})",
        request.headers["authorization"],
    )
    return match is not None and match[3] == expected_signature(request, secret, match[1], match[2])
