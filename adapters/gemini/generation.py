"""How the answer shall be made: `generationConfig`.

(ai.google.dev/api/generate-content, GenerationConfig, and docs/structured-output, read 2026-11.)
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, boolean, integer, max_tokens, number, texts
from adapters.gemini.extras import IN_GENERATION
from adapters.gemini.models import Model
from adapters.gemini.schema import fitted, with_order
from adapters.gemini.thinking import own_thinking, thinking_config
from adapters.schema import Inexpressible
from adapters.structured import Format, read_format

Object = dict[str, Any]
_MOST_STOPS: Final = 5
_MOST_LOGPROBS: Final = 20
_SEEDS: Final = 2**31
_MODALITIES: Final = {"text": "TEXT", "image": "IMAGE"}
_PENALTIES: Final = (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty"))
_MOST_PENALTY: Final = 1.99
"""Vertex takes less than 2, OpenAI 2 and less."""
_OTHERS: Final = tuple(sorted(set(IN_GENERATION.values()) - {"topK", "thinkingConfig"}))
"""Google's own fields that are sent as they are."""


class Generation(Struct, frozen=True):
    """`generationConfig`, and what must be said in words instead."""

    config: Object
    prompt: str = ""


def build_generation(
    fields: Fields,
    extras: Object,
    model: Model,
    report: Report,
    *,
    candidates: int,
    has_functions: bool,
    is_vertex: bool,
) -> Generation:
    """Returns the configuration in a fixed order; raises Unsupported."""
    config: Object = {}
    _sampling(config, fields, extras, model, report)
    if candidates > 1:
        config["candidateCount"] = candidates
    if limit := max_tokens(fields):
        config["maxOutputTokens"] = limit
    if stops := _stops(fields):
        config["stopSequences"] = stops
    if (seed := integer(fields, "seed")) is not None:
        config["seed"] = seed % _SEEDS
    _penalties(config, fields, model, report, is_vertex=is_vertex)
    _logprobs(config, fields)
    wanted = read_format(fields)
    prompt = _form(config, wanted, model, report, has_functions=has_functions)
    if modalities := _modalities(fields):
        config["responseModalities"] = modalities
    own = own_thinking(extras.get("thinkingConfig"))
    if thinking := thinking_config(fields, own, model, report):
        config["thinkingConfig"] = thinking
    config.update((name, extras[name]) for name in _OTHERS if name in extras)
    return Generation(config, prompt)


def _sampling(config: Object, fields: Fields, extras: Object, model: Model, report: Report) -> None:
    found: Object = {
        "temperature": number(fields, "temperature"),
        "top_p": number(fields, "top_p"),
        "top_k": extras.get("topK"),
    }
    for (name, each), wire in zip(found.items(), ("temperature", "topP", "topK"), strict=True):
        if each is None:
            continue
        if model.uses_sampling:
            config[wire] = each
        else:
            report.drop(name)


def _stops(fields: Fields) -> list[str]:
    stops = [stop for stop in texts(fields, "stop") if stop]
    if len(stops) > _MOST_STOPS:
        raise Unsupported("stop", f"stop may hold at most {_MOST_STOPS} strings for this provider, got {len(stops)}")
    return stops


def _penalties(config: Object, fields: Fields, model: Model, report: Report, *, is_vertex: bool) -> None:
    for name, wire in _PENALTIES:
        penalty = number(fields, name)
        if not penalty:
            continue
        if model.has_penalties:
            config[wire] = min(penalty, _MOST_PENALTY) if is_vertex else penalty
        else:
            report.drop(name)


def _logprobs(config: Object, fields: Fields) -> None:
    if not boolean(fields, "logprobs"):
        if integer(fields, "top_logprobs"):
            raise Unsupported("top_logprobs", "top_logprobs is only allowed together with logprobs: true")
        return
    config["responseLogprobs"] = True
    count = integer(fields, "top_logprobs")
    if count is not None and not 0 <= count <= _MOST_LOGPROBS:
        raise Unsupported("top_logprobs", f"top_logprobs must be from 0 to {_MOST_LOGPROBS}")
    if count:
        config["logprobs"] = count


def _form(config: Object, wanted: Format, model: Model, report: Report, *, has_functions: bool) -> str:
    """Asks for the form of the answer; returns the words that ask for it where the protocol cannot."""
    if wanted.kind == "text":
        return ""
    schema: Object | None = None
    if has_functions and not model.has_form_with_tools:
        report.drop("response_format")
        return wanted.prompt
    if wanted.schema:
        try:
            schema, is_weaker = fitted(wanted.schema, is_json_schema=model.has_json_schema)
        except Inexpressible:
            report.drop("response_format")
        else:
            if is_weaker:
                report.drop("response_format.json_schema.schema")
    config["responseMimeType"] = "application/json"
    if schema is None:
        return wanted.prompt if wanted.schema else ""
    if wanted.strict:
        schema = with_order(schema)
    if wanted.description and "description" not in schema:
        schema["description"] = wanted.description
    config["responseJsonSchema" if model.has_json_schema else "responseSchema"] = schema
    return ""


def _modalities(fields: Fields) -> list[str]:
    wanted = texts(fields, "modalities")
    unknown = next((each for each in wanted if each not in _MODALITIES), None)
    if unknown is not None:
        raise Unsupported(
            "modalities", f"modalities {unknown!r} cannot be asked of this provider; it takes text, image"
        )
    return [_MODALITIES[each] for each in wanted] if wanted != ["text"] else []
