"""Text completions: TGI's own `/generate`, and the older text-generation task, whose bodies are the same."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from adapters.chunks import text_completion
from adapters.codec import JSON, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.fidelity import Report, survey
from adapters.fields import Fields, boolean, integer, max_tokens, number, one_prompt, pass_on, texts
from adapters.tgi.failures import read_failure
from adapters.tgi.table import COMPLETIONS
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Operation, Reply, Target, Usage

Object = dict[str, Any]
FINISH: Final = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}
_NATIVE: Final = "/generate"
_EXTRAS: Final = (
    "top_k", "typical_p", "repetition_penalty", "frequency_penalty", "best_of", "truncate", "watermark", "grammar",
    "adapter_id",
)  # fmt: skip
_MOST_DIGITS: Final = 15
"""JSON numbers are exact up to here."""


class Token(Struct):
    """One token as TGI tells it."""

    text: Raw = Raw()
    logprob: float | None = None
    special: bool = False


class Details(Struct):
    """What TGI tells of an answer beside its text."""

    finish_reason: str | None = None
    generated_tokens: Raw = Raw()
    input_length: Raw = Raw()
    tokens: list[Token] = []
    top_tokens: list[list[Token]] | None = None


class _Generated(Struct):
    generated_text: str | None = None
    summary_text: str | None = None
    translation_text: str | None = None
    details: Details | None = None


_one = msgspec.json.Decoder(_Generated).decode
_several = msgspec.json.Decoder(list[_Generated]).decode
_string = msgspec.json.Decoder(str).decode


def generation_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    fields = call.fields
    prompt = one_prompt(fields)
    report = survey(fields, COMPLETIONS)
    body: Object = {"inputs": prompt, "parameters": _parameters(fields, report)}
    url = target.url(Operation.COMPLETIONS)
    if url.endswith(_NATIVE):
        # The native paths stand at the root, whether or not the base URL is that of `/v1`.
        url = url.removesuffix(_NATIVE).removesuffix("/v1") + (_NATIVE + "_stream" if call.stream else _NATIVE)
    else:
        body["stream"] = call.stream
    options = fields.get("options")
    if "{model}" in url:
        url = url.replace("{model}", quote(target.model, safe="/"))
        if options is not None:
            body["options"] = options
    elif options is not None:
        report.drop("options")
    return HttpRequest("POST", url, target.headers + JSON_HEADERS, encode(body), report.dropped)


def _parameters(fields: Fields, report: Report) -> Object:
    parameters: Object = {"return_full_text": boolean(fields, "echo") or False, "details": True}
    limit = max_tokens(fields)
    if limit is not None:
        parameters["max_new_tokens"] = limit
    _sampling(parameters, fields, report)
    if stop := texts(fields, "stop"):
        parameters["stop"] = stop
    pass_on(fields, _EXTRAS, parameters)
    if alternatives := integer(fields, "logprobs"):
        parameters["top_n_tokens"] = alternatives
    return parameters


def _sampling(parameters: Object, fields: Fields, report: Report) -> None:
    """Numbers whose borders are excluded at TGI: 0 and, for `top_p`, 1."""
    temperature = number(fields, "temperature")
    if temperature is not None and temperature > 0:
        parameters["temperature"] = temperature
    elif temperature is not None:
        parameters["do_sample"] = False
    top_p = number(fields, "top_p")
    if top_p is not None and 0 < top_p < 1:
        parameters["top_p"] = top_p
    elif top_p is not None and top_p <= 0:
        report.drop("top_p")
    seed = integer(fields, "seed")
    if seed is not None and seed > 0:
        parameters["seed"] = seed
    elif seed is not None:
        report.drop("seed")


def read_generation(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer as a text completion; raises Malformed or UpstreamSaid."""
    try:
        answers = _several(body) if body.lstrip()[:1] == b"[" else [_one(body)]
        choices = [_choice(call, answer) for answer in answers if _text(answer) is not None]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _refusal(target, head, body, "the upstream's answer is no generated text") from error
    if not answers or len(choices) < len(answers):
        raise _refusal(target, head, body, "the upstream's answer has no generated text")
    return text_completion(call, model=target.model, choices=choices, usage=_usage(answers, head))


def _text(answer: _Generated) -> str | None:
    found = (answer.generated_text, answer.summary_text, answer.translation_text)
    return next((text for text in found if text is not None), None)


def _choice(call: Call, answer: _Generated) -> tuple[str, str, JSON]:
    fields = call.fields
    text = _text(answer) or ""
    offset = 0
    if boolean(fields, "echo"):
        offset = len(one_prompt(fields))
    else:
        text = text.removeprefix(one_prompt(fields))  # some handlers repeat it whatever they are told
    details = answer.details or Details()
    if details.finish_reason == "stop_sequence":
        text = without_stop(text, texts(fields, "stop"))
    wants_logprobs = bool(integer(fields, "logprobs"))
    logprobs = log_probabilities(details.tokens, details.top_tokens, offset) if wants_logprobs else None
    return text, FINISH.get(details.finish_reason or "", "stop"), logprobs


def without_stop(text: str, stops: list[str]) -> str:
    """Returns the text without the stop that ended it: TGI leaves it there, OpenAI's answers do not have it."""
    return next((text[: -len(stop)] for stop in stops if stop and text.endswith(stop)), text)


def log_probabilities(tokens: list[Token], top: list[list[Token]] | None, offset: int = 0) -> Object:
    """Returns OpenAI's form of the log probabilities of text completions; `offset` characters came before."""
    said = [(token, alternatives) for token, alternatives in _paired(tokens, top) if not token.special]
    texts = [_string(token.text) for token, _ in said]
    offsets = [offset + sum(map(len, texts[:index])) for index in range(len(texts))]
    return {
        "tokens": texts,
        "token_logprobs": [token.logprob for token, _ in said],
        "top_logprobs": [{_string(other.text): other.logprob for other in alternatives} for _, alternatives in said],
        "text_offset": offsets,
    }


def _paired(tokens: list[Token], top: list[list[Token]] | None) -> list[tuple[Token, list[Token]]]:
    if top is None or len(top) != len(tokens):
        return [(token, []) for token in tokens]
    return list(zip(tokens, top, strict=True))


def counted(prompt: bytes, completion: bytes) -> Usage | None:
    """Returns the counts of two JSON numbers, None where they make no sense."""
    if not completion.isdigit() or len(completion) > _MOST_DIGITS:
        return None
    is_whole = prompt.isdigit() and len(prompt) <= _MOST_DIGITS
    return Usage(prompt=int(prompt) if is_whole else 0, completion=int(completion), estimated=not is_whole)


def _usage(answers: list[_Generated], head: Head) -> Usage | None:
    """Returns the counts: those of the prompt stand in a header, since the details of a whole answer lack them."""
    prompt = head.headers.get("x-prompt-tokens", "").encode()
    each = [counted(prompt, bytes(answer.details.generated_tokens)) for answer in answers if answer.details is not None]
    known = [usage for usage in each if usage is not None]
    if not known:
        return None
    completion = sum(usage.completion for usage in known)
    return Usage(prompt=known[0].prompt, completion=completion, estimated=known[0].estimated)


def _refusal(target: Target, head: Head, body: bytes, message: str) -> Malformed | UpstreamSaid:
    if b'"error"' in body:
        return UpstreamSaid(read_failure(target, head, body))
    return Malformed(message, code="upstream_empty_response")
