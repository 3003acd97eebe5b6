"""Everything secret that settings hold, whichever setting it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from pydantic import BaseModel

from gateway.secret import Secret


def secrets_in(value: object, path: str = "") -> Iterator[tuple[str, Secret]]:
    """Yields each secret below `value` with its path, such as `routes.fast.deployments.0.keys.1`."""
    below: list[tuple[object, object]] = []
    match value:
        case Secret():
            yield path, value
        case BaseModel():
            below = [(name, getattr(value, name)) for name in type(value).model_fields]
        case dict():
            below = list(cast("dict[object, object]", value).items())
        case list():
            below = list(enumerate(cast("list[object]", value)))
        case _:
            pass
    for name, each in below:
        yield from secrets_in(each, f"{path}.{name}" if path else str(name))
