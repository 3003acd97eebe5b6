"""Bedrock's `/invoke`, which hands a body to a model in its maker's own words: what embeddings and rerank share."""

from __future__ import annotations

from typing import Any, Final

from adapters.bedrock.request import model_url
from adapters.codec import JSON, encode
from adapters.fidelity import Report
from adapters.types import JSON_HEADERS, Head, HttpRequest, Target, Usage

Object = dict[str, Any]
_COUNT_HEADER: Final = "x-amzn-bedrock-input-token-count"


def invocation(target: Target, body: Object, report: Report) -> HttpRequest:
    """Returns the request that hands `body` to the model."""
    headers = target.headers + JSON_HEADERS
    return HttpRequest("POST", model_url(target, "invoke"), headers, encode(body), report.dropped)


def counted(tokens: JSON, head: Head) -> Usage | None:
    """Returns the count in the answer, else the one in its header; None if neither has one."""
    told = head.headers.get(_COUNT_HEADER, "")
    count = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None
    if count is None and told.isascii() and told.isdecimal() and len(told) <= 15:
        count = int(told)
    return Usage(prompt=count) if count is not None and 0 <= count < 2**53 else None
