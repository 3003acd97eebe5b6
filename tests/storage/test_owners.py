"""What every storage keeps of keys, teams and projects, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.records import Budget, Limits, Project, Team, Window
from gateway.storage.base import (
    AuditEntry,
    ChangedMeanwhile,
    NameTaken,
    OwnersQuery,
    Storage,
    StorageRefused,
)
from tests.storage.values import HARSH, START_MS, key, opened


async def test_owners_come_back_as_they_were(storage: Storage) -> None:
    limits = Limits(requests_per_minute=5, tokens_per_minute=6, max_in_flight=7)
    budgets = (Budget(10**15, Window.MONTH), Budget(5))
    team, project = Team("t1", "Team", limits, budgets), Project("p1", "Project", "t1", limits, budgets)
    made = key(
        team_id="t1",
        project_id="p1",
        tags=("gold",),
        routes=("gpt-*",),
        limits=limits,
        budgets=budgets,
        created_at_ms=START_MS,
        expires_at_ms=START_MS + 1,
        disabled_at_ms=START_MS + 2,
        former_digest=b"\0\xff" * 16,
        former_until_ms=START_MS + 3,
    )
    await storage.put_team(team)
    await storage.put_project(project)
    await storage.put_key(made)
    assert (await storage.team("t1"), await storage.project("p1"), await storage.key("k1")) == (team, project, made)
    assert (await storage.team("p1"), await storage.project("k1"), await storage.key("t1")) == (None, None, None)


async def test_changes_are_told_by_version(storage: Storage) -> None:
    assert await storage.owners(0) == replace(await storage.owners(0), version=0, keys=())
    first = await storage.put_key(key("k1"))
    second = await storage.put_team(Team("t1", "Team"))
    assert second == first + 1
    changed = await storage.owners(first)
    assert (changed.version, changed.is_whole, changed.keys, changed.teams) == (
        second,
        False,
        (),
        (Team("t1", "Team"),),
    )
    third = await storage.put_key(key("k1", disabled_at_ms=5))
    changed = await storage.owners(second)
    assert [each.disabled_at_ms for each in changed.keys] == [5]
    assert (await storage.owners(third)).keys == ()
    everything = await storage.owners(0)
    assert (everything.is_whole, len(everything.keys), len(everything.teams)) == (True, 1, 1)


async def test_a_version_that_never_was_is_told_everything(storage: Storage) -> None:
    await storage.put_key(key("k1"))
    told = await storage.owners(1000)
    assert (told.version, told.is_whole, [each.id for each in told.keys]) == (1, True, ["k1"])


async def test_no_change_is_missed_by_who_asks_while_others_write(url: str, storage: Storage) -> None:
    seen: dict[str, str] = {}

    async def follow() -> None:
        version = 0
        while len(seen) < 60 or set(seen.values()) != {"again"}:
            changed = await storage.owners(version)
            version = changed.version
            seen.update({each.id: each.name for each in changed.keys})

    async def write(other: Storage, ids: list[str]) -> None:
        for name in ("first", "again"):
            for id in ids:
                await other.put_key(key(id, name=name))

    async with opened(url) as other, opened(url) as third, asyncio.timeout(60):
        await asyncio.gather(
            follow(),
            write(other, [f"a{number}" for number in range(30)]),
            write(third, [f"b{number}" for number in range(30)]),
        )
        assert (await storage.owners(0)).version == 120


async def test_two_keys_are_never_the_same(storage: Storage) -> None:
    await storage.put_key(key("k1"))
    version = (await storage.owners(0)).version
    with pytest.raises(StorageRefused, match="key 'k2' is the same as one that is there"):
        await storage.put_key(key("k2", digest=key("k1").digest))
    assert (await storage.owners(0)).version == version
    assert await storage.key("k2") is None


@pytest.mark.parametrize("id", ["", "x" * 513, "a\0b"])
async def test_an_owner_has_an_id_that_can_be_kept(storage: Storage, id: str) -> None:
    with pytest.raises(StorageRefused, match="an id must have up to 512 characters"):
        await storage.put_team(Team(id, "Team"))


async def test_what_others_belong_to_is_not_forgotten(storage: Storage) -> None:
    await storage.put_team(Team("t1", "Team"))
    await storage.put_project(Project("p1", "Project", "t1"))
    await storage.put_key(key("k1", project_id="p1"))
    with pytest.raises(StorageRefused, match="'t1' cannot be deleted: project 'p1', maybe others too, belongs to it"):
        await storage.remove_team("t1")
    with pytest.raises(StorageRefused, match="'p1' cannot be deleted: key 'k1'"):
        await storage.remove_project("p1")
    assert await storage.team("t1") is not None
    await storage.put_key(key("k1"))
    await storage.remove_project("p1")
    entry = AuditEntry(START_MS, "admin API", "team.delete", "team:t1")
    await storage.remove_team("t1", entry)
    assert (await storage.team("t1"), await storage.project("p1")) == (None, None)
    assert [row.entry for row in await storage.audits()] == [entry]
    await storage.remove_team("t1")


async def test_what_was_changed_meanwhile_is_not_changed_back(url: str, storage: Storage) -> None:
    first = key("k1")
    await storage.put_key(first)
    disabled = replace(first, disabled_at_ms=5)
    await storage.put_key(disabled, before=first)
    entry = AuditEntry(START_MS, "admin API", "key.change", "key:k1")
    with pytest.raises(ChangedMeanwhile):
        await storage.put_key(replace(first, name="other"), entry, first)
    with pytest.raises(ChangedMeanwhile):
        await storage.put_team(Team("t1", "Team"), entry, Team("t1", "Team"))
    assert (await storage.key("k1"), await storage.team("t1"), await storage.audits()) == (disabled, None, [])
    async with opened(url) as other, asyncio.timeout(60):
        for number in range(20):
            before = await storage.key("k1")
            changes = [replace(disabled, name=f"{name}{number}") for name in "ab"]
            done = await asyncio.gather(
                storage.put_key(changes[0], before=before),
                other.put_key(changes[1], before=before),
                return_exceptions=True,
            )
            assert [isinstance(each, ChangedMeanwhile) for each in done].count(True) == 1


@pytest.mark.parametrize("kind", [Team, Project])
async def test_no_two_teams_and_no_two_projects_are_called_the_same(
    url: str, storage: Storage, kind: type[Team | Project]
) -> None:
    def put(storage: Storage, id: str, name: str) -> Coroutine[Any, Any, int]:
        return storage.put_team(Team(id, name)) if kind is Team else storage.put_project(Project(id, name))

    await put(storage, "a", "search")
    await put(storage, "b", "other")
    version = (await storage.owners(0)).version
    for id in ("b", "c"):
        with pytest.raises(NameTaken, match=r"another (team|project), 'a', is called 'search'"):
            await put(storage, id, "search")
    assert (await storage.owners(0)).version == version
    await put(storage, "a", "search")
    await put(storage, "b", "Search")
    await put(storage, "a", "former")
    await put(storage, "b", "search")
    async with opened(url) as second, asyncio.timeout(60):
        for number in range(10):
            done = await asyncio.gather(
                put(storage, f"x{number}", f"n{number}"),
                put(second, f"y{number}", f"n{number}"),
                return_exceptions=True,
            )
            assert [isinstance(each, NameTaken) for each in done].count(True) == 1


async def test_nothing_belongs_to_what_is_not_there(url: str, storage: Storage) -> None:
    for owner in (key("k1", team_id="t1"), key("k1", project_id="p1")):
        with pytest.raises(StorageRefused, match="there is no"):
            await storage.put_key(owner)
    with pytest.raises(StorageRefused, match="team_id: there is no 't1'"):
        await storage.put_project(Project("p1", "Project", "t1"))
    async with opened(url) as other, asyncio.timeout(60):
        for number in range(20):
            await storage.put_team(Team("t1", "Team"))
            made = key(f"k{number}", team_id="t1")
            put, removed = await asyncio.gather(storage.put_key(made), other.remove_team("t1"), return_exceptions=True)
            assert isinstance(put, StorageRefused) is not isinstance(removed, StorageRefused)
            await storage.put_key(replace(made, team_id=""))


async def test_keys_come_in_pages_in_the_order_of_their_ids(storage: Storage) -> None:
    for number in range(2):
        await storage.put_team(Team(f"t{number}", f"Team {number}"))
    for number in range(25):
        await storage.put_key(key(f"k{number:02}", team_id=f"t{number % 2}"))
    seen: list[str] = []
    query = OwnersQuery(limit=4, team_id="t1")
    while page := await storage.keys(query):
        seen += [each.id for each in page]
        query = replace(query, after=page[-1].id)
    assert seen == [f"k{number:02}" for number in range(1, 25, 2)]


async def test_names_are_found_by_how_they_begin_and_nothing_else_means_anything(storage: Storage) -> None:
    names = [*HARSH, "Production", "PRODUCTION 2", "Straße", "x%", "x_"]
    for number, name in enumerate(names):
        await storage.put_key(key(f"k{number:02}", name=name))
        await storage.put_team(Team(f"t{number:02}", name))
        await storage.put_project(Project(f"p{number:02}", name))
    for search in (storage.keys, storage.teams, storage.projects):
        assert [each.name for each in await search(OwnersQuery(prefix="prod"))] == ["Production", "PRODUCTION 2"]
        assert [each.name for each in await search(OwnersQuery(prefix="STRASSE"))] == ["Straße"]
        assert [each.name for each in await search(OwnersQuery(prefix="%"))] == ["%_\\"]
        assert await search(OwnersQuery(prefix="_")) == []
        assert await search(OwnersQuery(prefix="duction")) == []
        for name in HARSH:
            assert [each.name for each in await search(OwnersQuery(prefix=name))] == [name]
    with pytest.raises(ValueError, match="at most 200 characters"):
        OwnersQuery(prefix="%" * 201)
