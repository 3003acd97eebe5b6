"""The models that providers say they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(slots=True)
class Listing:
    """The models that a provider says it has; None while it has not been asked or did not answer."""

    models: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def replace(self, provider: str, models: Sequence[str] | None) -> bool:
        """Sets or removes what one provider lists and returns whether that changed anything."""
        if models is None:
            if provider not in self.models:
                return False
            self.models = MappingProxyType({name: ids for name, ids in self.models.items() if name != provider})
            return True
        if self.models.get(provider) == tuple(models):
            return False
        self.models = MappingProxyType({**self.models, provider: tuple(models)})
        return True
