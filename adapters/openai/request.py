"""OpenAI request -> OpenAI-compatible request: only what must change is changed."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from adapters.codec import as_object, decode, is_null, join_object, raw
from adapters.quirks import apply, concern
from adapters.rules import NO_RULES, ParamRules
from adapters.types import JSON_HEADERS, Call, HttpRequest, Target

NEVER_SENT: Final = frozenset(
    {"__proto__", "constructor", "__class__"}
    | {"api_base", "base_url", "api_key", "extra_headers", "proxy", "callbacks", "custom_llm_provider"}
)
"""Fields that are part of no provider's wire: attacks on careless servers, and what would tell an upstream that is
itself a gateway to send the request elsewhere, with another key."""
_ASK_USAGE: Final = Raw(b'{"include_usage":true}')


def build_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request for `call`; raises Unsupported."""
    fields = dict(call.fields)
    model = upstream_model(target)
    fields["model"] = raw(model)
    dropped: tuple[str, ...] = ()
    if not NEVER_SENT.isdisjoint(fields):
        dropped = tuple(name for name in call.fields if name in NEVER_SENT)
        for name in dropped:
            del fields[name]
    if target.rules is not NO_RULES and concern(fields, call.body, target.rules):
        dropped += apply(fields, target.rules, target.model)
    _ask_for_usage(fields, call, target.rules)
    is_same = model == call.model and fields == call.fields
    body = call.body if is_same else join_object(fields)
    return HttpRequest(
        method="POST",
        url=target.url(call.operation),
        headers=target.headers + JSON_HEADERS,
        body=body,
        dropped=dropped,
    )


def upstream_model(target: Target) -> str:
    """Returns the model's id with the prefix that the row demands."""
    prefix = target.rules.model_prefix
    return prefix + target.model if prefix and "/" not in target.model else target.model


def _ask_for_usage(fields: dict[str, Raw], call: Call, rules: ParamRules) -> None:
    """Makes the upstream count, where it can, whether or not the client wanted to see the figures."""
    if not call.stream:
        return
    asked = fields.get("stream_options")
    if rules.stream_usage != "opt_in":
        fields.pop("stream_options", None)
    elif asked is None or is_null(asked):
        fields["stream_options"] = _ASK_USAGE
    elif not call.wants_usage:
        fields["stream_options"] = raw({**as_object(decode(asked)), "include_usage": True})
