"""What the configuration means: providers, deployments, routes, and what happened in a request. Values only.

What is made for every request is a msgspec Struct (a fifth of a dataclass's price), the rest dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from adapters.failures import Failure, FailureRule
from adapters.options import NO_OPTIONS, Options
from adapters.rules import ParamRules
from adapters.types import Adapter, Headers, Operation, Usage


class Connection(StrEnum):
    """Where a provider runs: on this machine, or somewhere that wants your key."""

    LOCAL = "local"
    BYOK = "byok"


class Cloud(StrEnum):
    """Whose own way authenticates where no key stands in the file or in a variable."""

    AWS = "aws"
    GOOGLE = "google"
    AZURE = "azure"


@dataclass(frozen=True, slots=True)
class AuthScheme:
    """How a credential goes on the wire: in `header`, with `prefix` before the secret."""

    header: str = "authorization"
    prefix: str = "Bearer "
    headers: Headers = ()
    """What has to be sent along with such a credential."""
    is_remote_only: bool = False
    """A server on this machine gets no credential."""
    cloud: Cloud | None = None
    """Signs or fetches a token where there is no secret to be sent as it is."""
    by_env: tuple[tuple[str, AuthScheme], ...] = ()
    """Variable -> how what stands in it goes on the wire instead."""
    by_prefix: tuple[tuple[str, AuthScheme], ...] = ()
    """Beginning of a secret -> how such a secret goes on the wire instead."""
    also: tuple[tuple[str, AuthScheme], ...] = ()
    """Variable of a second credential -> how it goes along, if it is set."""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One vendor or server: where it is, how to authenticate, how it deviates. One row of config/providers.yaml."""

    id: str
    display_name: str
    protocol: str
    base_url: str
    """The row's default, possibly with `{VARIABLE}` parts; which one applies is decided by gateway.registry."""
    base_url_envs: tuple[str, ...] = ()
    base_url_variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Defaults of the `{VARIABLE}` parts: a text, or another variable as `{OTHER}` or `{OTHER:-text}`."""
    credential_envs: tuple[str, ...] = ()
    requires_credential: bool = True
    auth: AuthScheme | None = AuthScheme()
    key_prefix: str = ""
    connection: Connection = Connection.BYOK
    category: str = "Other Labs"
    docs_url: str = ""
    aliases: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    """Alias -> region that it picks, or None."""
    regions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    probe: str | None = "/v1/models"
    """Absolute path on the host that answers for free."""
    headers: Headers = ()
    paths: Mapping[Operation, str] = field(default_factory=lambda: MappingProxyType({}))
    operations: frozenset[Operation] = frozenset({Operation.CHAT})
    keep_ids: tuple[str, ...] = ()
    """Model ids (shell-style patterns) that begin with the provider's own name and are real."""
    keyless_models: tuple[str, ...] = ()
    """Model ids (shell-style patterns) that are served without a credential; none means all."""
    default_model: str = ""
    """The model that the provider's name alone stands for."""
    model_envs: tuple[str, ...] = ()
    """Variables that say the same, and come first."""
    example_models: tuple[str, ...] = ()
    """Documentation; never a default."""
    rules: ParamRules = field(default_factory=ParamRules)
    failure_rules: tuple[FailureRule, ...] = ()
    options: Options = NO_OPTIONS
    timeout_seconds: float | None = None
    """Longest wait for the head of a response and between two pieces of it; None means the general ones."""
    timeout_envs: tuple[str, ...] = ()
    """Variables that say the same."""
    has_batches: bool = False
    """Lines of batches are to go to its own batch API."""
    label: str = ""
    """Name in metrics where it differs from the id."""
    adapter: Adapter | None = None
    """What speaks the protocol where that is a plugin's; None for our own."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Integers of nano-dollars for a million tokens; per token many prices would not be integers.

    `output` is 0 where the catalogue names none: embeddings, rankings.
    """

    input: int
    output: int
    cached_input: int | None = None
    """Input that the provider's cache had; None if it has no price of its own."""
    cache_write: int | None = None
    """Input that went into the cache for the usual time."""
    cache_write_1h: int | None = None
    """Input that went into it for an hour."""


class Tier(NamedTuple):
    """What every token of a request costs that has more input tokens than this."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Price:
    """What text costs, at the standard service tier.

    Left out: audio, images and video, fees for a request or a search, other service tiers (batch, priority).
    """

    base: Rates
    tiers: tuple[Tier, ...] = ()
    """Ascending."""

    def rates(self, input_tokens: int) -> Rates:
        """Returns what the tokens of a request with that many input tokens cost."""
        return next((tier.rates for tier in reversed(self.tiers) if input_tokens > tier.above_input_tokens), self.base)


class Attempt(Struct):
    """One HTTP try. Times are monotonic seconds."""

    number: int
    deployment: str
    started: float
    failure: Failure | None = None
    first_byte: float | None = None
    ended: float | None = None
    part: int = 0
    """Which part of a split call it served; attempts at one part follow each other, those at several do not."""
    route: str = ""
    """The route, or `provider/model`, that it was tried for: another one than was asked for is a fallback."""
    key: int = 0
    """Which key of the deployment's ring, counted from 1."""
    is_hedge: bool = False
    """A second deployment was asked because the first was slow."""
    is_lost: bool = False
    """It was cancelled: another attempt was faster, the client left, or another part of a split call has failed."""
    provider: str = ""


class Outcome(Struct):
    """What became of one request; filled while it runs, read once when it is settled."""

    request_id: str
    key: str = ""
    """Id of the client's key, the name of one of the file; empty if it has none or is not known."""
    operation: str = ""
    model: str = ""
    """The route or public name, `other` in labels if it is not a known one."""
    provider: str = ""
    deployment: str = ""
    stream: bool = False
    status: int = 0
    error_code: str | None = None
    attempts: list[Attempt] = []  # of a Struct each gets a list of its own, for less than by a factory
    usage: Usage | None = None
    cost_nano_usd: int | None = 0
    """None if a price is not known."""
    response_model: str | None = None
    finish: str | None = None
    is_cancelled: bool = False
    """The client went away before the end."""
    started: float = 0.0
    upstream_seconds: float = 0.0
    """Time spent waiting for the upstream; the rest is our overhead."""
    first_byte: float | None = None
    ended: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    chunks: int = 0
    events: int = 0
    """Of a stream that was sent."""
    dropped: tuple[str, ...] = ()
    fallback: str = ""
    """Kind of the failure after which another route took over, "" if none did."""
    is_over_budget: bool = False
    """It was given up because the failures of a deployment had caused too many attempts already."""
    is_batched: bool = False
    """A provider's batch API has answered it, at half the price."""
    limit: str = ""
    """Which kind of limit has refused it, "" if none did."""
    limit_of: str = ""
    """Whose limit that is: `key:ID`, `project:ID` or `team:ID`."""
