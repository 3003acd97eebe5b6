"""Where keys, teams and projects are made and changed; every change is in the audit log, or does not happen."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from gateway.access.picture import KeyPicture
from gateway.access.secrets import PepperMissing, digest_of, hint_of, new_key
from gateway.access.wishes import laid_over, whole_number
from gateway.errors import CallerError, InvalidRequest, KeysUnavailable, UnknownUrl
from gateway.records import Project, Team, VirtualKey, dollars
from gateway.secret import Secret
from gateway.storage.base import (
    AuditEntry,
    ChangedMeanwhile,
    NameTaken,
    OwnersQuery,
    Storage,
    StorageRefused,
    StorageUnavailable,
)

MAX_OVERLAP_SECONDS: Final = 90 * 86_400
_TRIES: Final = 20
KINDS: Final[Mapping[str, type[VirtualKey] | type[Project] | type[Team]]] = {
    "key": VirtualKey,
    "project": Project,
    "team": Team,
}
_WORDS: Final = {kind: word for word, kind in KINDS.items()}
_HIDDEN: Final = ("digest", "former_digest", "limits", "budgets")
Owner = VirtualKey | Project | Team
Answer = TypeVar("Answer")


class Desk:
    """Makes and changes owners; raises GatewayError about what cannot be."""

    def __init__(
        self,
        storage: Storage,
        picture: KeyPicture,
        *,
        is_served: Callable[[str], bool],
        actor: str,
        refuse: Callable[[Owner], None] = lambda owner: None,
    ) -> None:
        """`is_served` says whether there is a route of this name; `actor` is who the audit log names.

        `refuse` raises GatewayError about owners that cannot be served.
        """
        self._storage = storage
        self._picture = picture
        self._is_served = is_served
        self._actor = actor
        self._refuse = refuse

    async def create(self, word: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a `key`, `project` or `team`; the answer is the only place where a key itself ever is."""
        if wishes.get("name") is None:
            raise InvalidRequest("name is missing", code="missing_required_parameter", param="name")
        id, now_ms = f"{word}_{secrets.token_hex(8)}", self._picture.now_ms()
        if word != "key":
            owner = laid_over(Project(id, ""), wishes) if word == "project" else laid_over(Team(id, ""), wishes)
            await self._checked(owner)
            await self._put(owner, "create", wishes)
            return described(owner, now_ms)
        plain = VirtualKey(id, "", b"", created_at_ms=now_ms)
        wanted = laid_over(plain, wishes)
        await self._checked(wanted)
        secret, digest = await self._new()
        made = replace(wanted, digest=digest, hint=hint_of(secret))
        await self._put(made, "create", wishes)
        return {**described(made, now_ms), "key": secret.reveal()}

    async def change(self, word: str, id: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Lays fields over an owner."""

        async def lay(before: Any) -> Owner:
            owner: Owner = laid_over(before, wishes)
            await self._checked(owner)
            return owner

        return described(await self._changed(word, id, lay, "change", wishes), self._picture.now_ms())

    async def rotate(self, id: str, overlap_seconds: Any) -> dict[str, Any]:
        """Gives out another key in the place of one, which works on for a while."""
        seconds = whole_number("overlap_seconds", overlap_seconds, MAX_OVERLAP_SECONDS)
        await self._one("key", id)
        now_ms = self._picture.now_ms()
        secret, digest = await self._new()
        until_ms = now_ms + 1000 * seconds

        async def turn(key: VirtualKey) -> VirtualKey:
            hint = hint_of(secret)
            return replace(key, digest=digest, hint=hint, former_digest=key.digest, former_until_ms=until_ms)

        made = await self._changed("key", id, turn, "rotate", {"overlap_seconds": seconds})
        return {**described(made, now_ms), "key": secret.reveal()}

    async def enable(self, id: str, *, is_enabled: bool) -> dict[str, Any]:
        """Has a key work or not."""
        now_ms = self._picture.now_ms()

        async def turn(key: VirtualKey) -> VirtualKey:
            return replace(key, disabled_at_ms=None if is_enabled else key.disabled_at_ms or now_ms)

        made = await self._changed("key", id, turn, "enable" if is_enabled else "disable", {})
        return described(made, now_ms)

    async def remove(self, word: str, id: str) -> dict[str, Any]:
        """Takes away a `project` or `team` to which nothing belongs; what it has used stays in the sums."""
        await self._one(word, id)
        entry = AuditEntry(self._picture.now_ms(), self._actor, f"{word}.delete", f"{word}:{id}")
        storage = self._storage
        await _asked({"project": storage.remove_project, "team": storage.remove_team}[word](id, entry))
        await self._picture.refresh()
        return {"id": id, "deleted": True}

    async def show(self, word: str, id: str) -> dict[str, Any]:
        """Returns one owner."""
        return described(await self._one(word, id), self._picture.now_ms())

    async def list(self, word: str, query: OwnersQuery) -> dict[str, Any]:
        """Returns a page of owners."""
        storage = self._storage
        work = {"key": storage.keys, "project": storage.projects, "team": storage.teams}[word](query)
        found = await _asked(work)
        now_ms = self._picture.now_ms()
        return {"data": [described(each, now_ms) for each in found], "has_more": len(found) == query.limit}

    async def verify_audit(self) -> dict[str, Any]:
        """Returns how far the audit log is what was written, and the digest of its last good entry."""
        verdict = await _asked(self._storage.verify_audit())
        return {"entries": verdict.entries, "broken_at": verdict.broken_at, "digest": verdict.digest.hex()}

    async def audits(self, *, subject: str, before: int | None, limit: int) -> dict[str, Any]:
        """Returns a page of the audit log, the newest first."""
        rows = await _asked(self._storage.audits(subject=subject, before=before, limit=limit))
        data = [
            {
                "sequence": row.sequence,
                **msgspec.structs.asdict(row.entry),
                "details": msgspec.json.decode(row.entry.details),
                "digest": row.digest.hex(),
            }
            for row in rows
        ]
        return {"data": data, "has_more": len(data) == limit}

    async def _one(self, word: str, id: str) -> Any:
        storage = self._storage
        owner = await _asked({"key": storage.key, "project": storage.project, "team": storage.team}[word](id))
        if owner is None:
            raise UnknownUrl(f"there is no {word} {id[:64]!r}")
        return owner

    async def _changed(
        self, word: str, id: str, make: Callable[[Any], Awaitable[Owner]], action: str, details: Mapping[str, Any]
    ) -> Owner:
        """Makes of an owner what it becomes, again if somebody else was faster: nobody's change is undone by ours."""
        for _ in range(_TRIES):
            before = await self._one(word, id)
            made = await make(before)
            try:
                await self._put(made, action, details, before)
            except ChangedMeanwhile:
                continue
            return made
        raise KeysUnavailable(f"others are changing the {word} {id[:64]!r} all the time; try again in a moment")

    async def _checked(self, owner: Owner) -> None:
        if isinstance(owner, Team):
            return
        team_id = owner.team_id
        await self._known("team", "team_id", team_id)
        if isinstance(owner, VirtualKey):
            project: Project | None = await self._known("project", "project_id", owner.project_id)
            if project and team_id and project.team_id != team_id:
                message = f"team_id must be left out or the team of the project, {project.team_id!r}"
                raise InvalidRequest(message, code="invalid_value", param="team_id")
            for route in owner.routes:
                if not route.endswith("*") and not self._is_served(route):
                    message = f"routes: nothing serves {route[:64]!r}; to allow all that begin so, end it in `*`"
                    raise InvalidRequest(message, code="invalid_value", param="routes")

    async def _known(self, word: str, field: str, id: str) -> Any:
        if not id:
            return None
        try:
            return await self._one(word, id)
        except UnknownUrl as error:
            raise InvalidRequest(f"{field}: {error.message}", code="invalid_value", param=field) from None

    async def _new(self) -> tuple[Secret, bytes]:
        await self._picture.refresh()
        if self._picture.trouble:
            raise KeysUnavailable(f"no key can be made now: {self._picture.trouble}")
        pepper = self._picture.pepper
        try:
            # Another pepper than the one that there was would make all keys void.
            value = pepper.make() if self._picture.is_empty else pepper.read()
        except PepperMissing as error:
            raise KeysUnavailable(f"no key can be made now: {error}") from None
        secret = new_key()
        return secret, digest_of(secret.reveal().encode(), value)

    async def _put(self, owner: Owner, action: str, details: Mapping[str, Any], before: Any = None) -> None:
        self._refuse(owner)
        word = _WORDS[type(owner)]
        text = msgspec.json.encode(details).decode()
        entry = AuditEntry(self._picture.now_ms(), self._actor, f"{word}.{action}", f"{word}:{owner.id}", text)
        if isinstance(owner, VirtualKey):
            work = self._storage.put_key(owner, entry, before)
        elif isinstance(owner, Project):
            work = self._storage.put_project(owner, entry, before)
        else:
            work = self._storage.put_team(owner, entry, before)
        await _asked(work)
        await self._picture.refresh()


def described(owner: Owner, now_ms: int) -> dict[str, Any]:
    """Returns what people may see of an owner."""
    members = {name: value for name, value in msgspec.structs.asdict(owner).items() if name not in _HIDDEN}
    members["limits"] = msgspec.structs.asdict(owner.limits)
    members["budgets"] = [{"usd": dollars(each.nano_usd), "window": each.window} for each in owner.budgets]
    if isinstance(owner, VirtualKey):
        is_expired = owner.expires_at_ms is not None and now_ms >= owner.expires_at_ms
        members["status"] = "disabled" if owner.disabled_at_ms is not None else "expired" if is_expired else "active"
    return members


async def _asked(work: Awaitable[Answer]) -> Answer:
    try:
        return await work
    except ChangedMeanwhile:
        raise
    except NameTaken as error:
        raise InvalidRequest(f"name: {error}; choose another one", code="invalid_value", param="name") from None
    except StorageUnavailable as error:
        raise KeysUnavailable(f"storage does not answer: {error}") from None
    except StorageRefused as error:
        raise CallerError(str(error), code="invalid_value") from None
