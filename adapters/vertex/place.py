"""Where a model stands at Vertex AI, and which protocol it speaks there.

(docs.cloud.google.com/vertex-ai: locations, Gemini, partner models, express mode; platform.claude.com: Claude on
Vertex AI; read 2026-11.)
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from adapters.gemini.models import bare_name
from adapters.types import Call, Operation, Target

Kind = Literal["gemini", "claude", "openai"]
_WIDE: Final = re.compile(r"(global|us|eu)-aiplatform\.googleapis\.com")
_ANTHROPIC: Final = ("publishers/anthropic/models/", "anthropic/")
_TUNED: Final = "endpoints/"
_SHARED: Final = "-maas"
OPENAI_PATH: Final = "/endpoints/openapi/chat/completions"


def kind_of(model: str) -> Kind:
    """Returns what a model speaks: Google's protocol, Claude's, or OpenAI's for the other publishers."""
    if claude_name(model).startswith("claude"):
        return "claude"
    bare = bare_name(model)
    if bare.endswith(_SHARED) or ("/" in bare and not bare.startswith(_TUNED)):
        return "openai"
    return "gemini"


def claude_name(model: str) -> str:
    """Returns a model's name without what says that it is Anthropic's."""
    for prefix in _ANTHROPIC:
        model = model.removeprefix(prefix)
    return model


def base_of(target: Target) -> str:
    """Returns the base URL with the host that its location has: the wide ones break the pattern of the others."""
    parts = urlsplit(target.base_url)
    found = _WIDE.fullmatch(parts.netloc)
    if found is None:
        return target.base_url
    wide = found[1]
    host = "aiplatform.googleapis.com" if wide == "global" else f"aiplatform.{wide}.rep.googleapis.com"
    return urlunsplit(parts._replace(netloc=host))


def gemini_url(target: Target, verb: str) -> str:
    """Returns the URL of one of Google's models, or of one that was tuned."""
    bare = bare_name(target.model)
    if bare.startswith(_TUNED):
        return f"{base_of(target)}/{_TUNED}{quote(bare.removeprefix(_TUNED), safe='')}:{verb}"
    return f"{base_of(target)}/publishers/google/models/{quote(bare, safe='')}:{verb}"


def claude_url(call: Call, target: Target) -> str:
    """Returns the URL of a Claude; `@` stands before the date of a snapshot."""
    verb = "streamRawPredict" if call.stream else "rawPredict"
    name = quote(claude_name(target.model), safe="@")
    return f"{base_of(target)}/publishers/anthropic/models/{name}:{verb}"


def openai_url(target: Target) -> dict[Operation, str]:
    """Returns the paths of the endpoint that speaks OpenAI's protocol."""
    return {Operation.CHAT: base_of(target) + OPENAI_PATH}
