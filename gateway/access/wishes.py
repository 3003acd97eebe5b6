"""What whoever runs the gateway wants of a key, team or project: JSON, read strictly, laid over what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar, cast

import msgspec

from gateway.errors import InvalidRequest
from gateway.records import NANO, Budget, Limits, Project, Team, VirtualKey, Window
from gateway.state.admission import MAX_IN_FLIGHT, MAX_NANO_USD, MAX_RATE

MAX_NAME: Final = 100
MAX_ITEMS: Final = 100
_MAX_TEXT: Final = 512
_MAX_MONEY: Final = 26
"""Characters; fewer than the digits that decimals are exact to."""
_MAX_MOMENT_MS: Final = 10**14
_MAX_LIMITS: Final = {"requests_per_minute": MAX_RATE, "tokens_per_minute": MAX_RATE, "max_in_flight": MAX_IN_FLIGHT}
_LIMITED: Final = ("name", "limits", "budgets")
FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    VirtualKey: (*_LIMITED, "team_id", "project_id", "tags", "routes", "expires_at_ms", "keeps_content"),
    Project: (*_LIMITED, "team_id"),
    Team: _LIMITED,
}
Owner = TypeVar("Owner", VirtualKey, Project, Team)


def laid_over(owner: Owner, wishes: Mapping[str, Any]) -> Owner:
    """Returns what an owner becomes; null stands for the default. Raises InvalidRequest naming the field."""
    known = FIELDS[type(owner)]
    for name in wishes:
        if name not in known:
            raise _wrong(name[:64], f"is unknown; known are {', '.join(known)}")
    return msgspec.structs.replace(owner, **{name: _READERS[name](name, value) for name, value in wishes.items()})


def nano_usd(name: str, value: Any) -> int:
    """Returns dollars, a decimal string or a number, as nano-dollars; raises InvalidRequest."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or len(str(value)) > _MAX_MONEY:
        raise _wrong(name, 'must be dollars, such as 10 or "10.50"', code="invalid_type")
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        raise _wrong(name, f"must be dollars, such as 10.50, not {str(value)[:64]!r}") from None
    most = MAX_NANO_USD // NANO
    if not dollars.is_finite() or not 0 <= dollars <= most:
        raise _wrong(name, f"must be between 0 and {most} dollars, not {str(value)[:64]}")
    nano = dollars.scaleb(9)
    if nano != nano.to_integral_value():
        raise _wrong(name, f"may have nine decimals at most, not {str(value)[:64]}")
    return int(nano)


def whole_number(name: str, value: Any, most: int) -> int:
    """Returns a whole number; raises InvalidRequest."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "must be a whole number", code="invalid_type")
    if not 0 <= value <= most:
        raise _wrong(name, f"must be between 0 and {most}, not {str(value)[:64]}")
    return value


def _wrong(name: str, said: str, *, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{name} {said}", code=code, param=name)


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "must be a string", code="invalid_type")
    if not value.strip() or len(value) > MAX_NAME or not value.isprintable():
        raise _wrong(name, f"must be 1 to {MAX_NAME} printable characters")
    return value


def _reference(name: str, value: Any) -> str:
    return "" if value is None else _name(name, value)


def _moment(name: str, value: Any) -> int | None:
    return None if value is None else whole_number(name, value, _MAX_MOMENT_MS)


def _switch(name: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "must be true or false", code="invalid_type")
    return bool(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    given = _list(name, value)
    for text in given:
        if not isinstance(text, str):
            raise _wrong(name, "must be a list of strings", code="invalid_type")
        if not text or len(text) > _MAX_TEXT or not text.isprintable():
            raise _wrong(name, f"may hold texts of 1 to {_MAX_TEXT} printable characters only")
    return tuple(dict.fromkeys(given))


def _list(name: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(name, "must be a list", code="invalid_type")
    items = cast("list[Any]", value)
    if len(items) > MAX_ITEMS:
        raise _wrong(name, f"may have {MAX_ITEMS} items, not {len(items)}")
    return items


def _members(name: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, f"must be an object with {', '.join(known)}", code="invalid_type")
    members = cast("dict[str, Any]", value)
    for member in members:
        if member not in known:
            raise _wrong(f"{name}.{member[:64]}", f"is unknown; known are {', '.join(known)}")
    return members


def _limits(name: str, value: Any) -> Limits:
    members = _members(name, {} if value is None else value, tuple(_MAX_LIMITS))
    return Limits(
        **{
            member: None if number is None else whole_number(f"{name}.{member}", number, _MAX_LIMITS[member])
            for member, number in members.items()
        }
    )


def _budgets(name: str, value: Any) -> tuple[Budget, ...]:
    found: dict[Window, Budget] = {}
    for number, item in enumerate(_list(name, value)):
        path = f"{name}[{number}]"
        members = _members(path, item, ("usd", "window"))
        said = members.get("window", Window.TOTAL)
        if said not in list(Window):
            raise _wrong(f"{path}.window", f"must be one of {', '.join(Window)}")
        window = Window(said)
        if window in found:
            raise _wrong(f"{path}.window", f"is {window} for the second time")
        found[window] = Budget(nano_usd(f"{path}.usd", members.get("usd")), window)
    return tuple(found.values())


_READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "name": _name,
    "limits": _limits,
    "budgets": _budgets,
    "team_id": _reference,
    "project_id": _reference,
    "tags": _texts,
    "routes": _texts,
    "expires_at_ms": _moment,
    "keeps_content": _switch,
}
