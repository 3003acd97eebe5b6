"""`options`, and the other fields that chats, text completions and embeddings share.

Names and types are those of api/types.go (github.com/ollama/ollama) and docs.ollama.com/modelfile, read 2026-08-21:
unknown names are only logged by the server, a text in the place of a number is an error.
"""

from __future__ import annotations

from typing import Any, Final

from adapters.codec import JSON, encode
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, boolean, integer, max_tokens, members, number, texts, value
from adapters.ollama.models import knows_only_levels
from adapters.types import JSON_HEADERS, Call, HttpRequest, Target

Object = dict[str, Any]
_NUMBERS: Final = (
    "temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip
_INTEGERS: Final = (
    "top_k", "repeat_last_n", "num_predict", "num_keep", "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread",
)  # fmt: skip
OPTIONS: Final = (*_NUMBERS, *_INTEGERS, "use_mmap")
_EXACT: Final = 2**53
"""The server reads options as floating point numbers."""
_EFFORTS: Final[dict[str, bool | str]] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
    "ultra": "max",
}


def post(call: Call, target: Target, body: Object, report: Report) -> HttpRequest:
    """Returns the upstream request that carries `body`; raises Unsupported for what is nested too deeply."""
    try:
        written = encode(body)
    except RecursionError:  # arguments of a call are deeper by what stands around them than when they were read
        raise Unsupported("messages", "messages hold JSON that is nested too deeply") from None
    return HttpRequest(
        method="POST",
        url=target.url(call.operation),
        headers=target.headers + JSON_HEADERS,
        body=written,
        dropped=report.dropped,
    )


def add(body: Object, name: str, found: JSON) -> None:
    """Sets a member that says something."""
    if found is not None:
        body[name] = found


def add_lifetime(body: Object, fields: Fields) -> None:
    """Sets `keep_alive`: a duration such as `5m`, or seconds, negative for ever."""
    found = value(fields, "keep_alive")
    if isinstance(found, bool) or (found is not None and not isinstance(found, str | int | float)):
        raise Unsupported("keep_alive", "keep_alive must be a duration such as `5m`, or a number of seconds")
    add(body, "keep_alive", found)


def add_flags(body: Object, fields: Fields, *names: str) -> None:
    """Sets members that are true or false."""
    for name in names:
        add(body, name, boolean(fields, name))


def add_options(body: Object, fields: Fields) -> None:
    """Sets `options`; what the client wrote under that name itself wins."""
    made: Object = {}
    add(made, "num_predict", max_tokens(fields))
    for name in _NUMBERS:
        add(made, name, number(fields, name))
    for name in _INTEGERS:
        add(made, name, integer(fields, name))
    add(made, "use_mmap", boolean(fields, "use_mmap"))
    add(made, "seed", _seed(fields))
    add(made, "stop", [stop for stop in texts(fields, "stop") if stop] or None)
    made |= members(fields, "options") or {}
    if isinstance(made.get("stop"), str):
        made["stop"] = [made["stop"]]
    if made:
        body["options"] = made


def _seed(fields: Fields) -> int | None:
    """Returns the seed; a larger one than a float holds exactly becomes a smaller, always the same."""
    seed = integer(fields, "seed")
    return seed if seed is None or -_EXACT <= seed <= _EXACT else seed % _EXACT


def add_logprobs(body: Object, fields: Fields) -> None:
    """Sets the wish for log probabilities of a chat."""
    add(body, "logprobs", boolean(fields, "logprobs"))
    add(body, "top_logprobs", integer(fields, "top_logprobs"))


def add_think(body: Object, fields: Fields, model: str, report: Report) -> None:
    """Sets `think` from Ollama's own field, `reasoning_effort`, or the `reasoning` object of other clients."""
    own = value(fields, "think")
    if own is not None:
        if not isinstance(own, bool | str):
            raise Unsupported("think", "think must be true, false, or one of low, medium, high, max")
        body["think"] = own
        return
    name, effort = _effort(fields, report)
    if effort is None:
        return
    if effort is False and knows_only_levels(model):
        effort = "low"
        report.drop(name)
    body["think"] = effort


def _effort(fields: Fields, report: Report) -> tuple[str, bool | str | None]:
    """Returns the field that says how much to reason, and what it says in Ollama's words."""
    name, wanted = "reasoning_effort", value(fields, "reasoning_effort")
    if wanted is None:
        name, inner = "reasoning", members(fields, "reasoning") or {}
        wanted = inner.get("effort")
        if inner.keys() - {"effort", "enabled"}:
            report.drop("reasoning")
        if wanted is None:
            enabled = inner.get("enabled")
            return name, enabled if isinstance(enabled, bool) else None
    if not isinstance(wanted, str) or wanted not in _EFFORTS:
        raise Unsupported(name, f"{name} {str(wanted)[:64]!r} is not one of {', '.join(_EFFORTS)}")
    return name, _EFFORTS[wanted]
