"""OpenAI's text completions -> Ollama's `/api/generate` (docs.ollama.com/api/generate, read 2026-08-21)."""

from __future__ import annotations

from typing import Any, Final

from adapters.fidelity import survey
from adapters.fields import Fields, boolean, integer, one_prompt, text, value
from adapters.ollama.models import upstream_model
from adapters.ollama.sampling import add, add_flags, add_lifetime, add_options, add_think, post
from adapters.ollama.table import COMPLETIONS
from adapters.types import Call, HttpRequest, Target

Object = dict[str, Any]
_OWN: Final = ("format", "images", "system", "template", "context")


def generation_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    fields = call.fields
    prompt = one_prompt(fields)
    report = survey(fields, COMPLETIONS)
    body: Object = {"model": upstream_model(target), "stream": call.stream}
    add_think(body, fields, target.model, report)
    for name in _OWN:
        add(body, name, value(fields, name))
    add_lifetime(body, fields)
    add_flags(body, fields, "raw", "truncate", "shift")
    if alternatives := wanted_logprobs(fields):
        body["logprobs"] = True
        body["top_logprobs"] = alternatives
    add_options(body, fields)
    if suffix := text(fields, "suffix"):
        body["suffix"] = suffix
    body["prompt"] = prompt
    return post(call, target, body, report)


def wanted_logprobs(fields: Fields) -> int:
    """Returns how many alternatives of each token a text completion asks for."""
    return integer(fields, "logprobs") or 0


def echoed(fields: Fields) -> str:
    """Returns the prompt if the answer shall begin with it."""
    return one_prompt(fields) if boolean(fields, "echo") else ""
