"""Chats: OpenAI's wire, with the model first, since the router finds it in a small prefix of the body."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from adapters.codec import as_object, decode, encode, is_null, join_object, raw
from adapters.openai.request import build_request
from adapters.types import Call, HttpRequest, Operation, Target

ROUTER: Final = "https://router.huggingface.co"
OLD_HOST: Final = "api-inference.huggingface.co"
"""Answers 410 since November 2025; what it had is below the router now."""
OWN: Final = "hf-inference"
"""The provider that is Hugging Face itself; its chats are served by TGI."""
_QUOTE: Final = b'"'


def root_of(base_url: str) -> str:
    """Returns where the server begins: the base URL without a version, the router for the host that is no more."""
    if urlsplit(base_url).hostname == OLD_HOST:
        return ROUTER
    return base_url.removesuffix("/v1")


def chat_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    fields = {"model": raw(target.model), **{name: value for name, value in call.fields.items() if name != "model"}}
    stop = fields.get("stop")
    if stop is not None and bytes(stop)[:1] == _QUOTE:
        fields["stop"] = raw([decode(stop)])  # a string fails at TGI, which serves a part of the models
    if target.model.endswith(":" + OWN):
        _tgi_format(fields)
    request = build_request(msgspec.structs.replace(call, fields=fields), target)
    url = target.url(Operation.CHAT)
    if urlsplit(target.base_url).hostname == OLD_HOST:
        url = ROUTER + "/v1/chat/completions"
    body = join_object(fields) if request.body is call.body else request.body
    return msgspec.structs.replace(request, url=url, body=body)


def _tgi_format(fields: dict[str, Raw]) -> None:
    """Says a JSON Schema in TGI's words (huggingface_hub 2.4.0 does the same, for this provider only)."""
    member = fields.get("response_format")
    if member is None or is_null(member):
        return
    wanted: dict[str, Any] = as_object(decode(member))
    if wanted.get("type") == "json_schema":
        schema = as_object(wanted.get("json_schema")).get("schema") or {"type": "object"}
        fields["response_format"] = Raw(encode({"type": "json_object", "value": schema}))
