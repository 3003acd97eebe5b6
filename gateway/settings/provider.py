"""The shape of one provider row, in config/providers.yaml and under `providers:` of a user's file alike."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from adapters.failures import FailureKind
from adapters.hosts import is_local_host
from adapters.options import CloudSuffix, RerankShape
from adapters.rules import (
    JsonObjectSupport,
    JsonSchemaSupport,
    LogProbs,
    ReasoningIn,
    ReasoningOut,
    StreamUsage,
    ToolChoiceMap,
    ToolSchemas,
    VectorBytes,
)
from adapters.types import Operation
from gateway.domain import Connection, LoginKind
from gateway.secret import Secret
from gateway.settings.scalars import SecretValue

Protocol = Literal[
    "openai",
    "azure",
    "mistral",
    "anthropic",
    "gemini",
    "code_assist",
    "codex",
    "vertex",
    "bedrock",
    "ollama",
    "cohere",
    "huggingface",
    "tgi",
]
PluginProtocol = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
"""A protocol that a plugin speaks."""
MIN_LONG_SECRET: Final = 16
Range = tuple[float | None, float | None]
ToolChoiceKey = Literal["auto", "none", "required", "named"]


class Strict(BaseModel):
    """Base of every settings model: unknown keys are errors, values are final."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def shape_of(value: object) -> str:
    """Returns which member of a union of texts and mappings a value is meant to be."""
    return "mapping" if isinstance(value, dict | BaseModel) else "text"


def _usable(secret: Secret) -> Secret:
    value = secret.reveal()
    if not value:
        raise ValueError("must not be empty")
    if not all("!" <= character <= "~" for character in value):
        raise ValueError("must be printable ASCII without spaces")
    return secret


def _long(secret: Secret) -> Secret:
    if len(secret.reveal()) < MIN_LONG_SECRET:
        raise ValueError(f"must have at least {MIN_LONG_SECRET} characters; `openssl rand -hex 32` makes one")
    return secret


SecretText = Annotated[SecretValue, AfterValidator(_usable)]
"""A key as it goes into an HTTP header; shown nowhere."""
LongSecretText = Annotated[SecretText, AfterValidator(_long)]
"""One that nobody may find by trying; shown nowhere."""


class ModelRulesRow(Strict):
    """Rules for some models of a provider (adapters.rules.ModelRules)."""

    match: list[str] = Field(min_length=1)
    drop: list[str] = []
    rename: dict[str, str] = {}
    clamp: dict[str, Range] = {}
    tool_choice: dict[ToolChoiceKey, ToolChoiceMap] = {}
    values: dict[str, dict[str, str]] = {}


class AdditionRow(Strict):
    """Fields added to some requests (adapters.rules.Addition)."""

    fields: dict[str, object] = Field(min_length=1)
    given: str = ""
    match: list[str] = []
    stream: bool | None = None


class RulesRow(Strict):
    """A provider's deviations from OpenAI's wire (adapters.rules.ParamRules says what each means)."""

    rename: dict[str, str] = {}
    drop: list[str] = []
    drop_values: dict[str, list[str]] = {}
    clamp: dict[str, Range] = {}
    values: dict[str, dict[str, str]] = {}
    limit_chars: dict[str, tuple[int, int]] = {}
    limit_items: dict[str, int] = {}
    reject_above: dict[str, int] = {}
    defaults: dict[str, object] = {}
    additions: list[AdditionRow] = []
    roles: dict[str, str] = {}
    message_drop: list[str] = []
    one_system: bool = False
    string_content: bool = False
    strip_nulls: bool = False
    wrap_functions: bool = False
    tool_choice: dict[ToolChoiceKey, ToolChoiceMap] = {}
    tool_drop: list[str] = []
    tool_schema: ToolSchemas = "native"
    logprobs: LogProbs = "flag"
    json_schema: JsonSchemaSupport = "native"
    json_object: JsonObjectSupport = "native"
    reasoning_out: ReasoningOut = "fields"
    reasoning_in: ReasoningIn = "keep"
    stream_usage: StreamUsage = "opt_in"
    reasoning_excluded: bool = False
    vector_bytes: VectorBytes = "float32"
    model_prefix: str = ""
    by_model: list[ModelRulesRow] = []


class FailureRuleRow(Strict):
    """A provider's own wording of a failure: all conditions given must hold."""

    kind: FailureKind
    status: int | None = None
    code: str | None = None
    phrase: str | None = None


class OptionsRow(Strict):
    """What a protocol of its own lets one set (adapters.options.Options says what each means)."""

    prompt_cache: bool | None = None
    default_max_tokens: int | None = Field(default=None, ge=1)
    api_version: str | None = None
    rerank: RerankShape | None = None
    cloud_suffix: CloudSuffix | None = None
    project: str | None = None


Auth = Annotated[
    str,
    Field(
        pattern=r"^(bearer|bearer_remote_only|none|x-api-key|api-key|(header|bearer):[A-Za-z0-9-]+"
        r"|sigv4|google_adc|entra)$"
    ),
]
"""How a credential goes on the wire (gateway.registry.builtin.auth_scheme says what each means)."""
KeyAuth = Annotated[str, Field(pattern=r"^(bearer|x-api-key|api-key|(header|bearer):[A-Za-z0-9-]+)$")]


class PrefixAuthRow(Strict):
    """How keys with one beginning go on the wire, and what has to be sent along with them."""

    auth: KeyAuth
    headers: dict[str, str] = {}


def _token_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local_host(url)):
        raise ValueError("must begin with https://; tokens go over http:// to this machine alone")
    return url


class LoginRow(Strict):
    """A login whose tokens are renewed (gateway.credentials.logins)."""

    kind: LoginKind | None = None
    """Whose login it is; a built-in row says it."""
    file: str | None = None
    """Where another program keeps the login, in the place of that program's usual file; `~` is `$HOME`."""
    refresh_token: SecretText | None = None
    """The token to begin with, where it stands in no file; in the place of the vendor's variable."""
    client_id: str | None = None
    """The client that the login was made with, where the kind does not know it."""
    client_secret: SecretText | None = None
    token_url: Annotated[str, AfterValidator(_token_url)] | None = None
    """Where tokens are renewed, in the place of the vendor's own address."""


class ProfileRow(Strict):
    """Credentials of one account of several, for deployments that name it."""

    credentials: list[SecretText] | None = None
    """Upstream secrets, as `${VARIABLE}`."""
    login: LoginRow | None = None
    """Its login, of the provider's kind."""


class ProviderRow(Strict):
    """One provider. In a user's file every field is optional and laid over the built-in row of the same name."""

    display_name: str | None = None
    protocol: Protocol | PluginProtocol | None = None
    base_url: str | None = None
    base_url_envs: list[str] | None = None
    base_url_variables: dict[str, str] | None = None
    region: str | None = None
    regions: dict[str, str] | None = None
    credentials: list[SecretText] | None = None
    """Upstream secrets, as `${VARIABLE}` (user's file only)."""
    login: LoginRow | None = None
    """What serves where there is no credential."""
    profiles: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ProfileRow] | None = None
    """Further accounts, for deployments with `profile` (user's file only)."""
    credential_envs: list[str] | None = None
    requires_credential: bool | None = None
    auth: Auth | None = None
    auth_by_env: dict[str, KeyAuth] | None = None
    """Variable -> how the credential from it goes on the wire instead."""
    auth_by_prefix: dict[str, PrefixAuthRow] | None = None
    """Beginning of a credential -> how such a credential goes on the wire instead."""
    auth_also: dict[str, KeyAuth] | None = None
    """Variable of a second credential -> how it goes along, if it is set."""
    key_prefix: str | None = None
    connection: Connection | None = None
    category: Literal["Local", "US Labs", "China Labs", "Model Hosts", "Other Labs", "Platforms"] | None = None
    docs_url: str | None = None
    aliases: list[Annotated[str, Field(pattern=r"^[^@/\s]+(@[^@/\s]+)?$")]] | None = None
    probe: str | None = None
    headers: dict[str, str] | None = None
    paths: dict[Operation, str] | None = None
    operations: list[Operation] | None = None
    keep_ids: list[str] | None = None
    keyless_models: list[str] | None = None
    """Models (patterns) that it serves without a credential, if those are not all."""
    default_model: str | None = None
    """The model that the provider's name alone stands for."""
    model_envs: list[str] | None = None
    """Variables that say the same, and come first."""
    example_models: list[str] | None = None
    rules: RulesRow | None = None
    failure_rules: list[FailureRuleRow] | None = None
    options: OptionsRow | None = None
    timeout_seconds: float | None = Field(default=None, gt=0, le=86_400)
    """Longest wait for the head of a response and between two pieces of it, where the general ones do not fit."""
    timeout_envs: list[str] | None = None
    """Variables that say the same; a value that is no number of seconds says nothing."""
    provider_batch: bool | None = None
    """Lines of batches go to the provider's own batch API, at half the price (user's file only)."""
    label: str | None = None
