"""POST /integrations/discord/interactions: what Discord sends, answered at once; its signature is its key."""

from __future__ import annotations

import time
from typing import Final

from gateway.errors import InvalidRequest
from gateway.http.api.inference import read_body
from gateway.http.edge import Transaction
from gateway.integrations.discord import replies, words
from gateway.integrations.discord.answering import Answering
from gateway.integrations.discord.command import PING, Question, read_interaction
from gateway.integrations.discord.signature import Signatures
from gateway.settings.integrations import DiscordSettings

INTERACTIONS_PATH: Final = "/integrations/discord/interactions"
_MAX_BODY_BYTES: Final = 256 * 1024


class InteractionsEndpoint:
    """Takes interactions. Discord waits for 3 s, so that nothing here waits for anything."""

    def __init__(self, settings: DiscordSettings, answering: Answering) -> None:
        self._settings = settings
        self._answering = answering
        self._signatures = Signatures(settings.public_key, time.time)

    async def __call__(self, transaction: Transaction) -> None:
        """Answers; raises GatewayError."""
        transaction.outcome.operation = "discord"
        body = await read_body(transaction, _MAX_BODY_BYTES)
        transaction.outcome.bytes_in = len(body)
        self._signatures.check(transaction.headers, body)
        interaction = read_interaction(body)
        if interaction.application_id not in ("", self._settings.application_id):
            message = "the interaction is of another application than integrations.discord.application_id"
            raise InvalidRequest(message, code="invalid_value", param="application_id")
        if interaction.type == PING:
            await transaction.respond(200, replies.PONG, [])
            return
        question = interaction.question()
        refusal = words.NO_SUCH_COMMAND if question is None else self._refusal(question)
        if question is None or refusal:
            await transaction.respond(200, replies.told(refusal), [])
            return
        await transaction.respond(200, replies.later(is_private=question.is_private), [])
        self._answering.begin(question, self._settings)

    def _refusal(self, question: Question) -> str:
        """Returns why a question is not asked, "" if it is."""
        settings = self._settings
        if question.guild not in settings.guilds and settings.elsewhere is None:
            return words.NOT_HERE
        if question.model and question.model not in settings.models:
            return words.NO_SUCH_MODEL
        return "" if question.prompt.strip() else words.NO_PROMPT
