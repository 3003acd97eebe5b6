"""Virtual keys in memory: who passes, who does not, and what happens while storage is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.access import looks
from gateway.access.keys import ANONYMOUS, Caller, KeyCheck
from gateway.access.picture import TRUST_SECONDS, KeyPicture
from gateway.access.secrets import PREFIX, Pepper, PepperMissing, digest_of, hint_of, new_key
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.records import Project, Team, VirtualKey
from gateway.secret import Secret
from gateway.storage.base import Owners, StorageUnavailable

PEPPER = Pepper(Secret("pepper-canary-0123456789"), Path("nowhere"))
KEY = new_key()
OTHER = new_key()
TEAM = Team("team_1", "search")
PROJECT = Project("project_1", "crawler", team_id=TEAM.id)


def digest(key: Secret) -> bytes:
    return digest_of(key.reveal().encode(), PEPPER.read())


VIRTUAL = VirtualKey("key_1", "crawler-1", digest(KEY), project_id=PROJECT.id, tags=("gold",))


class Shelf:
    """Storage of a few owners, which may be away."""

    def __init__(self, *keys: VirtualKey) -> None:
        self.version = 1
        self.new = Owners(1, is_whole=True, keys=keys, teams=(TEAM,), projects=(PROJECT,))
        self.asked: list[int] = []
        self.error: Exception | None = None

    async def upgrade(self) -> None:
        if self.error is not None:
            raise self.error

    async def owners(self, since_version: int) -> Owners:
        if self.error is not None:
            raise self.error
        self.asked.append(since_version)
        return self.new if since_version < self.new.version else Owners(self.new.version, is_whole=False)

    def change(self, key: VirtualKey) -> None:
        self.new = Owners(self.new.version + 1, is_whole=False, keys=(key,))


class Scene:
    def __init__(self, *keys: VirtualKey, pepper: Pepper = PEPPER, is_absent: bool = False) -> None:
        self.shelf = Shelf(*keys)
        self.coming: list[tuple[str, str]] = []
        """Who was said to come, and what the key `KEY` was called at that moment."""
        self.seconds = 0.0
        self.picture = KeyPicture(
            lambda: self.shelf,
            pepper,
            clock=lambda: self.seconds,
            now_ms=lambda: int(self.seconds * 1000),
            is_absent=lambda: is_absent,
            coming=self.come,
        )
        self.check = KeyCheck([], self.picture)

    async def come(self, owners: Sequence[VirtualKey | Project | Team]) -> None:
        await asyncio.sleep(0)
        found = self.picture.find(KEY.reveal().encode())
        self.coming += [(each.name, found.key.name if found else "") for each in owners]

    def ask(self, key: Secret | str | None) -> Caller:
        text = key.reveal() if isinstance(key, Secret) else key
        return self.check.check({} if text is None else {b"authorization": b"Bearer " + text.encode()})

    def refusal(self, key: Secret | str | None) -> tuple[int, str | None]:
        with pytest.raises(GatewayError) as refused:
            self.ask(key)
        assert KEY.reveal() not in refused.value.message
        return refused.value.status, refused.value.code


async def test_a_key_is_known_with_its_project_and_the_team_of_that() -> None:
    scene = Scene(VIRTUAL)
    await scene.picture.refresh()
    caller = scene.ask(KEY)
    assert (caller.key, caller.project, caller.team) == (VIRTUAL, PROJECT, TEAM)
    assert (caller.id, caller.name, caller.tags) == ("key_1", "crawler-1", {"gold"})


async def test_what_is_new_is_told_before_it_counts() -> None:
    scene = Scene(VIRTUAL)
    await scene.picture.refresh()
    scene.shelf.change(replace(VIRTUAL, name="renamed"))
    await scene.picture.refresh()
    await scene.picture.refresh()
    assert scene.coming == [("crawler-1", ""), ("crawler", ""), ("search", ""), ("renamed", "crawler-1")]
    assert scene.ask(KEY).name == "renamed"


async def test_unknown_keys_are_refused_without_asking_storage() -> None:
    scene = Scene(VIRTUAL)
    await scene.picture.refresh()
    for key in (OTHER, "sk-anyport-", "sk-else", None, KEY.reveal()[:-1]):
        assert scene.refusal(key) == (401, "invalid_api_key")
    assert scene.shelf.asked == [0]


async def test_keys_that_ended_say_so() -> None:
    scene = Scene(replace(VIRTUAL, expires_at_ms=5_000))
    await scene.picture.refresh()
    scene.seconds = 4.999
    assert scene.ask(KEY).id == "key_1"
    scene.seconds = 5
    assert scene.refusal(KEY) == (401, "key_expired")
    scene.shelf.change(replace(VIRTUAL, disabled_at_ms=1))
    await scene.picture.refresh()
    assert scene.refusal(KEY) == (401, "key_revoked")


async def test_a_rotated_key_works_until_its_time_is_over() -> None:
    scene = Scene(VIRTUAL)
    await scene.picture.refresh()
    scene.shelf.change(replace(VIRTUAL, digest=digest(OTHER), former_digest=digest(KEY), former_until_ms=9_000))
    await scene.picture.refresh()
    assert scene.ask(KEY).id == scene.ask(OTHER).id == "key_1"
    scene.seconds = 9
    assert scene.refusal(KEY) == (401, "key_revoked")
    assert scene.ask(OTHER).id == "key_1"
    third = new_key()
    scene.shelf.change(replace(VIRTUAL, digest=digest(third)))
    await scene.picture.refresh()
    assert scene.refusal(OTHER) == (401, "invalid_api_key")


async def test_the_log_tells_when_storage_goes_away_and_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene(VIRTUAL)
    for error in (None, StorageUnavailable("gone"), StorageUnavailable("gone"), None, None):
        scene.shelf.error = error
        await scene.picture.refresh()
    assert [record.message for record in caplog.records] == [
        "virtual keys cannot be read: gone",
        "virtual keys can be read again",
    ]


async def test_while_storage_is_away_known_keys_go_on_for_an_hour_and_others_are_told_to_wait() -> None:
    scene = Scene(VIRTUAL)
    await scene.picture.refresh()
    scene.shelf.error = StorageUnavailable("gone")
    await scene.picture.refresh()
    scene.seconds = TRUST_SECONDS
    assert scene.ask(KEY).id == "key_1"
    assert scene.refusal(OTHER) == (503, "keys_unavailable")
    scene.seconds += 1
    assert scene.refusal(KEY) == (503, "keys_unavailable")
    scene.shelf.error = None
    await scene.picture.refresh()
    assert scene.ask(KEY).id == "key_1"
    assert scene.refusal(OTHER) == (401, "invalid_api_key")


async def test_nobody_gets_in_before_it_is_known_whether_there_are_keys() -> None:
    scene = Scene()
    for key in (KEY, "sk-else", None):
        assert scene.refusal(key) == (503, "keys_unavailable")
    assert not scene.check.is_open
    await scene.picture.refresh()
    assert scene.check.is_open
    assert scene.ask(None) is ANONYMOUS


async def test_the_first_key_closes_the_gateway_and_disabling_it_does_not_open_it() -> None:
    scene = Scene()
    await scene.picture.refresh()
    scene.shelf.change(replace(VIRTUAL, disabled_at_ms=1))
    await scene.picture.refresh()
    assert not scene.check.is_open
    assert scene.refusal(None) == (401, "invalid_api_key")


async def test_without_a_place_for_storage_there_are_no_keys() -> None:
    error = ConfigError([Fault("anyport.yaml", 0, 0, "storage.directory", "cannot be written")])
    for is_absent in (True, False):
        scene = Scene(is_absent=is_absent)
        scene.shelf.error = error
        await scene.picture.refresh()
        assert scene.check.is_open == is_absent


async def test_an_upgrade_that_takes_long_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "READ_SECONDS", 0.05)
    scene, begun, may_end = Scene(VIRTUAL), 0, asyncio.Event()

    async def upgrade() -> None:
        nonlocal begun
        begun += 1
        await may_end.wait()

    monkeypatch.setattr(scene.shelf, "upgrade", upgrade)
    for _ in range(2):
        await scene.picture.refresh()
        assert scene.refusal(KEY) == (503, "keys_unavailable")
    may_end.set()
    await scene.picture.refresh()
    assert (scene.ask(KEY).id, begun) == ("key_1", 1)
    await scene.picture.aclose()


async def test_keys_without_their_pepper_are_not_unknown_but_unavailable(tmp_path: Path) -> None:
    scene = Scene(VIRTUAL, pepper=Pepper(None, tmp_path / "pepper"))
    await scene.picture.refresh()
    assert "access.pepper" in scene.picture.trouble
    assert scene.refusal(KEY) == (503, "keys_unavailable")
    (tmp_path / "pepper").write_bytes(PEPPER.read())
    await scene.picture.refresh()
    assert scene.ask(KEY).id == "key_1"


async def test_keys_of_the_file_work_whatever_storage_does() -> None:
    scene = Scene(VIRTUAL)
    check = KeyCheck([(Secret("sk-file"), ANONYMOUS)], scene.picture)
    assert check.check({b"x-api-key": b"sk-file"}) is ANONYMOUS
    for key, expected in ((b"sk-else", 401), (KEY.reveal().encode(), 503)):
        with pytest.raises(GatewayError) as refused:
            check.check({b"x-api-key": key})
        assert refused.value.status == expected


@pytest.mark.parametrize(
    ("routes", "model", "expected"),
    [
        ((), "any", True),
        (("fast",), "fast", True),
        (("fast",), "faster", False),
        (("openai/*",), "openai/gpt", True),
        (("openai/*",), "open", False),
        (("fast", "*"), "any", True),
    ],
)
def test_a_key_is_for_its_routes(routes: tuple[str, ...], model: str, expected: bool) -> None:
    assert Caller("k", key=replace(VIRTUAL, routes=routes)).may_use(model) is expected


def test_keys_cannot_be_guessed_and_look_like_ours() -> None:
    made = {new_key().reveal() for _ in range(1000)}
    assert len(made) == 1000
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in made)
    assert hint_of(KEY) == KEY.reveal()[:15]


def test_the_pepper_is_made_once_and_read_by_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "below" / "pepper"
    with pytest.raises(PepperMissing, match=r"access\.pepper"):
        Pepper(None, path).read()
    made = Pepper(None, path).make()
    assert Pepper(None, path).make() == Pepper(None, path).read() == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["pepper"]
