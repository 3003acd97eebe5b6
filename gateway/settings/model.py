"""What a user's file may say. Every setting has a default, a range and the sentence that documents it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.settings.provider import ProviderRow, SecretText, Strict

MAX_ROUTE_NAME = 256
MAX_SECONDS = 86_400
"""A day: more is milliseconds written where seconds are meant."""
_PROVIDER_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]?")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")
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


def _provider_name(name: str) -> str:
    if not _WORD.fullmatch(name) or (":" in name and not _CUSTOM.fullmatch(name)):
        raise ValueError("must be a provider's id or alias, or custom: and an http:// or https:// URL")
    return name


def _access_log(target: str) -> str:
    if not target.strip() or "\0" in target:
        raise ValueError("must be stdout, stderr, off or the path of a file")
    return target


Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS), BeforeValidator(_not_a_boolean)]
Pause = Annotated[float, Field(ge=0, le=MAX_SECONDS), BeforeValidator(_not_a_boolean)]
Port = Annotated[int, Field(ge=0, le=65_535), BeforeValidator(_not_a_boolean)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_not_a_boolean)]
Host = Annotated[str, AfterValidator(_host)]
RouteName = Annotated[str, AfterValidator(_route_name)]
ProviderId = Annotated[str, AfterValidator(_provider_id)]
ModelName = Annotated[str, AfterValidator(_model)]
ProviderName = Annotated[str, AfterValidator(_provider_name)]
AccessLog = Annotated[str, AfterValidator(_access_log)]


class ServerSettings(Strict):
    """The side that clients see."""

    host: Host = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: Port = Field(default=8484, description="Port to listen on; 0 lets the system choose one.")
    api_keys: list[SecretText] = Field(
        default=[],
        description="Keys that clients must present one of (`Authorization: Bearer ...`). "
        "An empty list lets everyone in who reaches the port.",
        examples=[["${ANYPORT_API_KEY}"]],
    )
    allowed_hosts: list[Host] = Field(
        default=[],
        description="Names that the `Host` header of a request may carry, besides `localhost` and loopback "
        "addresses (guards against DNS rebinding). Empty: any name, except on loopback, where only "
        "these and `server.host` are.",
        examples=[["gateway.internal"]],
    )
    max_body_bytes: Count = Field(default=33_554_432, description="Longest request body; a longer one gets 413.")
    max_in_flight: Count | None = Field(
        default=None,
        description="Most requests at work at once in this process; more get 503 at once. Null for no limit.",
        examples=[1000],
    )
    drain_delay_seconds: Pause = Field(
        default=0,
        description="Time after SIGTERM during which the gateway reports itself not ready but still accepts "
        "requests, so that a load balancer can turn away first.",
    )
    grace_seconds: Pause = Field(
        default=30, description="Time that running requests get to finish at shutdown; after it they are cut."
    )
    metrics_port: Port | None = Field(
        default=None,
        description="Own loopback port for `/metrics`. Null serves it on the main port.",
        examples=[9464],
    )
    access_log: AccessLog = Field(
        default="stdout", description="Where one line per request goes: `stdout`, `stderr`, `off` or a file's path."
    )


class DeploymentSettings(Strict):
    """One concrete model that a route may call."""

    model: ModelName = Field(
        description="The provider's id or alias, a slash, and the provider's own name of the model; "
        "with `provider` beside it, only the provider's own name.",
        examples=["groq/llama-3.3-70b-versatile"],
    )
    provider: ProviderName | None = Field(
        default=None,
        description="A provider's id or alias, or `custom:URL` for a server that is nowhere described: it is taken "
        "to speak OpenAI's wire below exactly that URL; with `anthropic-custom:URL`, Anthropic's Messages API.",
        examples=["custom:https://llm.example.com/v1"],
    )

    def __str__(self) -> str:
        """Returns the deployment's name for people."""
        return self.model if self.provider is None else f"{self.provider} {self.model}"


class RouteSettings(Strict):
    """A public model name: what clients may put into `model` besides `provider/model`."""

    deployments: list[DeploymentSettings] = Field(
        min_length=1,
        description="What the route may call; so far only the first one is called.",
    )
    strict: bool = Field(
        default=False,
        description="Refuse a request of which the provider would not see every field, instead of leaving fields out. "
        "Of a single request, the header `x-anyport-strict: true` asks for the same.",
    )


class UpstreamSettings(Strict):
    """The side that providers see."""

    transport: Literal["builtin", "httpx"] = Field(
        default="builtin",
        description="HTTP client for requests to providers: our own, or httpx (slower, widely tested).",
    )
    connect_seconds: Seconds = Field(default=5, description="Name look-up, TCP and TLS together.")
    pool_seconds: Seconds = Field(default=1, description="Wait for a free connection slot.")
    head_seconds: Seconds = Field(
        default=60, description="Of a stream: from the last request byte to the end of the response head."
    )
    answer_seconds: Seconds = Field(
        default=300,
        description="Of an answer in one piece: the same, which lasts until the model has written all of it.",
    )
    idle_seconds: Seconds = Field(default=60, description="Silence between two pieces of a response body.")
    total_seconds: Seconds = Field(default=600, description="One request, all of its attempts together.")
    max_connections: Count = Field(
        default=10_000,
        description="Most open connections to one host and port; `httpx` counts all of them together.",
    )
    max_response_bytes: Count = Field(
        default=67_108_864, description="Longest response body that is not a stream, after decompression."
    )


class DiscoverySettings(Strict):
    """Looking for model servers on this machine."""

    enabled: bool = Field(
        default=True,
        description="Whether to look for local servers such as Ollama and vLLM, and to ask hosted providers for the "
        "models that `/v1/models` lists.",
    )
    interval_seconds: Seconds = Field(default=30, description="Time between two looks.")


class Settings(Strict):
    """The whole file. Every part may be left out; an empty file is a valid one."""

    server: ServerSettings = Field(default=ServerSettings(), description="The side that clients see.")
    providers: dict[ProviderId, ProviderRow] = Field(
        default={}, description="Changes of built-in providers, and providers of your own, by id."
    )
    routes: dict[RouteName, RouteSettings] = Field(
        default={}, description="Public model names, besides `provider/model`, which always works."
    )
    upstream: UpstreamSettings = Field(default=UpstreamSettings(), description="The side that providers see.")
    discovery: DiscoverySettings = Field(
        default=DiscoverySettings(), description="Looking for model servers on this machine."
    )

    @model_validator(mode="before")
    @classmethod
    def _skip_empty_sections(cls, value: object) -> object:
        # `server:` with every line below it commented out is null in YAML.
        if isinstance(value, dict):
            return {name: part for name, part in value.items() if part is not None}  # pyright: ignore[reportUnknownVariableType]
        return value
