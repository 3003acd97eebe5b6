"""Discord's REST API, as far as it is used here: every call is one request, and its answer is told as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

import gateway
from adapters.codec import JSON, as_list, as_object, as_text, decode, encode
from adapters.types import Headers, HttpRequest
from gateway.secret import Secret
from gateway.transport.base import TransportError
from gateway.transport.control import ControlClient

DEFAULT_API_BASE: Final = "https://discord.com/api/v10"
"""Without a version it would be one that is deprecated."""
_HOME: Final = "https://discord.com/developers/applications"
"""The URL in `User-Agent: DiscordBot ($url, $versionNumber)`, which Discord demands (`developers/reference.mdx`)."""
_TIMEOUT_SECONDS: Final = 15.0
_PAGE: Final = 200
_MAX_PAGES: Final = 100
_MAX_SHOWN_CHARS: Final = 200


class DiscordTrouble(Exception):
    """Discord has refused a call or did not answer; the message is fit to be shown."""


class Reply:
    """What Discord has answered."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: JSON) -> None:
        """`body` is None if it is no JSON; header names in lower case."""
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def is_ok(self) -> bool:
        """Says whether it was done."""
        return 200 <= self.status < 300


class Rest:
    """Calls Discord for one application."""

    def __init__(
        self,
        control: ControlClient,
        api_base: str = DEFAULT_API_BASE,
        application_id: str = "",
        token: Secret | None = None,
    ) -> None:
        """`token` is the bot's, which calls with the token of an interaction need not have."""
        self._control = control
        self._base = api_base.rstrip("/")
        self._application_id = application_id
        self._token = token

    async def original(self, token: str, message: Mapping[str, Any]) -> Reply:
        """Writes the answer to an interaction anew, the first time instead of the bot's thinking."""
        return await self._call("PATCH", f"{self._webhook(token)}/messages/@original", message)

    async def follow_up(self, token: str, message: Mapping[str, Any]) -> Reply:
        """Writes a further message; the answer has its id."""
        return await self._call("POST", f"{self._webhook(token)}?wait=true", message)

    async def edit(self, token: str, id: str, message: Mapping[str, Any]) -> Reply:
        """Writes a further message anew."""
        return await self._call("PATCH", f"{self._webhook(token)}/messages/{id}", message)

    async def register(self, command: Mapping[str, Any], guild: str = "") -> dict[str, Any]:
        """Makes or replaces a command, of a guild or of all; raises DiscordTrouble."""
        place = f"/guilds/{guild}" if guild else ""
        return as_object(await self._asked("POST", f"/applications/{self._application_id}{place}/commands", command))

    async def current_user(self) -> dict[str, Any]:
        """Returns whom the token is of; raises DiscordTrouble."""
        return as_object(await self._asked("GET", "/users/@me"))

    async def guilds(self) -> Sequence[dict[str, Any]]:
        """Returns the guilds that the bot is in; raises DiscordTrouble."""
        found: list[dict[str, Any]] = []
        after = "0"
        for _ in range(_MAX_PAGES):
            path = f"/users/@me/guilds?limit={_PAGE}&after={after}"
            page = [as_object(each) for each in as_list(await self._asked("GET", path))]
            found += page
            after = as_text(page[-1].get("id")) if page else ""
            if len(page) < _PAGE or not after.isdigit():
                break
        return found

    def _webhook(self, token: str) -> str:
        return f"/webhooks/{self._application_id}/{token}"

    async def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> JSON:
        try:
            reply = await self._call(method, path, body)
        except TransportError as error:
            raise DiscordTrouble(f"Discord does not answer at {self._base}: {error.message}") from None
        if not reply.is_ok:
            raise DiscordTrouble(_refusal(reply))
        return reply.body

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        """Raises TransportError."""
        home = f"{_HOME}/{self._application_id}" if self._application_id else _HOME
        headers: Headers = (("user-agent", f"DiscordBot ({home}, {gateway.__version__})"),)
        if self._token is not None:
            headers = (*headers, ("authorization", f"Bot {self._token.reveal()}"))
        data = b""
        if body is not None:
            headers, data = (*headers, ("content-type", "application/json")), encode(body)
        request = HttpRequest(method, f"{self._base}{path}", headers, data)
        reply = await self._control.send(request, timeout_seconds=_TIMEOUT_SECONDS)
        try:
            return Reply(reply.status, reply.headers, decode(reply.body) if reply.body else None)
        except msgspec.DecodeError:
            return Reply(reply.status, reply.headers, None)


def _refusal(reply: Reply) -> str:
    body = as_object(reply.body)
    said = as_text(body.get("message"))[:_MAX_SHOWN_CHARS]
    said = "".join(each for each in said if each.isprintable()) or "no reason"
    hint = {
        401: "; is DISCORD_BOT_TOKEN the token of this bot? It is shown once, under Bot in the developer portal",
        403: "; has the bot been invited to this guild, with the scope applications.commands?",
        404: "; is integrations.discord.application_id that of this bot?",
    }.get(reply.status, "")
    wait = body.get("retry_after")
    if reply.status == 429 and isinstance(wait, int | float):
        hint = f"; try again in {wait:.0f} s"
    return f"Discord refuses with {reply.status}: {said}{hint}"
