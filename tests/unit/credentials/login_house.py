"""One process with logins, and what it sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.types import HttpRequest
from gateway.credentials.bearer import BearerSigner
from gateway.credentials.logins import Logins, Place
from gateway.domain import LoginKind
from gateway.settings.provider import LoginRow
from gateway.transport.control import ControlClient

from .token_endpoint import TokenEndpoint

REQUEST = HttpRequest("POST", "https://api.example/v1/chat/completions", ())
REFRESH = "refresh-token-of-the-operator"


class Clock:
    """The time of day, as tests want it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def client() -> AsyncIterator[ControlClient]:
    made = ControlClient()
    try:
        yield made
    finally:
        await made.aclose()


def place(kind: LoginKind = LoginKind.MINIMAX, profile: str = "", provider: str = "minimax") -> Place:
    return Place(provider, kind, "https://api.minimax.io/v1", profile)


class House:
    """What one process has: an environment, a data directory, a client."""

    def __init__(self, directory: Path, clock: Clock, client: ControlClient, environ: Mapping[str, str] = {}) -> None:
        self.logins = Logins({"HOME": str(directory), **environ}, directory / "data", lambda: client, clock=clock)

    def signer(self, said: Mapping[str, Any], where: Place | None = None, *, is_named: bool = True) -> BearerSigner:
        signer = self.logins.signer(where or place(), LoginRow.model_validate(said), is_named=is_named)
        assert signer is not None
        return signer


async def sent(signer: BearerSigner) -> str:
    return dict(await signer.sign(REQUEST))["authorization"].removeprefix("Bearer ")


def file_of(directory: Path, name: str = "minimax") -> Path:
    return directory / "data" / "logins" / f"{name}.json"


def minimax(endpoint: TokenEndpoint, **more: str) -> dict[str, str]:
    return {"refresh_token": REFRESH, "token_url": endpoint.url + "/oauth/token", **more}
