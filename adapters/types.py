"""The values that cross the border between the gateway and an adapter, and the two protocols an adapter fulfils.

Contract of every adapter:

* `request` may be called several times for one call and gives equal bytes each time.
* Only `Unsupported`, `Malformed` and `UpstreamSaid` (adapters.errors) may escape; anything else is a bug.
  A stream's trouble is not raised but kept in `StreamDecoder.failure`: frames that came in the same packet
  before it must not be lost, or the output would depend on how the network cut the input.
* Every buffer has a cap.
* `StreamDecoder.feed` gives the same concatenation for every way of cutting the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

from msgspec import Raw, Struct, field

from adapters.failures import Failure, FailureRule
from adapters.fidelity import Table
from adapters.options import NO_OPTIONS, Options
from adapters.rules import NO_RULES, ParamRules

Headers = tuple[tuple[str, str], ...]
"""Ordered name/value pairs; names in lower case."""

JSON_HEADERS: Final[Headers] = (("content-type", "application/json"),)
"""Of every request that has a body."""

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Cap of one server-sent event and of every other buffer that an upstream fills."""


class Operation(StrEnum):
    """What the client asked for."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    MODELS = "models"


WRITING: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
"""What writes text, which is what nearly all models do."""


class Call(Struct, frozen=True):
    """The client's request, parsed once and never changed."""

    operation: Operation
    body: bytes
    """As received."""
    fields: Mapping[str, Raw]
    """Top level of the body only; values are undecoded JSON."""
    model: str
    """The public name the client asked for."""
    stream: bool = False
    wants_usage: bool = False
    """The client itself asked for `stream_options.include_usage`."""
    id: str = ""
    """`chatcmpl-...`, made by the edge, for replies whose protocol has no id."""
    created: int = 0
    """Unix seconds, from the edge."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an adapter may know about a deployment. Holds no secret."""

    model: str
    """The upstream's own model id."""
    base_url: str
    """Without a trailing slash; the paths are appended to it."""
    paths: Mapping[Operation, str]
    """Operation -> path appended to `base_url`, or an absolute URL where the upstream has another root for it."""
    headers: Headers = ()
    """Static, non-secret headers of the provider row."""
    rules: ParamRules = NO_RULES
    failure_rules: tuple[FailureRule, ...] = ()
    options: Options = NO_OPTIONS
    has_credential: bool = True
    """Whether the request will be authenticated at all."""

    def url(self, operation: Operation) -> str:
        """Returns where an operation is called."""
        path = self.paths[operation]
        return path if "://" in path else self.base_url + path


class HttpRequest(Struct, frozen=True):
    """One upstream HTTP request, before a credential is put on it."""

    method: str
    url: str
    headers: Headers
    body: bytes = b""
    dropped: tuple[str, ...] = ()
    """Names of request fields that the upstream will not see although the client sent them."""


class Head(Struct, frozen=True):
    """Status line and headers of an upstream response; names in lower case, repeated ones joined with `, `."""

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class Usage(Struct, frozen=True):
    """Token counts of one reply, OpenAI's way: `prompt` includes cached, `completion` includes reasoning."""

    prompt: int = 0
    completion: int = 0
    cached_prompt: int = 0
    cache_write: int = 0
    reasoning: int = 0
    estimated: bool = False
    cache_write_1h: int = 0
    """The part of `cache_write` that is kept for an hour, where that costs more."""
    billed: tuple[int, int] | None = None
    """Input and output that are charged for, where the provider says that these are others than it has counted."""
    calls: int = 1
    """How many calls these are the counts of: prices may depend on how long the prompt of each one was."""


class Reply(Struct, frozen=True):
    """A whole, checked, successful answer in OpenAI's shape."""

    body: bytes
    usage: Usage | None = None
    model: str | None = None
    finish: str | None = None


class StreamDecoder(Protocol):
    """Turns the bytes of one upstream stream into OpenAI SSE frames; one per attempt. It never raises."""

    usage: Usage | None
    model: str | None
    finish: str | None
    has_content: bool
    """True once a frame was returned that a client would miss: text, tool call, reasoning, refusal or a finish."""
    is_done: bool
    """True once the protocol's own end was seen; everything after it is ignored."""
    failure: Failure | None
    """Set when the upstream reported an error, broke its protocol or ended too early; nothing follows it."""

    def feed(self, data: bytes) -> bytes:
        """Returns the frames that `data` completes, up to a failure; `data` itself where nothing had to change."""
        ...

    def close(self) -> bytes:
        """Returns the last frames at the upstream's end of file, or sets `failure` if that came too early."""
        ...


class Adapter(Protocol):
    """Speaks one protocol."""

    protocol: ClassVar[str]
    operations: ClassVar[frozenset[Operation]]
    paths: ClassVar[Mapping[Operation, str]]
    """The protocol's own paths below the base URL; a row may name others. Absent where a path holds the model."""
    fidelity: ClassVar[Mapping[Operation, Table]]
    """What becomes of each field of a request; operations that are relayed as they came are absent."""

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns the calls that this one must be split into, `(call,)` if the upstream can do it in one.

        A chat with `n` choices becomes `n` chats, a list of inputs one call each, where the protocol knows no other
        way; adapters/parts.py splits and joins. Raises `Unsupported` for more parts than are reasonable.
        """
        ...

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises `Unsupported` naming the field that cannot be expressed."""
        ...

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises `Malformed`, or `UpstreamSaid` for an error under status 200."""
        ...

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        ...

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        ...


class Prelude(Protocol):
    """What an account has to be asked before its first request, and how requests say what it answered."""

    option: ClassVar[str]
    """The option of a row that says it, so that nobody has to ask."""
    remedy: ClassVar[str]
    """What else to do where the account does not know it either."""

    def question(self, base_url: str, headers: Headers) -> HttpRequest:
        """Returns the request that asks; `headers` are those of the provider's row."""
        ...

    def answer(self, body: bytes) -> str:
        """Returns what the account says; raises `Malformed` where that is nothing, with its reasons."""
        ...

    def completed(self, request: HttpRequest, answer: str) -> HttpRequest:
        """Returns a request of the adapter that says so."""
        ...
