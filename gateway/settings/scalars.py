"""The single values of a user's file: numbers with their ranges, names with their spelling."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError

from gateway.secret import Secret

DEFAULT_PORT = 8484
MAX_ROUTE_NAME = 256
MAX_SECONDS = 86_400
"""A day: more is milliseconds written where seconds are meant."""
MEMORY_URL = "memory://"
CONFIG = "config"
"""The source of a secret that stands in the file, or in a variable that the file names."""
_PROVIDER_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]?")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_STATE_URL = re.compile(r"rediss?://[^\s]+")
_STORAGE_URL = re.compile(r"sqlite:///[^?]+|postgres(?:ql)?://[^\s]+")
_EMPTY_PASSWORD = re.compile(r"[a-z]+://[^\s/?#:@]*:@")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CUSTOM = re.compile(r"(?:anthropic-)?custom:https?://[^\s/?#@]+(/[^\s?#]*)?")


def _not_a_boolean(value: object) -> object:
    # pydantic takes true for 1, which in a file is always a mistake.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _route_name(name: str) -> str:
    if not name:
        raise ValueError("a route's name must not be empty")
    if len(name) > MAX_ROUTE_NAME:
        raise ValueError(f"a route's name must have at most {MAX_ROUTE_NAME} characters")
    if any(character.isspace() or not character.isprintable() for character in name):
        raise ValueError("a route's name must have no spaces and no control characters")
    return name


def _provider_id(name: str) -> str:
    if not _PROVIDER_ID.fullmatch(name):
        raise ValueError("a provider's id must be lower-case letters, digits, '.', '_' and '-'")
    return name


def _host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError("must be a host name or an IP address, without scheme, port or path")
    return host


def _model(model: str) -> str:
    if not _WORD.fullmatch(model):
        raise ValueError("must be 'provider/model', without blanks")
    return model


def _served_name(name: str) -> str:
    if not _WORD.fullmatch(name):
        raise ValueError("must be the name of a route or 'provider/model', without blanks")
    return name


def _provider_name(name: str) -> str:
    if not _WORD.fullmatch(name) or (":" in name and not _CUSTOM.fullmatch(name)):
        raise ValueError("must be a provider's id or alias, or custom: and an http:// or https:// URL")
    return name


def _access_log(target: str) -> str:
    if not target.strip() or "\0" in target:
        raise ValueError("must be stdout, stderr, off or the path of a file")
    return target


def _tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise ValueError("must be up to 64 letters, digits, '.', '_', ':', '/' and '-'")
    return tag


def _header_name(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of a header")
    return name.lower()


def _sticky_by(what: str) -> str:
    kind, colon, name = what.partition(":")
    if what in ("user", "prefix"):
        return what
    if kind == "header" and colon and _HEADER.fullmatch(name):
        return f"header:{name.lower()}"
    raise ValueError("must be user, prefix or header:NAME")


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return Secret(value, CONFIG)


def _state_url(url: Secret) -> Secret:
    text = url.reveal()
    if text != MEMORY_URL and not _STATE_URL.fullmatch(text):
        raise ValueError("must be memory:// or redis://HOST:PORT/DATABASE (rediss:// with TLS)")
    return _with_its_password(url)


def _storage_url(url: Secret) -> Secret:
    if not _STORAGE_URL.fullmatch(url.reveal()):
        raise ValueError("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return _with_its_password(url)


def _with_its_password(url: Secret) -> Secret:
    # `redis://:${PASSWORD}@host` with an empty variable: to go there without a password is not what was meant.
    if _EMPTY_PASSWORD.match(url.reveal()):
        raise ValueError("has an empty password; write HOST alone where there is none")
    return url


def _env_name(name: str) -> str:
    if not _ENV_NAME.fullmatch(name):
        raise ValueError("must be the name of an environment variable")
    return name


def _directory(path: str) -> str:
    if not path.strip() or "\0" in path:
        raise ValueError("must be the path of a directory")
    return path


Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS), BeforeValidator(_not_a_boolean)]
Pause = Annotated[float, Field(ge=0, le=MAX_SECONDS), BeforeValidator(_not_a_boolean)]
Port = Annotated[int, Field(ge=0, le=65_535), BeforeValidator(_not_a_boolean)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_not_a_boolean)]
Host = Annotated[str, AfterValidator(_host)]
RouteName = Annotated[str, AfterValidator(_route_name)]
ProviderId = Annotated[str, AfterValidator(_provider_id)]
ModelName = Annotated[str, AfterValidator(_model)]
ServedName = Annotated[str, AfterValidator(_served_name)]
ProviderName = Annotated[str, AfterValidator(_provider_name)]
AccessLog = Annotated[str, AfterValidator(_access_log)]
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(_not_a_boolean)]
Weight = Annotated[float, Field(ge=0, le=1_000_000), BeforeValidator(_not_a_boolean)]
Tag = Annotated[str, AfterValidator(_tag)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
StickyBy = Annotated[str, AfterValidator(_sticky_by)]
Days = Annotated[int, Field(ge=1, le=36_500), BeforeValidator(_not_a_boolean)]
ContentBytes = Annotated[int, Field(ge=1, le=262_144), BeforeValidator(_not_a_boolean)]
"""Of a request or an answer; more would be too long for the journal."""
DaysOfSums = Annotated[int, Field(ge=32, le=36_500), BeforeValidator(_not_a_boolean)]
"""Budgets of a month are counted from sums by hour."""
Directory = Annotated[str, AfterValidator(_directory)]
SecretValue = Annotated[
    Secret,
    PlainValidator(_secret),
    PlainSerializer(str, when_used="json"),  # says `***`
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True}),
]
StorageUrl = Annotated[SecretValue, AfterValidator(_storage_url)]
"""Shown nowhere, since it may hold a password."""
EnvName = Annotated[str, AfterValidator(_env_name)]
StateUrl = Annotated[SecretValue, AfterValidator(_state_url)]
"""Shown nowhere, since it may hold a password."""
