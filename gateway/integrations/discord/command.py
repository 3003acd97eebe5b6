"""The slash command: as Discord is told of it, and as it comes back.

`developers/interactions/application-commands.mdx`: a name of up to 32 characters, texts of options of up to 6,000,
up to 25 choices of up to 100 characters. Making a command whose name is there already replaces it, and leaves others
alone. One that says no `contexts` can be used wherever the application is installed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from gateway.errors import InvalidRequest

NAME: Final = "ask"
PING: Final = 1
COMMAND: Final = 2
_CHAT_INPUT: Final = 1
_TEXT: Final = 3
_BOOLEAN: Final = 5
_GUILD_INSTALL: Final = "0"
_MAX_PROMPT_CHARS: Final = 6000
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.=~-]{1,512}")
"""It becomes a part of URLs."""


class Question(Struct, frozen=True):
    """What somebody has asked with the command."""

    id: str
    token: str
    """With it the messages of the answer are written."""
    guild: str
    """"" outside of guilds, as in direct messages, and where the guild has not installed the application."""
    prompt: str
    model: str
    """"" if none was chosen."""
    is_private: bool
    """Only who has asked sees the answer."""
    is_of_guild: bool
    """The application belongs to the guild, not to the user alone: then it may send more messages."""


class _Option(Struct):
    name: str = ""
    value: str | bool | int | float | None = None


class _Data(Struct):
    name: str = ""
    type: int = _CHAT_INPUT
    options: list[_Option] = field(default_factory=list[_Option])


class Interaction(Struct):
    """What Discord has sent, as far as it matters here."""

    type: int
    application_id: str = ""
    id: str = ""
    token: str = ""
    guild_id: str | None = None
    data: _Data | None = None
    authorizing_integration_owners: dict[str, str] = field(default_factory=dict[str, str])

    def question(self) -> Question | None:
        """Returns what was asked, None if this is no use of our command; raises InvalidRequest."""
        data = self.data
        if self.type != COMMAND or data is None or (data.name, data.type) != (NAME, _CHAT_INPUT):
            return None
        if not _TOKEN.fullmatch(self.token) or not self.id.isdigit():
            raise InvalidRequest("the interaction's id or token is none", code="invalid_value", param="token")
        options = {option.name: option.value for option in data.options}
        prompt, model = options.get("prompt"), options.get("model")
        owners, guild = self.authorizing_integration_owners, self.guild_id or ""
        if owners and owners.get(_GUILD_INSTALL) != guild:
            guild = ""  # somebody has brought it along: who manages the guild has no say in that, so it does not pay
        return Question(
            id=self.id,
            token=self.token,
            guild=guild,
            prompt=prompt if isinstance(prompt, str) else "",
            model=model if isinstance(model, str) else "",
            is_private=options.get("private") is True,
            is_of_guild=_GUILD_INSTALL in owners,
        )


_interaction = msgspec.json.Decoder(Interaction).decode


def read_interaction(body: bytes) -> Interaction:
    """Returns what Discord has sent; raises InvalidRequest."""
    try:
        return _interaction(body)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the interaction cannot be read: {error}", code="invalid_value") from None


def command(models: Sequence[str]) -> dict[str, Any]:
    """Returns the command as Discord wants to be told of it; `models` are those that may be chosen."""
    options: list[dict[str, Any]] = [
        {
            "type": _TEXT,
            "name": "prompt",
            "description": "What you want to know",
            "required": True,
            "max_length": _MAX_PROMPT_CHARS,
        }
    ]
    if models:
        choices = [{"name": model, "value": model} for model in models]
        options.append({"type": _TEXT, "name": "model", "description": "Which model answers", "choices": choices})
    options.append({"type": _BOOLEAN, "name": "private", "description": "Show the answer to you alone"})
    return {"name": NAME, "type": _CHAT_INPUT, "description": "Ask a language model", "options": options}
