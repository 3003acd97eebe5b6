"""An OpenAI request as a request of Gemini's API.

The body's members stand in a fixed order with the contents last: the same conversation gives the same bytes, and a
longer one begins with those of the shorter, which is what the provider's own cache of prefixes goes by.
(ai.google.dev/api/generate-content, read 2026-11.)
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from adapters.codec import encode
from adapters.conversation import leading_system, read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report, survey
from adapters.fields import integer, text
from adapters.gemini.contents import build_contents, system_parts
from adapters.gemini.extras import read_extras
from adapters.gemini.generation import build_generation
from adapters.gemini.models import Model, bare_name, model_of
from adapters.gemini.tables import CHAT
from adapters.gemini.toolset import build_toolset
from adapters.settled import settle
from adapters.types import JSON_HEADERS, Call, HttpRequest, Target

Object = dict[str, Any]
_TIERS: Final = ("flex", "priority", "standard")


def chat_request(call: Call, target: Target) -> HttpRequest:
    """Returns the request of a chat; raises Unsupported."""
    report = survey(call.fields, CHAT)
    body = chat_body(call, target, report)
    return HttpRequest("POST", chat_url(call, target), target.headers + JSON_HEADERS, written(body), report.dropped)


def written(body: Object) -> bytes:
    """Returns the body as bytes; raises Unsupported for what is nested too deeply to be written."""
    try:
        return encode(body)
    except RecursionError:
        raise Unsupported("messages", "messages hold JSON that is nested too deeply") from None


def chat_url(call: Call, target: Target) -> str:
    """Returns where a chat is sent; without `alt=sse` a stream would be one JSON array."""
    verb = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
    return f"{target.base_url}/{model_path(target.model)}:{verb}"


def model_path(name: str) -> str:
    """Returns the path of a model below the base URL: `models/NAME`, or `tunedModels/NAME`."""
    if name.startswith("tunedModels/"):
        return "tunedModels/" + quote(name.removeprefix("tunedModels/"), safe="")
    return "models/" + quote(bare_name(name), safe="")


def chat_body(call: Call, target: Target, report: Report, *, is_vertex: bool = False) -> Object:
    """Returns the body of a chat, its losses in `report`; raises Unsupported."""
    fields = call.fields
    model = model_of(target.model)
    extras = read_extras(fields, report, is_vertex=is_vertex)
    first, turns = leading_system(settle(read_turns(call, report)))
    toolset = build_toolset(fields, model, report)
    generation = build_generation(
        fields,
        extras,
        model,
        report,
        candidates=_candidates(call, model),
        has_functions=toolset.has_functions,
        is_vertex=is_vertex,
    )
    system = system_parts(first, report)
    if generation.prompt:
        system.append({"text": generation.prompt})
    body: Object = {}
    if "cachedContent" in extras:
        body["cachedContent"] = extras["cachedContent"]
    if system:
        body["systemInstruction"] = {"parts": system}
    if toolset.tools:
        body["tools"] = toolset.tools
    if toolset.config:
        body["toolConfig"] = toolset.config
    if generation.config:
        body["generationConfig"] = generation.config
    body.update((name, extras[name]) for name in ("safetySettings", "labels") if name in extras)
    if tier := _tier(call, report):
        body["serviceTier"] = tier
    body["contents"] = build_contents(turns, model, report, is_vertex=is_vertex)
    return body


def _candidates(call: Call, model: Model) -> int:
    count = integer(call.fields, "n") or 1
    if count > 1 and (call.stream or count > model.most_candidates):
        raise Unsupported("n", "n above 1 takes several requests with this model; the call must be split")
    return count


def _tier(call: Call, report: Report) -> str:
    tier = text(call.fields, "service_tier")
    if tier in (None, "auto", "default"):
        return ""
    if tier not in _TIERS:
        report.drop("service_tier")  # another vendor's word: it buys speed, and never changes the answer
        return ""
    return tier
