"""What is told of a request that was not made. Everything here may be shown: it holds no secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class RestingKey(Struct, frozen=True):
    """A key that is not used now."""

    key: int
    """Counted from 1."""
    seconds: float
    reason: str
    """The kind of failure that it rests after."""
    is_told: bool
    """The provider asked for the pause; else it is our own judgement."""


class Candidate(Struct, frozen=True):
    """One deployment that may be tried, and what speaks for and against it at the beginning."""

    deployment: str
    provider: str
    order: int
    weight: float
    input_usd_per_million: float | None
    output_usd_per_million: float | None
    latency_seconds: float | None
    """The usual time to its first content; None before anything is known."""
    in_flight: int
    context_window: int | None
    keys: int
    obstacle: str = ""
    """Why it is not to be called now: `ejected`, `cooling down`, a limit that is used up."""
    obstacle_seconds: float | None = None
    """For how long that is known to last."""
    resting: Sequence[RestingKey] = ()
    refuses: str = ""
    """Why it is passed over when its turn comes: it cannot take the request as it is."""


class LeftOut(Struct, frozen=True):
    """A deployment of the route that this request does not get."""

    deployment: str
    reason: str


class StageView(Struct, frozen=True):
    """The route that was asked for, or one that takes over from it."""

    route: str
    strategy: str
    after: Sequence[str]
    """The kinds of failure after which it takes over; none for the route that was asked for."""
    candidates: Sequence[Candidate]
    """In the order in which they are tried."""
    left_out: Sequence[LeftOut]


class Step(Struct, frozen=True):
    """One attempt."""

    attempt: int
    """Counted from 0, as in the script."""
    deployment: str
    route: str
    key: int
    keys: int
    at_seconds: float
    """Since the beginning of the request."""
    waited_seconds: float
    """The pause before it."""
    seconds: float
    result: str
    """`ok`, `lost` (another one was faster), or the kind of failure."""
    status: int | None = None
    message: str = ""
    retry_after_seconds: float | None = None
    is_hedge: bool = False
    part: int = 0
    effects: Sequence[str] = ()
    """What it did to keys and deployments."""


class End(Struct, frozen=True):
    """What the client gets."""

    status: int
    deployment: str
    attempts: int
    fallback: str
    """The kind of failure after which another route took over; "" if none did."""
    seconds: float
    code: str | None = None
    type: str | None = None
    param: str | None = None
    message: str = ""
    headers: Mapping[str, str] = {}


class Timeout(Struct, frozen=True):
    """One limit of time, and the setting that it is from."""

    name: str
    seconds: float
    setting: str


class HedgeView(Struct, frozen=True):
    """Whether a second deployment would be asked if the first were slow."""

    share: float
    after_seconds: float | None
    """None while too few times are known."""
    is_paid_for: bool
    """The share allows one more now."""


class MirrorView(Struct, frozen=True):
    """Where a copy would go."""

    to: str
    share: float
    is_copied: bool
    """This request would be one of the share."""


class UpstreamRequest(Struct, frozen=True):
    """The request of the first attempt."""

    deployment: str
    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    """Every credential is `***`."""
    body: Any
    """Decoded JSON; the text itself if it is none."""
    dropped: Sequence[str]
    """Fields of the client's that the provider will not see."""


class Explanation(Struct, frozen=True):
    """What would become of a request."""

    model: str
    kind: str
    """What kind of name it is: `route`, `alias of NAME`, `wildcard PATTERN`, `provider/model`."""
    operation: str
    stream: bool
    seed: int
    needs: Sequence[str]
    """What of `tools`, `images`, `audio`, `json_schema` it uses."""
    prompt_tokens: int
    """Estimated."""
    answer_tokens: int
    """What the client wants at most; 0 if it does not say."""
    stages: Sequence[StageView]
    steps: Sequence[Step]
    end: End
    timeouts: Sequence[Timeout] = ()
    hedge: HedgeView | None = None
    mirror: MirrorView | None = None
    request: UpstreamRequest | None = None
