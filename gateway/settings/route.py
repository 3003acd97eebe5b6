"""What a user's file says about routes: the deployments of a public name, and the policy among them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field
from pydantic import Tag as Shape

from gateway.settings.provider import SecretText, Strict, shape_of
from gateway.settings.scalars import (
    Count,
    HeaderName,
    ModelName,
    Pause,
    ProviderName,
    RouteName,
    Seconds,
    ServedName,
    Share,
    StickyBy,
    Tag,
    Weight,
)

Strategy = Literal["weighted", "ordered", "round_robin", "least_busy", "lowest_latency", "lowest_cost", "sticky"]
Feature = Literal["tools", "images", "audio", "json_schema"]
Trigger = Literal[
    "failure",
    "any",
    "connect",
    "timeout",
    "server",
    "overloaded",
    "rate_limit",
    "quota",
    "auth",
    "model_missing",
    "malformed",
    "context_length",
    "content_filter",
    "bad_request",
]


class TimeoutSettings(Strict):
    """Where a route or a deployment is waited for otherwise than `upstream` says; each ends one thing only."""

    connect_seconds: Seconds | None = Field(default=None, description="Name look-up, TCP and TLS together.")
    head_seconds: Seconds | None = Field(
        default=None, description="Of a stream: from the last request byte to the end of the response head."
    )
    answer_seconds: Seconds | None = Field(default=None, description="Of an answer in one piece: the same.")
    first_token_seconds: Seconds | None = Field(
        default=None, description="Of a stream: from the beginning of an attempt to its first content."
    )
    between_tokens_seconds: Seconds | None = Field(
        default=None, description="Silence between two pieces of a body, in a stream between two with content."
    )
    total_seconds: Seconds | None = Field(
        default=None, description="Of a route: one request, all of its attempts together. Of a deployment: one attempt."
    )
    min_bytes_per_second: Count | None = Field(
        default=None, description="Slowest pace of a response body, over any 10 seconds spent waiting for it."
    )


class LimitSettings(Strict):
    """What one deployment is given at most; what is over it goes to the others."""

    max_in_flight: Count | None = Field(default=None, description="Attempts at work at once.")
    requests_per_minute: Count | None = Field(default=None, description="Attempts begun, as a bucket that refills.")
    tokens_per_minute: Count | None = Field(
        default=None,
        description="Tokens of requests (estimated) and answers (as reported), as a bucket that refills.",
    )


class PriceSettings(Strict):
    """What a deployment costs: for budgets, the ledger, and the strategy `lowest_cost`."""

    input_usd_per_million: Weight = Field(description="US dollars for a million tokens of input.")
    output_usd_per_million: Weight = Field(description="US dollars for a million tokens of output.")
    cached_input_usd_per_million: Weight | None = Field(
        default=None, description="Those for input that the provider's cache had. Null: what all input costs."
    )
    cache_write_usd_per_million: Weight | None = Field(
        default=None, description="Those for input that goes into the cache. Null: what all input costs."
    )
    cache_write_1h_usd_per_million: Weight | None = Field(
        default=None, description="Those for input that goes into it for an hour. Null: as for the usual time."
    )


class DeploymentSettings(Strict):
    """One concrete model that a route may call."""

    model: ModelName = Field(
        description="The provider's id or alias, a slash, and the provider's own name of the model; "
        "with `provider` beside it, only the provider's own name. In a route whose name has a `*`, "
        "a `*` here stands for what that one stood for.",
        examples=["groq/llama-3.3-70b-versatile"],
    )
    provider: ProviderName | None = Field(
        default=None,
        description="A provider's id or alias, or `custom:URL` for a server that is nowhere described: it is taken "
        "to speak OpenAI's wire below exactly that URL; with `anthropic-custom:URL`, Anthropic's Messages API.",
        examples=["custom:https://llm.example.com/v1"],
    )
    name: Tag | None = Field(
        default=None,
        description="What clients, metrics and errors call this deployment; without it, `provider/model`. "
        "Needed where two deployments of one model differ in keys, limits or timeouts.",
        examples=["groq-eu"],
    )
    keys: list[SecretText] | None = Field(
        default=None,
        min_length=1,
        description="Keys of this deployment's own, used in turn, instead of the provider's.",
        examples=[["${GROQ_KEY_1}", "${GROQ_KEY_2}"]],
    )
    profile: str | None = Field(
        default=None,
        description="One of `providers.ID.profiles`: that account's credentials or login instead of the provider's.",
        examples=["work"],
    )
    weight: Weight = Field(
        default=1,
        description="Share of the first attempts (`weighted`, `sticky`, `round_robin`); "
        "0 gets none, and serves only when others fail.",
    )
    order: int = Field(default=0, description="A deployment with a higher number is tried after those with a lower.")
    tags: list[Tag] = Field(default=[], description="What `rules` pick deployments by.", examples=[["eu"]])
    limits: LimitSettings = Field(default=LimitSettings(), description="What it is given at most.")
    timeouts: TimeoutSettings = Field(default=TimeoutSettings(), description="How long it is waited for.")
    context_window: Count | None = Field(
        default=None,
        description="Tokens that prompt and answer may have together. Known for many models; unknown limits nothing.",
        examples=[128000],
    )
    supports: list[Feature] | None = Field(
        default=None,
        description="What requests may use: `tools`, `images`, `audio`, `json_schema`. "
        "Requests that use something else go to other deployments. Null: everything.",
        examples=[["tools"]],
    )
    price: PriceSettings | None = Field(
        default=None, description="What it costs; known for many models, unknown comes last in `lowest_cost`."
    )

    def __str__(self) -> str:
        """Returns the deployment's name for people."""
        return self.name or (self.model if self.provider is None else f"{self.provider} {self.model}")


class RetrySettings(Strict):
    """How often and how fast is tried again."""

    attempts: Count = Field(default=4, description="Most attempts of one request, fallbacks included.")
    per_deployment: Count = Field(
        default=2,
        description="Most of them at one deployment. After a failure of the key alone another key may follow all the "
        "same.",
    )
    backoff_seconds: Pause = Field(
        default=0.1,
        description="Longest first pause before the same key and deployment is tried again; it doubles, and the pause "
        "is anything between nothing and that. Another key or deployment needs no pause.",
    )
    max_backoff_seconds: Seconds = Field(default=2, description="Where the doubling ends.")
    max_wait_seconds: Pause = Field(
        default=10,
        description="Longest wait for a key or deployment that asked for one, where no other is left; 0 for none.",
    )
    budget: Share = Field(
        default=0.2,
        description="Attempts after a failure that one deployment may cause, as a share of its first attempts in the "
        "last 10 seconds.",
    )
    budget_floor_per_second: Weight = Field(default=3, description="What that share is never less than.")


class FallbackSettings(Strict):
    """One route that takes over, and when."""

    route: ServedName = Field(description="A route, or `provider/model`.", examples=["claude"])
    fallback_on: list[Trigger] | None = Field(
        default=None,
        min_length=1,
        description="After which failures, instead of the route's `fallback_on`.",
        examples=[["context_length"]],
    )


Fallback = Annotated[
    Annotated[ServedName, Shape("text")] | Annotated[FallbackSettings, Shape("mapping")], Discriminator(shape_of)
]


class HedgeSettings(Strict):
    """Whether a second deployment is asked when the first one is slow to begin."""

    after_seconds: Seconds | None = Field(
        default=None,
        description="How slow; null takes the 95th percentile of the route's own times to the first token, "
        "and hedges nothing before 20 of them are known.",
    )
    share: Share = Field(default=0.05, description="Most extra attempts, as a share of the route's requests.")


class MirrorSettings(Strict):
    """A share of the traffic that is also sent elsewhere; that answer is thrown away."""

    to: ServedName = Field(description="A route or `provider/model`.", examples=["my-vllm/llama-3.3-70b"])
    share: Share = Field(default=1, description="Share of the requests.")
    max_in_flight: Count = Field(default=16, description="Copies at work at once; more are left out.")


class MatchSettings(Strict):
    """Which requests a rule is for; all that is given must hold, and of each list one entry."""

    headers: dict[HeaderName, str] = Field(
        default={}, description="Header -> value that it must have; `*` for any.", examples=[{"x-tier": "gold"}]
    )
    keys: list[Tag] = Field(default=[], description="Names of client keys (`server.api_keys`).")
    tags: list[Tag] = Field(
        default=[], description="Tags of the client key, or of the request's header `x-anyport-tags`."
    )


class RuleSettings(Strict):
    """Sends some requests to some of the deployments only."""

    when: MatchSettings = Field(description="Which requests.")
    use: list[Tag] = Field(min_length=1, description="Deployments with one of these tags.")


class RouteSettings(Strict):
    """A public model name: what clients may put into `model` besides `provider/model`."""

    deployments: list[DeploymentSettings] = Field(min_length=1, description="What the route may call.")
    aliases: list[RouteName] = Field(default=[], description="Other public names of the same route.")
    strategy: Strategy = Field(
        default="weighted",
        description="Which deployment is tried first: `weighted` at random by weight, `ordered` as written, "
        "`round_robin` in turn, `least_busy` with the fewest attempts at work, `lowest_latency` the faster of two "
        "by its time to the first token, `lowest_cost` the cheapest, `sticky` the same one for the same `sticky_by`.",
    )
    sticky_by: StickyBy = Field(
        default="prefix",
        description="For `sticky`: `user` (the request's member), `prefix` (the beginning of the conversation, "
        "so that prompt caches keep hitting), or `header:NAME`.",
    )
    rules: list[RuleSettings] = Field(
        default=[], description="Requests that get only some of the deployments; the first rule that fits counts."
    )
    retry: RetrySettings = Field(default=RetrySettings(), description="How often and how fast is tried again.")
    timeouts: TimeoutSettings = Field(default=TimeoutSettings(), description="How long its deployments are waited for.")
    fallbacks: list[Fallback] = Field(
        default=[],
        description="Routes, or `provider/model`, that take over when this one fails, in order.",
        examples=[["claude"]],
    )
    fallback_on: list[Trigger] = Field(
        default=["failure"],
        min_length=1,
        description="After which failures. `failure` is any that is not the request's own fault, and a context that is "
        "too long if the other's window is known to be larger; `any` is any; the others are single kinds.",
    )
    on_bad_request: Literal["next_provider", "stop"] = Field(
        default="next_provider",
        description="Whether a request that one provider calls wrong is tried once at a fallback of another provider.",
    )
    hedge: HedgeSettings | None = Field(
        default=None, description="Asks a second deployment when the first is slow; costs money twice. Null: never."
    )
    mirror: MirrorSettings | None = Field(default=None, description="Copies traffic elsewhere. Null: none.")
    strict: bool = Field(
        default=False,
        description="Refuse a request of which the provider would not see every field, instead of leaving fields out. "
        "Of a single request, the header `x-anyport-strict: true` asks for the same.",
    )
