"""What the gateway itself demands of a request, before an upstream may see it.

Only what we act on, what every provider refuses, and what would make two readers understand different things. The
rest of the parameters are the upstream's to judge on the pass-through path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_list, decode, is_null, split_object
from adapters.types import Call, Operation
from gateway.errors import BodyTooLarge, InvalidRequest
from gateway.http.api import jsonscan
from gateway.http.api.messages import check_messages

MAX_FIELDS: Final = 1_000
MAX_MODEL_CHARS: Final = 512
MAX_PROMPT_BYTES: Final = 40_000_000
_ABSENT = Raw()
_CHAT: Final = Operation.CHAT
_WITHOUT_STREAM: Final = (Operation.EMBEDDINGS, Operation.RERANK)
_IMPLAUSIBLE: Final = re.compile(r"[\n\r\x00\\]|\.\.|\{\{|\$\{")


class _StreamOptions(Struct):
    include_usage: bool | None = None


_stream_options = msgspec.json.Decoder(_StreamOptions | None)


def read_call(operation: Operation, body: bytes, *, id: str, created: int) -> Call:
    """Returns the request as a Call; raises InvalidRequest naming the field that is wrong."""
    fields = split(body, unchecked="messages" if operation is _CHAT else "")
    model = _model(fields)
    stream = False
    wants_usage = False
    if operation not in _WITHOUT_STREAM:
        stream = _boolean(fields, "stream")
        wants_usage = _wants_usage(fields, stream)
    _CHECKS[operation](fields)
    return Call(
        operation=operation,
        body=body,
        fields=fields,
        model=model,
        stream=stream,
        wants_usage=wants_usage,
        id=id,
        created=created,
    )


def split(body: bytes, unchecked: str = "") -> dict[str, Raw]:
    """Returns the members of a JSON object; raises InvalidRequest with OpenAI's code for anything else.

    The member `unchecked` is left to a check of its own.
    """
    if not body or body.isspace():
        raise InvalidRequest("the body is empty; send a JSON object", code="empty_body")
    try:
        jsonscan.check_text(body)
        fields = split_object(body)
        if len(fields) > MAX_FIELDS:
            raise jsonscan.BadJson("too_many_items", f"the body has more than {MAX_FIELDS} fields")
        jsonscan.check_unique_keys(body, fields)
        for name, value in fields.items():
            if name != unchecked:
                jsonscan.check_value(value)
    except jsonscan.BadJson as error:
        raise InvalidRequest(error.message, code=error.code, param=error.param) from None
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object", code="invalid_type") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deep", code="json_too_deep") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    return fields


def _model(fields: Mapping[str, Raw]) -> str:
    value = _member(fields, "model")
    if not isinstance(value, str):
        raise _wrong_type("model", "a string")
    if not value.strip():
        raise InvalidRequest("model must not be empty", code="missing_required_parameter", param="model")
    if len(value) > MAX_MODEL_CHARS or _IMPLAUSIBLE.search(value):
        raise InvalidRequest("model is not a plausible model name", code="invalid_value", param="model")
    return value


def _member(fields: Mapping[str, Raw], name: str) -> Any:
    member = fields.get(name)
    if member is None:
        raise InvalidRequest(f"missing required parameter: {name!r}", code="missing_required_parameter", param=name)
    return decode(member)


def _wrong_type(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"{name} must be {wanted}", code="invalid_type", param=name)


def _boolean(fields: Mapping[str, Raw], name: str) -> bool:
    text = bytes(fields.get(name, _ABSENT))
    if text in (b"", b"null", b"false"):
        return False
    if text != b"true":
        raise _wrong_type(name, "true or false")
    return True


def _wants_usage(fields: Mapping[str, Raw], stream: bool) -> bool:
    member = fields.get("stream_options")
    if member is None or is_null(member):
        return False
    if not stream:
        raise InvalidRequest(
            "stream_options is only allowed together with stream: true",
            code="invalid_value",
            param="stream_options",
        )
    try:
        options = _stream_options.decode(member)
    except msgspec.ValidationError:
        raise _wrong_type("stream_options", "an object with booleans") from None
    return bool(options and options.include_usage)


def _check_chat(fields: Mapping[str, Raw]) -> None:
    check_messages(fields.get("messages"))


def _check_completion(fields: Mapping[str, Raw]) -> None:
    text = bytes(fields.get("prompt", _ABSENT))
    if text and text[:1] not in b'"[n':
        raise _wrong_type("prompt", "a string or an array")
    if len(text) > MAX_PROMPT_BYTES:
        raise BodyTooLarge("prompt is too long", param="prompt")


def _check_embedding(fields: Mapping[str, Raw]) -> None:
    member = fields.get("input")
    if member is None or is_null(member):
        raise InvalidRequest("missing required parameter: 'input'", code="missing_required_parameter", param="input")
    text = bytes(member)
    if text == b'""' or text.replace(b" ", b"") == b"[]":
        raise InvalidRequest("input must not be empty", code="empty_array", param="input")
    if text[:1] not in (b'"', b"["):
        raise _wrong_type("input", "a string or an array of strings or token ids")
    encoding = bytes(fields.get("encoding_format", _ABSENT))
    if encoding not in (b"", b"null", b'"float"', b'"base64"'):
        raise InvalidRequest(
            "encoding_format must be 'float' or 'base64'", code="invalid_value", param="encoding_format"
        )


def _check_rerank(fields: Mapping[str, Raw]) -> None:
    query = _member(fields, "query")
    if not isinstance(query, str):
        raise _wrong_type("query", "a string")
    if not query:
        raise InvalidRequest("query must not be empty", code="invalid_value", param="query")
    _check_documents(_member(fields, "documents"))
    top_n = _number(fields, "top_n")
    if top_n is not None and top_n < 1:
        raise InvalidRequest("top_n must be at least 1", code="invalid_value", param="top_n")
    _boolean(fields, "return_documents")


def _check_documents(documents: Any) -> None:
    if not isinstance(documents, list):
        raise _wrong_type("documents", "an array of strings or objects")
    if not documents:
        raise InvalidRequest("documents must not be empty", code="empty_array", param="documents")
    for index, document in enumerate(as_list(documents)):
        if not isinstance(document, str | dict):
            raise _wrong_type(f"documents[{index}]", "a string or an object with `text`")


def _number(fields: Mapping[str, Raw], name: str) -> int | None:
    member = fields.get(name)
    if member is None or is_null(member):
        return None
    value = decode(member)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "a whole number")
    return value


_CHECKS: Final[Mapping[Operation, Callable[[Mapping[str, Raw]], None]]] = {
    Operation.CHAT: _check_chat,
    Operation.COMPLETIONS: _check_completion,
    Operation.EMBEDDINGS: _check_embedding,
    Operation.RERANK: _check_rerank,
}
