"""What somebody at Discord hears of an error: what to do, and nothing of how it is made here."""

from __future__ import annotations

from typing import Final

from gateway.errors import (
    BudgetExceeded,
    CallerError,
    Draining,
    GatewayError,
    RateLimited,
    Unauthenticated,
    UnknownModel,
    UpstreamError,
    UpstreamRejected,
)

NOT_HERE: Final = "I am not set up to answer here. Ask whoever runs me."
NO_SUCH_COMMAND: Final = "I do not know this command."
NO_SUCH_MODEL: Final = "This model cannot be chosen here."
NO_PROMPT: Final = "There is nothing to answer: write what you want to know."
ENDING: Final = "*I have to stop here: I am being restarted. Please ask again in a moment.*"
TOO_LONG: Final = "*I have to stop here: it takes too long for Discord.*"
_OTHERWISE: Final = "Something went wrong on my side. Please try again in a moment."
_SAID: Final[tuple[tuple[type[GatewayError], str], ...]] = (
    (BudgetExceeded, "The budget for this place is used up."),
    (RateLimited, "Too many questions at once. Please try again in {}."),
    (Unauthenticated, NOT_HERE),
    (UnknownModel, "The model is not available here. Ask whoever runs me."),
    (UpstreamRejected, "The model's provider does not take this question."),
    (CallerError, "This question cannot be asked as it is."),
    (UpstreamError, "The model does not answer just now. Please try again in a moment."),
    (Draining, "I cannot answer just now. Please try again in a moment."),
)
"""The first that fits counts."""


def said(error: GatewayError, request_id: str) -> str:
    """Returns a sentence about an error, and the id by which whoever runs the gateway finds it."""
    text = next((text for kind, text in _SAID if isinstance(error, kind)), _OTHERWISE)
    return f"*{text.format(_wait(error))}* (`{request_id}`)"


def _wait(error: GatewayError) -> str:
    seconds = dict(error.headers()).get("retry-after", "")
    return f"{seconds} s" if seconds.isdigit() else "a moment"
