"""What a user's file may say. Every setting has a default, a range and the sentence that documents it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, PrivateAttr, model_validator
from pydantic import Tag as Shape

from gateway.secret import Secret
from gateway.settings.integrations import IntegrationsSettings
from gateway.settings.provider import LongSecretText, ProviderRow, SecretText, Strict, shape_of
from gateway.settings.route import RouteSettings
from gateway.settings.scalars import (
    CONFIG,
    DEFAULT_PORT,
    MEMORY_URL,
    AccessLog,
    ContentBytes,
    Count,
    Days,
    DaysOfSums,
    Directory,
    EnvName,
    Host,
    Pause,
    Port,
    ProviderId,
    RouteName,
    Seconds,
    Share,
    StateUrl,
    StorageUrl,
    Tag,
)


class ClientKeySettings(Strict):
    """A client's key with a name that rules can refer to."""

    key: SecretText = Field(description="The key itself.", examples=["${TEAM_A_KEY}"])
    name: Tag = Field(description="What the rules of routes call it.")
    tags: list[Tag] = Field(default=[], description="What `rules` of routes may ask for.")


ClientKeyEntry = Annotated[
    Annotated[SecretText, Shape("text")] | Annotated[ClientKeySettings, Shape("mapping")], Discriminator(shape_of)
]


class ServerSettings(Strict):
    """The side that clients see."""

    host: Host = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for every interface.")
    port: Port = Field(default=DEFAULT_PORT, description="Port to listen on; 0 lets the system choose one.")
    api_keys: list[ClientKeyEntry] = Field(
        default=[],
        description="Keys that clients must present one of (`Authorization: Bearer ...`), each alone or with a `name` "
        "and `tags`. An empty list lets everyone in who reaches the port.",
        examples=[["${ANYPORT_API_KEY}", {"key": "${TEAM_A_KEY}", "name": "team-a", "tags": ["gold"]}]],
    )
    bad_keys_per_minute: Count | None = Field(
        default=20,
        description="Unknown keys from one address per minute; more of them get 429, and a right one still passes. "
        "Null for no limit.",
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
    cost_header: bool = Field(
        default=True,
        description="Whether answers in one piece say in `x-anyport-cost-usd` what they cost, where that is known.",
    )


class UpstreamSettings(Strict):
    """The side that providers see."""

    transport: Literal["builtin", "httpx"] = Field(
        default="builtin",
        description="HTTP client for requests to providers: our own, or httpx (slower, widely tested).",
    )
    warmup: bool = Field(
        default=False,
        description="Whether a connection to each provider that is ready or stands in a route is opened at the start, "
        "so that the first request need not wait for it.",
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
    first_token_seconds: Seconds = Field(
        default=120, description="Of a stream: from the beginning of an attempt to its first content."
    )
    between_tokens_seconds: Seconds = Field(
        default=60, description="Silence between two pieces of a body, in a stream between two with content."
    )
    min_bytes_per_second: Count | None = Field(
        default=None,
        description="Slowest pace of a response body, over any 10 seconds spent waiting for it. Null: any pace.",
        examples=[10],
    )
    total_seconds: Seconds = Field(default=600, description="One request, all of its attempts together.")
    max_connections: Count = Field(
        default=10_000,
        description="Most open connections to one host and port; `httpx` counts all of them together.",
    )
    max_response_bytes: Count = Field(
        default=67_108_864, description="Longest response body that is not a stream, after decompression."
    )


class HealthSettings(Strict):
    """When a deployment that fails is left out for a while, and how it comes back."""

    consecutive_failures: Count = Field(default=5, description="So many failures in a row eject a deployment.")
    failure_ratio: Share = Field(
        default=0.5, description="So does this share of failures among the attempts of the last 10 seconds."
    )
    min_attempts: Count = Field(
        default=20, description="Fewest attempts in 10 seconds at which `failure_ratio` counts."
    )
    ejection_seconds: Seconds = Field(
        default=1, description="How long the first ejection lasts; each further one twice as long."
    )
    max_ejection_seconds: Seconds = Field(
        default=8, description="Where the doubling ends. Then one request is let through to see."
    )
    max_ejected_share: Share = Field(
        default=0.7, description="Most deployments of a route that may be ejected at once; never the last one."
    )
    probe_seconds: Seconds | None = Field(
        default=None,
        description="How often an ejected deployment's provider is asked for its list of models, which costs nothing; "
        "an answer ends the ejection early. Null: never.",
        examples=[5],
    )


class CredentialsSettings(Strict):
    """Where secrets may come from, and what of them is a reason not to start."""

    strict: bool = Field(
        default=False,
        description="Whether it is a fault that a provider or a deployment of the file has no credential or cannot be "
        "used, and that others may read a file with a secret. Otherwise each is a warning, and the rest is served.",
    )
    strict_key_check: bool = Field(
        default=False,
        description="Whether it is a fault that a key does not begin as its vendor makes them, where it would go to "
        "the vendor's own host. Otherwise it is a warning.",
    )
    allow_commands: bool = Field(
        default=False, description="Whether secrets of the file may be what a command prints (`cmd:COMMAND`)."
    )
    command_seconds: Seconds = Field(default=10, description="How long such a command may take.")
    generic_variables: list[EnvName] = Field(
        default=[],
        description="Variables with a key for every provider that stands in `providers` or `routes`, needs one and has "
        "none; local, keyless and added ones never get it. The first that is set counts.",
        examples=[["API_KEY"]],
    )


class StateSettings(Strict):
    """What replicas tell each other and may lose: who used how much of a limit, and who asked for a pause."""

    url: StateUrl = Field(
        default_factory=lambda: Secret(MEMORY_URL, CONFIG),
        json_schema_extra={"default": MEMORY_URL},
        description="`memory://` for this process alone, or `redis://USER:PASSWORD@HOST:PORT/DATABASE`; "
        "`rediss://` with TLS.",
    )
    limits_while_away: Literal["share", "refuse"] = Field(
        default="share",
        description="What becomes of limits while `state.url` does not answer: each replica allows its `share` of "
        "them, or requests that have one are refused with 503.",
    )
    budgets_while_away: Literal["ledger", "refuse"] = Field(
        default="ledger",
        description="The same of budgets: what the `ledger` says is spent counts, and each replica spends its "
        "share of what is left, or `refuse`.",
    )


class StorageSettings(Strict):
    """What must not be lost: keys, and what every request used."""

    url: StorageUrl | None = Field(
        default=None,
        description="`sqlite:///PATH` (a relative path; `sqlite:////PATH` an absolute one), or "
        "`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, which several replicas can share. "
        "Null: the SQLite file `anyport.db` in `storage.directory`.",
        examples=["sqlite:////var/lib/anyport/anyport.db"],
    )
    directory: Directory | None = Field(
        default=None,
        description="Where this machine keeps its files, also those on their way to `storage.url`. "
        "Null: `$ANYPORT_DATA_DIR`, else `.anyport` in the working directory.",
        examples=["/var/lib/anyport"],
    )
    retention_days: Days = Field(
        default=30, description="How long single records stay, from the moment they were stored."
    )
    content_days: Days = Field(
        default=7,
        description="How long it is kept what keys with `keeps_content` asked and were answered; never longer than "
        "`storage.retention_days`.",
    )
    max_content_bytes: ContentBytes = Field(
        default=65_536, description="How much is kept of each such request, and as much of its answer."
    )
    aggregates_days: DaysOfSums = Field(
        default=400,
        description="How long sums stay by hour, route, model and deployment; after that, only what each owner used "
        "in all is kept.",
    )
    journal_max_bytes: Count = Field(
        default=1_073_741_824,
        description="How much may wait in `storage.directory` while `storage.url` cannot be reached.",
    )
    on_ledger_failure: Literal["refuse", "serve"] = Field(
        default="refuse",
        description="What becomes of requests while nothing can be recorded, since the disk is full or that much "
        "waits: `refuse` answers 503, `serve` answers them unrecorded, and counts them.",
    )


class AccessSettings(Strict):
    """Virtual keys: those that `anyport keys create` gives out."""

    pepper: LongSecretText | None = Field(
        default=None,
        description="Secret that the digests of virtual keys are made with; replicas need the same one, and another "
        "one makes all virtual keys void. Null: the file `pepper` in `storage.directory`, made with the first key.",
        examples=["${ANYPORT_PEPPER}"],
    )
    assumed_output_tokens: Count = Field(
        default=4096,
        description="What limits and budgets expect a request to write at most if it does not say so itself "
        "(`max_tokens`). An answer that is longer may take a budget beyond its end.",
    )


class BatchesSettings(Strict):
    """Files and batches: requests that can wait until there is room for them."""

    max_in_flight: Count = Field(default=4, description="Most lines of batches under way at once in this process.")
    below_in_flight: Count = Field(
        default=16, description="Lines are begun only while fewer requests than this are at work in this process."
    )
    max_owner_bytes: Count = Field(
        default=1_073_741_824,
        description="How much the files of one key may be together, with the copies that its batches have of them "
        "while they are at work; a further upload or batch is refused. One file is bounded by `server.max_body_bytes`.",
    )
    keep_days: Days = Field(default=30, description="How long files and batches that have ended are kept.")


class AdminSettings(Strict):
    """The operator's own door: explanations, and the state of keys and deployments."""

    port: Port | None = Field(
        default=None, description="Port of the admin API; 0 lets the system choose. Null: none.", examples=[8485]
    )
    host: Host = Field(default="127.0.0.1", description="Address that it listens on.")
    key: SecretText | None = Field(
        default=None,
        description="Key that it demands (`Authorization: Bearer ...`); must be set where `admin.port` is, "
        "and be no client's key.",
        examples=["${ANYPORT_ADMIN_KEY}"],
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
    health: HealthSettings = Field(
        default=HealthSettings(), description="When a failing deployment is left out for a while."
    )
    credentials: CredentialsSettings = Field(default=CredentialsSettings(), description="Where secrets may come from.")
    state: StateSettings = Field(default_factory=StateSettings, description="What replicas tell each other.")
    storage: StorageSettings = Field(default=StorageSettings(), description="What must not be lost.")
    access: AccessSettings = Field(default=AccessSettings(), description="Virtual keys.")
    batches: BatchesSettings = Field(default=BatchesSettings(), description="Files and batches.")
    admin: AdminSettings = Field(default=AdminSettings(), description="The operator's own door.")
    discovery: DiscoverySettings = Field(
        default=DiscoverySettings(), description="Looking for model servers on this machine."
    )

    integrations: IntegrationsSettings = Field(
        default=IntegrationsSettings(), description="Chats whose people may ask."
    )
    plugins: list[Tag] = Field(
        default=[],
        description="Installed packages that may add protocols and hooks, by the names of their entry points. Nothing "
        "else that is installed is loaded.",
        examples=[["anyport-example"]],
    )

    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know about where they came from: sentences without secrets."""
        return self._warnings

    def warned(self, warnings: Sequence[str]) -> Settings:
        """Returns the same settings with other warnings."""
        copy = self.model_copy()
        copy._warnings = tuple(warnings)
        return copy

    @model_validator(mode="before")
    @classmethod
    def _skip_empty_sections(cls, value: object) -> object:
        # `server:` with every line below it commented out is null in YAML.
        if isinstance(value, dict):
            return {name: part for name, part in value.items() if part is not None}  # pyright: ignore[reportUnknownVariableType]
        return value
