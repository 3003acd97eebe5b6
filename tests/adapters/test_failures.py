"""Vendors' error bodies, word for word, and what they mean: kind, message, code, wait."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.failures import FailureKind as K
from adapters.failures import FailureRule, classify, describe, describe_bytes, from_description, retry_after_seconds

CHAT_ONLY = (
    "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?"
)
NO_CHAT = (
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
    "Did you mean to use v1/completions?"
)
NO_EMBEDDINGS = "You are not allowed to generate embeddings from this model"
CONTEXT = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
BODIES: list[tuple[str, int, Any, K, str, str | None]] = [
    # OpenAI (platform.openai.com/docs/guides/error-codes, read 2026-11-21)
    ("openai key", 401, {"error": {"message": "Incorrect API key", "type": "invalid_request_error", "param": None,
     "code": "invalid_api_key"}}, K.AUTH, "Incorrect API key", "invalid_api_key"),
    ("openai context", 400, {"error": {"message": CONTEXT, "type": "invalid_request_error", "param": "messages",
     "code": "context_length_exceeded"}}, K.CONTEXT_LENGTH, CONTEXT, "context_length_exceeded"),
    ("openai rate", 429, {"error": {"message": "Rate limit reached", "type": "tokens", "param": None,
     "code": "rate_limit_exceeded"}}, K.RATE_LIMIT, "Rate limit reached", "rate_limit_exceeded"),
    ("openai money", 429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota",
     "param": None, "code": "insufficient_quota"}}, K.QUOTA, "You exceeded your current quota", "insufficient_quota"),
    ("openai model", 404, {"error": {"message": "The model `x` does not exist", "type": "invalid_request_error",
     "param": None, "code": "model_not_found"}}, K.MODEL_MISSING, "The model `x` does not exist", "model_not_found"),
    ("openai region", 403, {"error": {"message": "Country not supported", "type": "request_forbidden", "param": None,
     "code": "unsupported_country_region_territory"}}, K.AUTH, "Country not supported",
     "unsupported_country_region_territory"),
    ("openai parameter", 400, {"error": {"message": "Unknown parameter: 'x'.", "type": "invalid_request_error",
     "param": "x", "code": "unknown_parameter"}}, K.BAD_REQUEST, "Unknown parameter: 'x'.", "unknown_parameter"),
    ("openai server", 500, {"error": {"message": "The server had an error", "type": "server_error", "param": None,
     "code": None}}, K.SERVER, "The server had an error", None),
    ("openai overloaded", 503, {"error": {"message": "Slow down", "type": "service_unavailable_error", "param": None,
     "code": "slow_down"}}, K.OVERLOADED, "Slow down", "slow_down"),
    ("azure filter", 400, {"error": {"message": "filtered", "type": None, "param": "prompt", "code": "content_filter",
     "innererror": {}}}, K.CONTENT_FILTER, "filtered", "content_filter"),
    # Groq
    ("groq decommissioned", 400, {"error": {"message": "The model `x` has been decommissioned",
     "type": "invalid_request_error", "code": "model_decommissioned"}}, K.MODEL_MISSING,
     "The model `x` has been decommissioned", "model_decommissioned"),
    ("groq flex", 498, {"error": {"message": "Flex tier capacity exceeded", "type": "capacity"}}, K.OVERLOADED,
     "Flex tier capacity exceeded", None),
    ("groq too large", 413, {"error": {"message": "Request too large for model", "type": "tokens",
     "code": "rate_limit_exceeded"}}, K.BAD_REQUEST, "Request too large for model", "rate_limit_exceeded"),
    ("groq context", 400, {"error": {"message": "Please reduce the length of the messages or completion.",
     "type": "invalid_request_error", "param": "messages"}}, K.CONTEXT_LENGTH,
     "Please reduce the length of the messages or completion.", None),
    # DeepSeek
    ("deepseek balance", 402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "param": None,
     "code": "invalid_request_error"}}, K.QUOTA, "Insufficient Balance", "invalid_request_error"),
    ("deepseek model", 400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error", "param": None,
     "code": "invalid_request_error"}}, K.MODEL_MISSING, "Model Not Exist", "invalid_request_error"),
    # Moonshot (platform.kimi.ai/docs, read 2026-11-21)
    ("moonshot key", 401, {"error": {"message": "Invalid Authentication", "type": "incorrect_api_key_error"}}, K.AUTH,
     "Invalid Authentication", None),
    ("moonshot model", 404, {"error": {"message": "Not found the model", "type": "resource_not_found_error"}},
     K.MODEL_MISSING, "Not found the model", None),
    ("moonshot busy", 429, {"error": {"message": "The engine is overloaded", "type": "engine_overloaded_error"}},
     K.OVERLOADED, "The engine is overloaded", None),
    ("moonshot money", 429, {"error": {"message": "suspended", "type": "exceeded_current_quota_error"}}, K.QUOTA,
     "suspended", None),
    ("moonshot rate", 429, {"error": {"message": "max RPM: 3", "type": "rate_limit_reached_error"}}, K.RATE_LIMIT,
     "max RPM: 3", None),
    # OpenRouter: the HTTP status as code
    ("openrouter credits", 402, {"error": {"code": 402, "message": "Insufficient credits", "metadata": {}}}, K.QUOTA,
     "Insufficient credits", "402"),
    ("openrouter model", 400, {"error": {"code": 400, "message": "x is not a valid model ID"}}, K.MODEL_MISSING,
     "x is not a valid model ID", "400"),
    ("openrouter down", 502, {"error": {"code": 502, "message": "No provider answered"}}, K.SERVER,
     "No provider answered", "502"),
    # Cerebras: flat
    ("cerebras key", 401, {"message": "Wrong API Key", "type": "invalid_request_error", "param": "api_key",
     "code": "wrong_api_key"}, K.AUTH, "Wrong API Key", "wrong_api_key"),
    ("cerebras money", 402, {"message": "Pay", "type": "x", "param": None, "code": "payment_required"}, K.QUOTA, "Pay",
     "payment_required"),
    # Mistral
    ("mistral validation", 422, {"object": "error", "message": {"detail": [{"loc": ["body", "n"]}]},
     "type": "invalid_request_error", "param": None, "code": None}, K.BAD_REQUEST,
     '{"detail":[{"loc":["body","n"]}]}', None),
    ("mistral validation, said", 422, {"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "no"}]},
     "type": "invalid_request_error", "param": None, "code": None}, K.BAD_REQUEST, "no", None),
    ("mistral model", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "param": None,
     "code": "1500"}, K.MODEL_MISSING, "Invalid model: x", "1500"),
    ("fastapi text", 404, {"detail": "Not Found"}, K.MODEL_MISSING, "Not Found", None),
    ("fastapi list", 422, {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": "Field required"}]},
     K.BAD_REQUEST, "Field required", "missing"),
    ("nvidia title", 403, {"status": 403, "title": "Forbidden", "detail": "Authorization failed"}, K.AUTH,
     "Authorization failed", None),
    # Z.AI: digits as code
    ("zai balance", 429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package"}},
     K.QUOTA, "Insufficient balance or no resource package", "1113"),
    ("zai plan", 429, {"error": {"code": "1311", "message": "Your plan does not include this model"}}, K.QUOTA,
     "Your plan does not include this model", "1311"),
    ("zai rate", 429, {"error": {"code": "1302", "message": "High concurrency usage"}}, K.RATE_LIMIT,
     "High concurrency usage", "1302"),
    # OpenAI, asked for what the model does not do: this says nothing about the model or the key
    ("openai chat only", 404, {"error": {"message": CHAT_ONLY, "type": "invalid_request_error", "param": "model",
     "code": None}}, K.BAD_REQUEST, CHAT_ONLY, None),
    ("openai no chat", 404, {"error": {"message": NO_CHAT, "type": "invalid_request_error", "param": "model",
     "code": None}}, K.BAD_REQUEST, NO_CHAT, None),
    ("openai no embeddings", 403, {"error": {"message": NO_EMBEDDINGS, "type": "invalid_request_error",
     "param": None, "code": None}}, K.BAD_REQUEST, NO_EMBEDDINGS, None),
    # SiliconFlow
    ("siliconflow key", 401, "Token is invalid", K.AUTH, "Token is invalid", None),
    ("siliconflow parameter", 400, {"code": 20012, "message": "Model does not exist.", "data": None}, K.BAD_REQUEST,
     "Model does not exist.", "20012"),
    # Strings: mlx-lm, TGI, xAI, Fireworks
    ("mlx text", 404, {"error": "Not Found"}, K.MODEL_MISSING, "Not Found", None),
    ("tgi validation", 422, {"error": "Input validation error", "error_type": "validation"}, K.BAD_REQUEST,
     "Input validation error", "validation"),
    ("tgi overloaded", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, K.RATE_LIMIT,
     "Model is overloaded", "overloaded"),
    ("xai text", 400, {"code": "Client specified an invalid argument", "error": "bad stop"}, K.BAD_REQUEST, "bad stop",
     "Client specified an invalid argument"),
    # llama.cpp, vLLM, SGLang, Ollama, LM Studio
    ("llama.cpp loads", 503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
     K.OVERLOADED, "Loading model", "503"),
    ("llama.cpp context", 400, {"error": {"code": 400, "message": "the request exceeds the available context size",
     "type": "exceed_context_size_error", "n_ctx": 512}}, K.CONTEXT_LENGTH,
     "the request exceeds the available context size", "400"),
    ("llama.cpp key", 401, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}},
     K.AUTH, "Invalid API Key", "401"),
    ("vllm model", 404, {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError",
     "param": "model", "code": 404}}, K.MODEL_MISSING, "The model `x` does not exist.", "404"),
    ("vllm context", 400, {"object": "error", "message": CONTEXT, "type": "BadRequestError", "param": None,
     "code": 400}, K.CONTEXT_LENGTH, CONTEXT, "400"),
    ("vllm tools", 400, {"object": "error", "message": '"auto" tool choice requires --enable-auto-tool-choice',
     "type": "BadRequestError", "param": None, "code": 400}, K.BAD_REQUEST,
     '"auto" tool choice requires --enable-auto-tool-choice', "400"),
    # DashScope, Qianfan, VolcEngine, Cloudflare
    ("dashscope arrears", 400, {"error": {"message": "Access denied", "type": "Arrearage", "code": "Arrearage"}},
     K.QUOTA, "Access denied", "Arrearage"),
    ("dashscope filter", 400, {"error": {"message": "inappropriate content", "code": "data_inspection_failed"}},
     K.CONTENT_FILTER, "inappropriate content", "data_inspection_failed"),
    ("qianfan tokens", 400, {"error": {"code": "tokens_too_long", "message": "too long"}, "id": "as-1"},
     K.CONTEXT_LENGTH, "too long", "tokens_too_long"),
    ("volcengine overdue", 403, {"error": {"code": "AccountOverdueError", "message": "overdue"}}, K.QUOTA, "overdue",
     "AccountOverdueError"),
    ("volcengine busy", 429, {"error": {"code": "ServerOverloaded", "message": "busy"}}, K.OVERLOADED, "busy",
     "ServerOverloaded"),
    ("volcengine model", 404, {"error": {"code": "InvalidEndpointOrModel.NotFound", "message": "no such endpoint"}},
     K.MODEL_MISSING, "no such endpoint", "InvalidEndpointOrModel.NotFound"),
    ("cloudflare rest", 400, {"success": False, "errors": [{"code": 7003, "message": "Could not route"}]},
     K.BAD_REQUEST, "Could not route", "7003"),
    # Google's list, Anthropic's 529
    ("google list", 400, [{"error": {"code": 400, "message": "Bad value", "status": "INVALID_ARGUMENT"}}],
     K.BAD_REQUEST, "Bad value", "400"),
    ("anthropic overloaded", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
     K.OVERLOADED, "Overloaded", None),
    # Statuses without help from the body
    ("timeout", 408, {}, K.TIMEOUT, "the upstream answered 408 without a message", None),
    ("gone", 410, {"error": {}}, K.MODEL_MISSING, "the upstream answered 410 without a message", None),
    ("teapot", 418, {"error": None}, K.BAD_REQUEST, "the upstream answered 418 without a message", None),
    ("bad gateway", 502, b"<html>502</html>", K.SERVER, "the upstream answered 502 without a message", None),
    ("plain text", 500, b" worker died \n", K.SERVER, "worker died", None),
    ("empty", 500, b"", K.SERVER, "the upstream answered 500 without a message", None),
    ("no text at all", 504, b"\xff\xfe", K.SERVER, "\ufffd\ufffd", None),
    ("no such status", 299, b"", K.UNKNOWN, "the upstream answered an error without a message", None),
]  # fmt: skip


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_a_vendors_error_means(status: int, body: Any, kind: K, message: str, code: str | None) -> None:
    failure = classify(status, {}, encoded(body))
    assert (failure.kind, failure.message, failure.code) == (kind, message, code)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, K.RATE_LIMIT, 429),
        ({"error": {"code": 502, "message": "down"}}, K.SERVER, 502),
        ({"error": {"message": "m"}, "status_code": 503}, K.OVERLOADED, 503),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, K.QUOTA, None),
        ({"base_resp": {"status_code": 1000, "status_msg": "unknown"}}, K.UNKNOWN, None),
        ({"error": {"message": "m", "type": "server_error"}}, K.SERVER, None),
        ({"error": {"message": "m", "code": "context_length_exceeded"}}, K.CONTEXT_LENGTH, None),
        ({"error": "text"}, K.UNKNOWN, None),
    ],
)
def test_an_error_under_status_200_counts_by_the_status_it_names(body: Any, kind: K, status: int | None) -> None:
    failure = from_description(describe(body), 200, {})
    assert (failure.kind, failure.status) == (kind, status)


def test_type_and_param_are_kept() -> None:
    failure = classify(400, {}, b'{"error":{"message":"m","type":"t","param":"temperature","code":"c"}}')
    assert (failure.type, failure.param, failure.status) == ("t", "temperature", 400)
    failure = classify(422, {}, b'{"detail":[{"loc":["body","messages",0],"msg":"m","type":"t"}]}')
    assert failure.param == "body.messages.0"


def test_a_prompt_that_is_echoed_decides_nothing() -> None:
    body = {"error": {"message": "cannot parse: 'my insufficient_quota rate_limit_exceeded invalid_api_key'"}}
    assert classify(400, {}, encoded(body)).kind is K.BAD_REQUEST


RULE = FailureRule(K.QUOTA, status=400, code="1113", phrase="Pay NOW")


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "1113", "please pay now!", K.QUOTA),
        (401, "1113", "please pay now!", K.AUTH),
        (400, "1114", "please pay now!", K.BAD_REQUEST),
        (400, "1113", "please wait", K.BAD_REQUEST),
    ],
)
def test_a_rows_rule_decides_first_and_only_if_all_of_it_holds(status: int, code: str, message: str, kind: K) -> None:
    body = encoded({"error": {"code": code, "message": message}})
    assert classify(status, {}, body, [RULE]).kind is kind


def test_the_first_rule_that_holds_wins() -> None:
    rules = [FailureRule(K.SERVER, phrase="x"), FailureRule(K.AUTH, status=500)]
    assert classify(500, {}, b"x", rules).kind is K.SERVER
    assert classify(500, {}, b"y", rules).kind is K.AUTH
    by_beginning = [FailureRule(K.RATE_LIMIT, code="Throttling.*")]
    assert (
        classify(400, {}, b'{"error":{"code":"Throttling.RateQuota","message":"m"}}', by_beginning).kind is K.RATE_LIMIT
    )
    assert classify(400, {}, b'{"error":{"code":"Throttled","message":"m"}}', by_beginning).kind is K.BAD_REQUEST
    by_type = [FailureRule(K.QUOTA, code="broke")]
    assert classify(400, {}, b'{"error":{"type":"broke","message":"m"}}', by_type).kind is K.QUOTA


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":{"a":1}}}', '{"a":1}'),
        (b'{"error":{"message":["a"]}}', '["a"]'),
        (b'{"error":[{"message":"m"}]}', "m"),
        (b'{"error":["m"]}', "m"),
        (b'{"errors":[]}', ""),
        (b'{"msg":"m"}', "m"),
        (b'{"title":"m"}', "m"),
        (b"[]", ""),
        (b"[[]]", ""),
        (b"5", ""),
        (b"null", ""),
        (b"  <!doctype html>", ""),
        (b"[" * 100_000, "[" * 4096),
        (b'{"error":"\xff"}', '{"error":"\ufffd"}'),
    ],
)
def test_any_body_is_described(body: bytes, message: str) -> None:
    assert describe_bytes(body).message == message


NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "junk", "retry-after": "7"}, 7),
        ({"retry-after-ms": "-1", "retry-after": "7"}, 7),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": NOW}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 09:28:30 +0200", "date": NOW}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": NOW}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "yesterday"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30", "date": NOW}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:00:00 -2359", "date": NOW}, 251_609_815_860),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "5, 7"}, None),
    ],
)
def test_the_wait_that_an_upstream_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds
    assert classify(429, headers, b"").retry_after == seconds
