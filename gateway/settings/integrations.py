"""Chats whose people may ask: what a user's file says of them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.settings.provider import SecretText, Strict
from gateway.settings.scalars import ServedName, Tag

_SNOWFLAKE = re.compile(r"[1-9][0-9]{0,19}")
_PUBLIC_KEY = re.compile(r"[0-9a-fA-F]{64}")
_API_BASE = re.compile(r"https://[^\s/?#@]+(/[^\s?#]*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/[^\s?#]*)?")
_MAX_CHOICE = 100


def _as_text(value: object) -> object:
    # An id that stands in the file without quotes is a number there.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _snowflake(id: str) -> str:
    if not _SNOWFLAKE.fullmatch(id):
        raise ValueError("must be an id of Discord: up to 20 digits (Copy ID, once the developer mode is on)")
    return id


def _public_key(key: str) -> str:
    if not _PUBLIC_KEY.fullmatch(key):
        raise ValueError("must be the application's public key: 64 hexadecimal digits")
    return key.lower()


def _api_base(url: str) -> str:
    if not _API_BASE.fullmatch(url):
        raise ValueError("must be an https:// URL, or an http:// one of this machine, without query and blanks")
    return url.rstrip("/")


def _choice(model: str) -> str:
    if len(model) > _MAX_CHOICE:
        raise ValueError(f"must have at most {_MAX_CHOICE} characters to be a choice at Discord; give it an alias")
    return model


Snowflake = Annotated[str, BeforeValidator(_as_text), AfterValidator(_snowflake)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
ApiBase = Annotated[str, AfterValidator(_api_base)]
Choice = Annotated[ServedName, AfterValidator(_choice)]


class DiscordPlaceSettings(Strict):
    """Of a guild (a server of Discord), or of wherever else the bot is asked: under which key, and who answers."""

    key: Tag | None = Field(
        default=None,
        description="Name of a key, virtual or of `server.api_keys`: its limits, budgets and rights hold for what is "
        "asked there, and usage counts under it. Null: no key, which serves only where the gateway has none at all.",
        examples=["my-guild"],
    )
    model: ServedName | None = Field(
        default=None, description="What answers there, instead of `model`.", examples=["smart"]
    )


class DiscordSettings(Strict):
    """A bot that answers `/ask`. docs/discord.md goes from nothing to an answering bot."""

    application_id: Snowflake = Field(description="The application's id.", examples=["1199999999999999999"])
    public_key: PublicKey = Field(
        description="The application's public key, which says what Discord has signed.",
        examples=["${DISCORD_PUBLIC_KEY}"],
    )
    bot_token: SecretText | None = Field(
        default=None,
        description="The bot's token, for `anyport discord`; answers need none. Null: `$DISCORD_BOT_TOKEN`.",
        examples=["${DISCORD_BOT_TOKEN}"],
    )
    model: ServedName = Field(description="What answers: a route, an alias or `provider/model`.", examples=["fast"])
    models: list[Choice] = Field(
        default=[],
        max_length=25,
        description="Models that may be chosen instead with the command's option `model`; empty: it has none. After a "
        "change run `anyport discord register` again.",
        examples=[["fast", "smart"]],
    )
    guilds: dict[Snowflake, DiscordPlaceSettings] = Field(
        default={},
        description="Guilds that are answered, by id.",
        examples=[{"81384788765712384": {"key": "my-guild"}}],
    )
    elsewhere: DiscordPlaceSettings | None = Field(
        default=None,
        description="The same for all other guilds and for direct messages. Null: there the bot says that it is not "
        "set up to answer.",
        examples=[{"key": "strangers"}],
    )
    api_base: ApiBase = Field(
        default="https://discord.com/api/v10", description="Where Discord's API is; another one is for tests."
    )


class IntegrationsSettings(Strict):
    """Chats whose people may ask."""

    discord: DiscordSettings | None = Field(default=None, description="A bot at Discord. Null: none.")
