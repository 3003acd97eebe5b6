"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

import time
from typing import Any

from adapters.codec import encode
from gateway.access.keys import not_served
from gateway.errors import UnknownModel
from gateway.http.edge import Transaction
from gateway.runtime import ModelEntry, Runtime

LIST_PATH = "/v1/models"


class ModelsEndpoint:
    """Lists what is served, and says whether one name is."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._created = int(time.time())

    async def __call__(self, transaction: Transaction) -> None:
        """Answers; raises UnknownModel for a name that nothing serves."""
        transaction.outcome.operation = "models"
        path: str = transaction.scope["path"]
        name = path[len(LIST_PATH) + 1 :]
        if not name:
            may_use = transaction.client_key.may_use
            entries = [self._object(entry) for entry in self._runtime.models() if may_use(entry.id)]
            await transaction.respond(200, encode({"object": "list", "data": entries}), [])
            return
        client = transaction.client_key
        try:
            if not client.may_use(name):
                raise not_served(name)
            found = self._find(name)
        except UnknownModel:
            if client.is_restricted:
                raise not_served(self._runtime.router.show(name)) from None
            raise
        await transaction.respond(200, encode(self._object(found)), [])

    def _find(self, name: str) -> ModelEntry:
        for entry in self._runtime.models():
            if entry.id == name:
                return entry
        candidate = self._runtime.router.chain(name).route.deployments[0]  # raises UnknownModel
        listed = self._runtime.catalogue.listing.models.get(candidate.provider)
        if listed is not None and candidate.target.model not in listed:
            model = candidate.target.model
            raise UnknownModel(f"{candidate.provider} does not list the model {model!r}", param="model")
        return ModelEntry(name, candidate.provider)

    def _object(self, entry: ModelEntry) -> dict[str, Any]:
        return {"id": entry.id, "object": "model", "created": self._created, "owned_by": entry.owner}
