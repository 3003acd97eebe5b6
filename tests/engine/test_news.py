"""What News makes of events: counts, lines, what other replicas hear, and what theirs do here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from adapters.failures import Failure, FailureKind
from adapters.types import Target
from gateway.credentials.keyring import Key, KeyBook, KeyRing
from gateway.domain import ProviderSpec
from gateway.engine.news import News
from gateway.health.vitals import HealthPolicy, Vitals
from gateway.registry.adapters import ADAPTERS
from gateway.registry.routes import fingerprint_of
from gateway.resilience.consequences import Event, Turn, begin, begin_well, fail
from gateway.routing.deployment import Deployment
from gateway.secret import Secret
from gateway.state.base import Apply, CoolDown
from gateway.telemetry.metrics import Metrics

SECRET = "sk-canary-of-the-news"
SPEC = ProviderSpec("openai", "OpenAI", "openai", "https://api.example/v1")
LIMITED = Failure(FailureKind.RATE_LIMIT, "slow down", status=429, retry_after=30)
UNTOLD = Failure(FailureKind.RATE_LIMIT, "slow down", status=429)
REFUSED = Failure(FailureKind.AUTH, "no such key", status=401)
BROKE = Failure(FailureKind.QUOTA, "no money", status=429)
DOWN = Failure(FailureKind.SERVER, "oops", status=500)
BUSY = Failure(FailureKind.OVERLOADED, "busy", status=503, retry_after=20)
MISSING = Failure(FailureKind.MODEL_MISSING, "what model", status=404)


class Others:
    """The other replicas: remembers what they were told."""

    def __init__(self) -> None:
        self.told: list[CoolDown] = []
        self.say: Apply = lambda cool_down: None
        self.status = "others"

    def publish(self, cool_down: CoolDown) -> None:
        self.told.append(cool_down)

    def subscribe(self, apply: Apply) -> None:
        self.say = apply

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...


class Desk:
    """One gateway's News with one deployment of the file, on a clock that stands."""

    def __init__(
        self, *, secrets: tuple[Secret, ...] = (Secret(SECRET), Secret("sk-other")), vitals: Vitals | None = None
    ) -> None:
        self.now = 1000.0
        self.others = Others()
        self.metrics = Metrics()
        self.metrics.set_names(models=[], deployments=["openai/gpt"])
        self.keys = KeyBook()
        self.ring = KeyRing(SPEC, secrets, model="gpt", state_of=self.keys)
        self.deployment = deployment("openai/gpt", self.ring, vitals=vitals)
        self.of_clients = deployment("openai/what-a-client-made-up", self.ring)
        self.asked: list[Deployment] = []
        owners = {state.fingerprint: "openai" for key in self.ring.keys for state in (key.account, key.state)}
        self.news = News(
            metrics=self.metrics,
            state=self.others,
            keys=self.keys,
            states_of=lambda id: [self.deployment.vitals] if id == fingerprint_of(self.deployment) else [],
            deployments=[self.deployment],
            owners=owners,
            clock=lambda: self.now,
            ejected=self.asked.append,
        )

    @property
    def ejected(self) -> list[str]:
        return [each.id for each in self.asked]

    def fails(self, failure: Failure, key: Key | None = None, at: Deployment | None = None) -> None:
        at = at or self.deployment
        running = begin(at, key or at.key_ring.keys[0], self.now, is_first=True, charged=None)
        self.news.hear(fail(running, failure, self.now))

    def counted(self, family: str) -> list[str]:
        """Returns the lines of one metric."""
        return [line for line in self.metrics.render().decode().splitlines() if line.startswith(f"{family}{{")]


def deployment(
    id: str, ring: KeyRing, base_url: str = "https://api.example/v1", vitals: Vitals | None = None
) -> Deployment:
    target = Target(model="gpt", base_url=base_url, paths={}, has_credential=True)
    vitals = vitals or Vitals(HealthPolicy(consecutive_failures=2))
    return Deployment(id, "openai", target, ADAPTERS["openai"], ring, vitals)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns the lines that an operator sees."""
    caplog.set_level(logging.INFO, logger="anyport")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_pause_that_was_asked_for_is_told_to_the_others_and_counted() -> None:
    desk = Desk()
    desk.fails(LIMITED)
    state = desk.ring.keys[0].state
    assert desk.others.told == [CoolDown("key", state.fingerprint, 30, FailureKind.RATE_LIMIT)]
    assert desk.counted("anyport_cool_downs_total") == [
        'anyport_cool_downs_total{provider="openai",reason="rate_limit",scope="key"} 1.0'
    ]
    assert desk.news.resting().keys == ["openai"]
    desk.now += 31
    assert desk.news.resting().keys == []


def test_a_pause_of_our_own_choice_is_nobody_elses_business() -> None:
    desk = Desk()
    desk.fails(UNTOLD)
    desk.fails(MISSING)
    assert desk.others.told == []


@pytest.mark.parametrize(("failure", "seconds"), [(REFUSED, 600), (BROKE, 3600)])
def test_a_key_that_an_operator_has_to_look_at_is_told_to_the_others(failure: Failure, seconds: float) -> None:
    desk = Desk()
    desk.fails(failure)
    (told,) = desk.others.told
    key = desk.ring.keys[0]
    assert told.id == (key.account if failure is REFUSED else key.state).fingerprint
    assert (told.seconds, told.reason) == (seconds, failure.kind)


def test_a_deployment_that_asks_for_a_pause_is_told_of_by_a_fingerprint() -> None:
    desk = Desk()
    desk.fails(BUSY)
    assert desk.others.told == [CoolDown("deployment", fingerprint_of(desk.deployment), 20, FailureKind.OVERLOADED)]


def test_a_fingerprint_tells_places_apart_but_not_the_secrets_in_them() -> None:
    ring = KeyRing(SPEC)
    plain, other, secret = (
        fingerprint_of(deployment("a/b", ring, url))
        for url in ("https://x.example/v1", "https://y.example/v1", f"https://u:{SECRET}@x.example/v1?key={SECRET}")
    )
    assert plain == secret != other
    assert fingerprint_of(deployment("a/c", ring, "https://x.example/v1")) != plain


def test_what_another_replica_was_told_is_obeyed_exactly_and_not_told_again() -> None:
    desk = Desk()
    first, second = desk.ring.keys
    desk.others.say(CoolDown("key", first.state.fingerprint, 30, FailureKind.RATE_LIMIT))
    assert (first.wait(desk.now), second.wait(desk.now)) == (30, 0)
    assert first.state.is_told and first.state.last_failure is not None
    assert not first.may_knock(desk.now + 10)
    desk.others.say(CoolDown("deployment", fingerprint_of(desk.deployment), 20, FailureKind.OVERLOADED))
    assert desk.deployment.vitals.wait(desk.now) == 20
    assert desk.others.told == []
    assert desk.news.resting().keys == ["openai"]
    assert len(desk.counted("anyport_cool_downs_total")) == 2


def test_what_another_replica_only_thinks_gives_way_where_nothing_else_is_left() -> None:
    desk = Desk()
    key = desk.ring.keys[0]
    desk.others.say(CoolDown("key", key.account.fingerprint, 600, FailureKind.AUTH))
    assert key.wait(desk.now) == 600
    assert key.may_knock(desk.now + 10)


def test_a_key_that_was_not_used_here_yet_rests_when_it_is_first_asked_for() -> None:
    desk = Desk()
    elsewhere = KeyRing(SPEC, desk.ring.secrets, model="other", state_of=KeyBook())
    desk.others.say(CoolDown("key", elsewhere.keys[0].state.fingerprint, 30, FailureKind.RATE_LIMIT))
    here = desk.ring.for_model("other", desk.keys)
    assert [key.wait(desk.now) for key in here.keys] == [30, 0]


@pytest.mark.parametrize("id", ["", "x", "../../etc", "0" * 15, "0" * 17, "0" * 16 + "\n", "G" * 16, "é" * 16])
def test_what_names_no_key_changes_nothing(id: str) -> None:
    desk = Desk()
    desk.others.say(CoolDown("key", id, 30, FailureKind.RATE_LIMIT))
    desk.others.say(CoolDown("deployment", id, 30, FailureKind.RATE_LIMIT))
    assert desk.keys.find(id) is None
    assert desk.news.resting().keys == []
    assert desk.deployment.vitals.wait(desk.now) == 0


def test_a_key_that_is_refused_is_a_warning_with_its_number_and_never_itself(said: Callable[[], list[str]]) -> None:
    desk = Desk()
    desk.fails(REFUSED, desk.ring.keys[1])
    (line,) = said()
    assert line.startswith("openai/gpt: key 2 of 2 is refused (auth) and is put aside for 10 min; ")
    assert "`anyport providers check openai`" in line
    desk.fails(replace(BROKE, message=f"{SECRET} has no money"))
    assert said()[1].startswith("openai/gpt: key 1 of 2 has no money or quota left (quota) and is put aside for 1 h; ")
    assert SECRET not in "".join(said())


def test_a_credential_that_could_not_be_had_is_no_news_of_a_key(said: Callable[[], list[str]]) -> None:
    desk = Desk()
    desk.fails(Failure(FailureKind.AUTH, "no token", code="credential_unavailable", is_unsent=True))
    assert said() == []


def test_rate_limits_are_for_debugging_only(said: Callable[[], list[str]], caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.fails(LIMITED)
    desk.fails(BUSY)
    assert said() == []
    caplog.set_level(logging.DEBUG, logger="anyport")
    desk.fails(LIMITED)
    assert said() == ["openai/gpt: key 1 of 2 rests for 30 s (rate_limit)"]


def test_the_same_line_is_written_once_in_ten_seconds(said: Callable[[], list[str]]) -> None:
    desk = Desk()
    for _ in range(100):
        desk.fails(REFUSED)
        desk.now += 0.09
    assert len(said()) == 1
    desk.fails(REFUSED, desk.ring.keys[1])
    assert len(said()) == 2  # another key is another line
    desk.now += 2
    desk.fails(REFUSED)
    assert len(said()) == 3


def test_a_flood_of_names_that_clients_make_up_is_one_line(said: Callable[[], list[str]]) -> None:
    desk = Desk()
    for number in range(3_000):
        desk.fails(REFUSED, at=deployment(f"openai/{number}", desk.ring))
    assert len(said()) == 1
    assert len(desk.news.resting().keys) <= 1_000


def test_an_ejection_and_its_end_are_told_counted_and_written(said: Callable[[], list[str]]) -> None:
    desk = Desk()
    desk.fails(DOWN)
    assert desk.ejected == said() == []
    desk.fails(DOWN)
    assert desk.ejected == ["openai/gpt"]
    assert desk.news.resting().ejected == [("openai", "openai/gpt")]
    assert said() == ["openai/gpt: it keeps failing (server) and gets no requests for 1 s where others can take them"]
    desk.now += 2
    running = begin(desk.deployment, desk.ring.keys[0], desk.now, is_first=True, charged=None)
    desk.news.hear(begin_well(running, desk.now))
    assert desk.news.resting().ejected == []
    assert said()[1:] == ["openai/gpt: it works again"]
    assert desk.counted("anyport_ejections_total") and desk.counted("anyport_readmissions_total")
    assert desk.others.told == []  # every replica sees for itself


def test_what_is_ejected_is_asked_about_with_the_keys_of_now_once_there_are_others() -> None:
    before = Desk(secrets=(Secret("sk-old"),))
    for _ in range(2):
        before.fails(DOWN)
        before.fails(DOWN, at=before.of_clients)
    now = Desk(secrets=(Secret("sk-new"),), vitals=before.deployment.vitals)
    for secret in before.ring.secrets:
        secret.wipe()  # as a reload does
    now.news.inherit(before.news)
    assert [each.key_ring.secrets for each in now.asked] == [(Secret("sk-new"),)]
    assert len(now.news.resting().ejected) == 2, "what clients have named comes back by itself"


def test_a_model_that_the_provider_does_not_have_is_news_only_if_the_file_names_it(
    said: Callable[[], list[str]],
) -> None:
    desk = Desk()
    desk.fails(MISSING, at=deployment("openai/what-a-client-made-up", desk.ring))
    assert said() == []
    desk.fails(MISSING)
    (line,) = said()
    assert line.startswith("openai/gpt: its provider has no such model; it gets no requests for 5 min")


def test_a_name_of_a_client_cannot_forge_a_line(said: Callable[[], list[str]]) -> None:
    desk = Desk()
    desk.fails(REFUSED, at=deployment("openai/x\nforged: line\x1b[31m" + "y" * 1_000, desk.ring))
    (line,) = said()
    assert line.isprintable() and len(line) < 500


def test_every_event_says_what_rests() -> None:
    desk = Desk()
    running = begin(desk.deployment, desk.ring.keys[0], desk.now, is_first=True, charged=None)
    (event,) = fail(running, REFUSED, desk.now)
    assert event == Event(
        Turn.KEY_COOLED,
        desk.deployment,
        "auth",
        600,
        desk.ring.keys[0],
        needs_attention=True,
        state=desk.ring.keys[0].account,
    )


def test_whoever_follows_hears_what_happens_here_and_what_other_replicas_tell() -> None:
    heard: list[object] = []

    class Follower:
        def hear(self, event: Event) -> None:
            heard.append((event.turn, event.deployment.id))

        def hear_replica(self, told: CoolDown, owner: str, *, is_told: bool) -> None:
            heard.append((told.scope, owner, is_told))

    desk = Desk()
    desk.news.follow(Follower())
    desk.fails(LIMITED)
    desk.others.say(CoolDown("deployment", fingerprint_of(desk.deployment), 5, FailureKind.OVERLOADED))
    desk.others.say(CoolDown("key", desk.ring.keys[1].account.fingerprint, 5, FailureKind.QUOTA))
    assert heard == [
        (Turn.KEY_COOLED, "openai/gpt"),
        ("deployment", "openai", True),
        ("key", "openai", False),
    ]
