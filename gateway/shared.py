"""What one runtime hands on to the next: things that may serve several at once, and close when the last lets go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from gateway.access.picture import KeyPicture
from gateway.access.secrets import Pepper
from gateway.access.spending import Spending
from gateway.books import Books
from gateway.errors import ConfigError, Fault
from gateway.settings.model import Settings, StateSettings, UpstreamSettings
from gateway.state.admission import Admissions, Kind
from gateway.state.base import Apply, CoolDown, State
from gateway.state.factory import open_admissions, open_state
from gateway.storage.base import wall_ms
from gateway.storage.factory import DATA_VARIABLE, DATABASE_FILE, data_directory, open_storage
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.writer import open_sink
from gateway.transport.base import Transport
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.control import ControlClient
from gateway.transport.stock import StockTransport

if TYPE_CHECKING:
    from gateway.storage.base import Storage

_PEPPER_FILE: Final = "pepper"
_OF_TRANSPORT: Final = ("transport", "max_connections")
"""What of `upstream` a transport is made with."""

Thing = TypeVar("Thing")


class Counted(Generic[Thing]):
    """A thing with the number of runtimes that use it; whoever makes one uses it."""

    __slots__ = ("_close", "_users", "thing")

    def __init__(self, thing: Thing, close: Callable[[], Awaitable[None]]) -> None:
        self.thing = thing
        self._close = close
        self._users = 1

    def take(self) -> None:
        """Counts one more user."""
        self._users += 1

    async def release(self) -> None:
        """Counts one user less; the last one closes it."""
        self._users -= 1
        if not self._users:
            await self._close()


class Line:
    """The line to other replicas: what they tell is heard by the runtime that is in use."""

    def __init__(self, url: str, state: State) -> None:
        self.url = url
        self.state = state
        self.listener: Apply | None = None
        self._is_started = False
        state.subscribe(self._hear)

    async def start(self) -> None:
        """Begins to tell and hear, at the first call."""
        if not self._is_started:
            self._is_started = True
            await self.state.start()

    def _hear(self, told: CoolDown) -> None:
        if self.listener is not None:
            self.listener(told)


class Ear:
    """One runtime's end of the line (what `News` needs of a `State`): it hears from `listen` on."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._apply: Apply | None = None

    def publish(self, cool_down: CoolDown) -> None:
        """Tells the other replicas."""
        self._line.state.publish(cool_down)

    def subscribe(self, apply: Apply) -> None:
        """Notes who is to hear."""
        self._apply = apply

    def listen(self) -> None:
        """Hears from now on, in place of the runtime before."""
        self._line.listener = self._apply


class Stored:
    """What must not be lost: storage, which is opened when it is first wanted, and the picture of who may call."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.directory = data_directory(settings.storage.directory, environ)
        self.pepper = settings.access.pepper
        self.picture = KeyPicture(
            lambda: self.storage,
            Pepper(self.pepper, self.directory / _PEPPER_FILE),
            clock=time.monotonic,
            now_ms=wall_ms,
            coming=lambda owners: self.spending.foresee(owners),
            is_absent=self.is_absent,
        )
        self.spending = Spending(lambda: self.storage, self.picture.budgeted, now_ms=self.picture.now_ms)
        """What owners of budgets have spent, as the ledger has it."""
        self._settings = settings.storage
        self._storage: Storage | None = None

    def is_absent(self) -> bool:
        """Says whether it is certain that nothing was ever stored: then storage need not be opened to be read."""
        return self._settings.url is None and not _may_exist(self.directory / DATABASE_FILE)

    @property
    def storage(self) -> Storage:
        """The storage of this process; raises ConfigError."""
        if self._storage is None:
            settings = self._settings
            self._storage = open_storage(
                settings.url.reveal() if settings.url else None,
                self.directory,
                retention_days=settings.retention_days,
                content_days=settings.content_days,
                aggregates_days=settings.aggregates_days,
            )
        return self._storage

    async def aclose(self) -> None:
        """Ends the tasks that read, and drops all connections."""
        await self.spending.aclose()
        await self.picture.aclose()
        if self._storage is not None:
            await self._storage.aclose()


@dataclass(frozen=True, slots=True)
class Shared:
    """Counters, records and connections, as one runtime uses them."""

    upstream: UpstreamSettings
    state: StateSettings
    transport: Counted[Transport]
    control: Counted[ControlClient]
    line: Counted[Line]
    admissions: Counted[Admissions]
    """Who counts what owners use."""
    access_log: Counted[AccessLog | None]
    stored: Counted[Stored]
    books: Counted[Books]
    metrics: Metrics

    def take(self, before: Shared) -> None:
        """Counts this user, too, of what it has in common with `before`."""
        common = set(map(id, before._counted()))
        for each in self._counted():
            if id(each) in common:
                each.take()

    async def release(self) -> None:
        """Closes what nobody else uses."""
        for each in self._counted():
            await each.release()

    def _counted(self) -> Sequence[Counted[Any]]:
        return (self.line, self.admissions, self.transport, self.control, self.access_log, self.books, self.stored)


def shared_after(before: Shared | None, settings: Settings, environ: Mapping[str, str]) -> Shared:
    """Returns what `settings` ask for, of `before` whatever they leave as it is; raises ConfigError."""
    upstream, state, url = settings.upstream, settings.state, settings.state.url.reveal()
    if before is None:
        access_log = _access_log(settings.server.access_log)
        metrics = Metrics(access_records_dropped=lambda: access_log.thing.dropped if access_log.thing else 0)
        stored = Stored(settings, environ)
        return Shared(
            upstream,
            state,
            _transport(upstream),
            _control(),
            _line(url),
            _admissions(state),
            access_log,
            Counted(stored, stored.aclose),
            _books(settings, environ, stored),
            metrics,
        )
    is_same = all(getattr(upstream, name) == getattr(before.upstream, name) for name in _OF_TRANSPORT)
    return replace(
        before,
        upstream=upstream,
        state=state,
        transport=before.transport if is_same else _transport(upstream),
        line=before.line if url == before.line.thing.url else _line(url),
        admissions=before.admissions if state == before.state else _admissions(state),
    )


def _access_log(target: str) -> Counted[AccessLog | None]:
    async def close() -> None:
        if log is not None:
            log.close()

    try:
        log = None if target == "off" else AccessLog(open_sink(target))
    except OSError as error:
        message = f"{target} cannot be written: {error.strerror}"
        raise ConfigError([Fault("anyport.yaml", 0, 0, "server.access_log", message)]) from None
    return Counted(log, close)


def _books(settings: Settings, environ: Mapping[str, str], stored: Stored) -> Counted[Books]:
    said = settings.storage
    is_place_chosen = bool(said.directory or said.url or environ.get(DATA_VARIABLE))
    books = Books(
        said, stored.directory, lambda: stored.storage, is_absent=stored.is_absent, is_place_chosen=is_place_chosen
    )
    return Counted(books, books.aclose)


def _transport(upstream: UpstreamSettings) -> Counted[Transport]:
    kind = StockTransport if upstream.transport == "httpx" else BuiltinTransport
    transport = kind(max_connections=upstream.max_connections)
    return Counted[Transport](transport, transport.aclose)


def _control() -> Counted[ControlClient]:
    client = ControlClient()
    return Counted(client, client.aclose)


def _line(url: str) -> Counted[Line]:
    line = Line(url, open_state(url))
    return Counted(line, line.state.aclose)


def _admissions(state: StateSettings) -> Counted[Admissions]:
    closed: list[Kind] = []
    if state.limits_while_away == "refuse":
        closed += (Kind.REQUESTS, Kind.TOKENS, Kind.IN_FLIGHT)
    if state.budgets_while_away == "refuse":
        closed.append(Kind.BUDGET)
    admissions = open_admissions(state.url.reveal(), closed=closed)
    return Counted[Admissions](admissions, admissions.aclose)


def _may_exist(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True
