"""Failures as values, and how a response becomes one.

Theory. What the loop does next depends only on the kind of a failure, so the kind must be right, and wrong guesses
must fall on the harmless side. Evidence is weighed in this order, and the first that decides wins:

1. the provider row's own rules (status, code and phrase must all hold): a vendor's special wording is data;
2. a status that means one thing everywhere (401, 402, 404, 408, 413, 429, 529, ...), refined by 3 for 429 and 404;
3. the structured code or type in the body, compared whole, never as a substring: prompts are echoed in messages;
4. a fixed list of vendor phrases, for the few vendors that send no code; each names its vendor;
5. the class of the status (4xx the request's fault, 5xx the server's);
6. UNKNOWN.

Quota is looked for before rate limit, because a 429 for an empty account looks like a rate limit and must not be
retried. Messages are cut and scrubbed by the gateway, which knows the secrets; here they are only found. Error
bodies come in nine shapes (object, string, flat, `detail`, digits as code, `base_resp`, `errors[0]`, ...), and
`describe` reads all of them, because self-hosted servers and proxies put any of them in front of any vendor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

import msgspec

from adapters.allowances import allowance
from adapters.codec import JSON, as_list, as_object, decode


class FailureKind(StrEnum):
    """The classified bad outcome of one attempt; what is done about each is in gateway/resilience."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    SERVER = "server"
    OVERLOADED = "overloaded"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    AUTH = "auth"
    MODEL_MISSING = "model_missing"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    BAD_REQUEST = "bad_request"
    MALFORMED = "malformed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A provider row's own wording: every condition given must hold."""

    kind: FailureKind
    status: int | None = None
    code: str | None = None
    """The error's code or type; `Throttling.*` means all that begin so."""
    phrase: str | None = None
    """Looked for in the message, case-insensitively."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in one attempt."""

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after: float | None = None
    """Seconds that the upstream asked us to wait."""
    setting: str | None = None
    """The setting that ended the attempt, for timeouts and caps of our own."""
    is_unsent: bool = False
    """The upstream cannot have seen the request: no connection came about."""
    is_impatience: bool = False
    """The time for the whole request was up, which says little about whoever was asked last."""


@dataclass(frozen=True, slots=True)
class Description:
    """What an error body says, whatever its shape."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None
    """An HTTP status that the body itself names (OpenRouter, Groq, Cerebras streams)."""


_KIND_OF_STATUS: Final[Mapping[int, FailureKind]] = {
    401: FailureKind.AUTH,
    402: FailureKind.QUOTA,
    403: FailureKind.AUTH,
    404: FailureKind.MODEL_MISSING,
    408: FailureKind.TIMEOUT,
    409: FailureKind.SERVER,  # a lock, or work on the same thing: it passes
    410: FailureKind.MODEL_MISSING,
    413: FailureKind.BAD_REQUEST,
    422: FailureKind.BAD_REQUEST,
    425: FailureKind.SERVER,  # too early: ditto
    429: FailureKind.RATE_LIMIT,
    498: FailureKind.OVERLOADED,  # Groq: flex capacity exceeded
    503: FailureKind.OVERLOADED,
    529: FailureKind.OVERLOADED,  # Anthropic: overloaded
}

_KIND_OF_CODE: Final[Mapping[str, FailureKind]] = {
    "insufficient_quota": FailureKind.QUOTA,
    "billing_hard_limit_reached": FailureKind.QUOTA,
    "billing_not_active": FailureKind.QUOTA,
    "exceeded_current_quota_error": FailureKind.QUOTA,  # Moonshot
    "payment_required": FailureKind.QUOTA,  # Cerebras
    "arrearage": FailureKind.QUOTA,  # DashScope
    "accountoverdueerror": FailureKind.QUOTA,  # VolcEngine
    "rate_limit_exceeded": FailureKind.RATE_LIMIT,
    "rate_limit_error": FailureKind.RATE_LIMIT,
    "rate_limit_reached_error": FailureKind.RATE_LIMIT,  # Moonshot
    "engine_overloaded_error": FailureKind.OVERLOADED,  # Moonshot
    "overloaded_error": FailureKind.OVERLOADED,
    "server_overloaded": FailureKind.OVERLOADED,
    "slow_down": FailureKind.OVERLOADED,
    "unavailable_error": FailureKind.OVERLOADED,  # llama.cpp while it loads
    "serveroverloaded": FailureKind.OVERLOADED,  # VolcEngine
    "invalid_api_key": FailureKind.AUTH,
    "incorrect_api_key_error": FailureKind.AUTH,  # Moonshot
    "authentication_error": FailureKind.AUTH,
    "authenticationerror": FailureKind.AUTH,  # VolcEngine
    "wrong_api_key": FailureKind.AUTH,  # Cerebras
    "permission_error": FailureKind.AUTH,
    "model_not_found": FailureKind.MODEL_MISSING,
    "model_decommissioned": FailureKind.MODEL_MISSING,  # Groq
    "not_found_error": FailureKind.MODEL_MISSING,
    "resource_not_found_error": FailureKind.MODEL_MISSING,  # Moonshot
    "invalid_model": FailureKind.MODEL_MISSING,  # Qianfan, Mistral
    "invalidendpointormodel.notfound": FailureKind.MODEL_MISSING,  # VolcEngine
    "context_length_exceeded": FailureKind.CONTEXT_LENGTH,
    "exceed_context_size_error": FailureKind.CONTEXT_LENGTH,  # llama.cpp
    "tokens_too_long": FailureKind.CONTEXT_LENGTH,  # Qianfan
    "content_filter": FailureKind.CONTENT_FILTER,
    "content_policy_violation": FailureKind.CONTENT_FILTER,
    "data_inspection_failed": FailureKind.CONTENT_FILTER,  # DashScope
    "server_error": FailureKind.SERVER,
    "internal_server_error": FailureKind.SERVER,
    "api_error": FailureKind.SERVER,
    "timeout_error": FailureKind.TIMEOUT,
}

_PHRASES: Final[Sequence[tuple[str, FailureKind]]] = (
    # "a ... b" means that both parts occur.
    ("plan does not include", FailureKind.QUOTA),  # Z.AI coding plan
    ("insufficient balance", FailureKind.QUOTA),  # DeepSeek, MiniMax
    ("insufficient credits", FailureKind.QUOTA),  # OpenRouter
    ("quota exhausted", FailureKind.QUOTA),  # MiniMax
    ("exceeded your current quota", FailureKind.QUOTA),  # OpenAI, Gemini
    ("maximum context length", FailureKind.CONTEXT_LENGTH),  # OpenAI, vLLM, DeepSeek, Together
    ("context window", FailureKind.CONTEXT_LENGTH),  # Ollama, LM Studio
    ("context size", FailureKind.CONTEXT_LENGTH),  # llama.cpp
    ("reduce the length of the messages", FailureKind.CONTEXT_LENGTH),  # Groq
    ("model not exist", FailureKind.MODEL_MISSING),  # DeepSeek
    ("the model ... does not exist", FailureKind.MODEL_MISSING),  # vLLM, Groq
    ("is not a valid model id", FailureKind.MODEL_MISSING),  # OpenRouter
    ("loading model", FailureKind.OVERLOADED),  # llama.cpp
    # OpenAI's 404 and 403 for a model asked for the wrong operation: neither model nor key lack anything.
    ("chat model and ... not supported in the", FailureKind.BAD_REQUEST),
    ("not allowed to generate embeddings", FailureKind.BAD_REQUEST),
)
_REFINING: Final = frozenset({FailureKind.QUOTA, FailureKind.BAD_REQUEST})
"""What a phrase may make of a status that means something else by itself."""


def classify(status: int, headers: Mapping[str, str], body: bytes, rules: Sequence[FailureRule] = ()) -> Failure:
    """Returns the failure that a non-2xx response means."""
    return from_description(describe_bytes(body), status, headers, rules)


def from_description(
    said: Description,
    status: int,
    headers: Mapping[str, str],
    rules: Sequence[FailureRule] = (),
) -> Failure:
    """Returns the failure that `said` means; for an error inside a 2xx response the body's own status counts."""
    if 200 <= status < 300:
        status = said.status or 0
    return Failure(
        kind=_kind(said, status, rules),
        message=said.message or f"the upstream answered {status or 'an error'} without a message",
        status=status or None,
        code=said.code,
        type=said.type,
        param=said.param,
        retry_after=retry_after_seconds(headers) or (_reset_seconds(headers) if status == 429 else None),
    )


def _kind(said: Description, status: int, rules: Sequence[FailureRule]) -> FailureKind:
    message = said.message.lower()
    for rule in rules:
        if (
            (rule.status is None or rule.status == status)
            and (rule.code is None or _is_code(rule.code, said))
            and (rule.phrase is None or rule.phrase.lower() in message)
        ):
            return rule.kind
    coded = _kind_of_code(said)
    if status in (429, 404, 403, 503):
        # A code refines these: a 429 may be an empty account, a 404 a wrong path, a 403 a refused model.
        return coded or _kind_of_phrase(message, _REFINING) or _KIND_OF_STATUS[status]
    if status in _KIND_OF_STATUS and coded is not FailureKind.CONTEXT_LENGTH:
        return _KIND_OF_STATUS[status]
    if coded and not (coded is FailureKind.SERVER and 400 <= status < 500):
        return coded
    return _kind_of_phrase(message) or _kind_of_class(status)


def _is_code(code: str, said: Description) -> bool:
    if code.endswith("*"):
        return any(word and word.startswith(code[:-1]) for word in (said.code, said.type))
    return code in (said.code, said.type)


def _kind_of_code(said: Description) -> FailureKind | None:
    for word in (said.code, said.type):
        if word and (kind := _KIND_OF_CODE.get(word.lower())):
            return kind
    return None


def _kind_of_phrase(message: str, only: Collection[FailureKind] = tuple(FailureKind)) -> FailureKind | None:
    for phrase, kind in _PHRASES:
        first, _, second = phrase.partition(" ... ")
        if first in message and second in message and kind in only:
            return kind
    return None


def _kind_of_class(status: int) -> FailureKind:
    if 400 <= status < 500:
        return FailureKind.BAD_REQUEST
    return FailureKind.SERVER if 500 <= status < 600 else FailureKind.UNKNOWN


def describe_bytes(body: bytes) -> Description:
    """Returns what an error body says; text that is not JSON counts as the message, HTML as none."""
    try:
        return describe(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = body[:4096].decode("utf-8", "replace").strip()
        return Description("" if text.startswith("<") else text)


def describe(value: JSON) -> Description:
    """Returns what a decoded error body says, in any of the vendors' shapes."""
    if isinstance(value, str):
        return Description(value)  # SiliconFlow's 401 is a bare JSON string
    if isinstance(value, list):
        return describe(as_list(value)[0]) if value else Description()  # Google's list form
    members = as_object(value)
    for name in ("error", "base_resp", "detail", "errors"):
        inner = members.get(name)
        if inner:
            return _inner(members, name, inner)
    nested = as_object(members.get("message"))
    if nested.get("detail") and (said := describe(nested)).message:  # Mistral wraps FastAPI's errors
        return said
    return _flat(members)


def _inner(members: Mapping[str, JSON], name: str, inner: JSON) -> Description:
    if isinstance(inner, dict):
        said = _flat(as_object(inner))
        outer = members.get("status_code")  # Cerebras streams put the status beside the error
        if said.status is None and isinstance(outer, int):
            return replace(said, status=outer)
        return said
    if isinstance(inner, str):
        code = members.get("error_type") or members.get("code")
        return Description(inner, _text(code))
    if isinstance(inner, list) and inner:
        return _first(as_list(inner), name)
    return Description()


def _first(items: Sequence[JSON], name: str) -> Description:
    members = as_object(items[0])
    if not members:
        return Description(str(items[0]))
    if name == "detail":  # FastAPI's validation errors
        path = ".".join(str(part) for part in as_list(members.get("loc"))) or None
        return Description(_text(members.get("msg")) or "", _text(members.get("type")), param=path)
    return _flat(members)


def _flat(members: Mapping[str, JSON]) -> Description:
    message = members.get("message") or members.get("status_msg") or members.get("msg") or members.get("title")
    code = members.get("code", members.get("status_code", members.get("status")))
    status = code if isinstance(code, int) and 400 <= code < 600 else members.get("status_code")
    return Description(
        message=_text(message) or "",
        code=_text(code),
        type=_text(members.get("type")),
        param=_text(members.get("param")),
        status=status if isinstance(status, int) and 400 <= status < 600 else None,
    )


def _text(value: JSON) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) else encode_short(value)


def encode_short(value: JSON) -> str:
    """Returns at most 500 characters of `value` as JSON text, for messages that are objects."""
    return msgspec.json.encode(value)[:500].decode("utf-8", "replace")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns the wait that `retry-after-ms` or `retry-after` (seconds or HTTP date) asks for; None if unusable.

    A date is measured against the response's own `date` header, since this package has no clock.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            seconds = _until(text, headers.get("date", ""))
        if seconds is not None and 0 < seconds < float("inf"):
            return seconds
    return None


def _reset_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns when there will be more of what has run out, for providers that say so instead of `retry-after`."""
    told = allowance(headers)
    return told.empty_seconds or None if told else None


def _until(when: str, now: str) -> float | None:
    try:
        return (parsedate_to_datetime(when) - parsedate_to_datetime(now)).total_seconds()
    except (TypeError, ValueError, IndexError):
        return None
