"""What the admin API has: every path with all that it takes. Requests are read by this table, and described from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from gateway.access.desk import MAX_OVERLAP_SECONDS
from gateway.access.wishes import MAX_ITEMS, MAX_NAME
from gateway.engine.explanation import Explanation
from gateway.http.admin.explained import MAX_SEED
from gateway.http.admin.states import DeploymentState, RouteState, UpstreamKey
from gateway.http.usage.snapshot import Snapshot
from gateway.records import Window
from gateway.reload.reloader import Reloaded
from gateway.state.admission import MAX_IN_FLIGHT, MAX_RATE
from gateway.storage.base import MAX_PAGE, MAX_PREFIX, Dimension
from gateway.telemetry.feed import KINDS

Schema = Mapping[str, Any]
"""Of JSON Schema: type, properties, required, items, enum, minimum, maximum, minLength, maxLength, maxItems."""

_OWNER_WORDS: Final = ("key", "team", "project")
MAX_TEXT: Final = 512
MAX_SEQUENCE: Final = 2**62
_MAX_MOMENT_MS: Final = 10**14


@dataclass(frozen=True, slots=True)
class AdminRoute:
    """One path with one method."""

    method: str
    path: str
    summary: str
    query: Mapping[str, Schema] = field(default_factory=dict[str, Schema])
    body: Schema | None = None
    is_body_optional: bool = False
    answer: Schema | type = field(default_factory=lambda: {"type": "object"})
    """A type stands for itself, `[type]` for `data` with a list of it."""
    media: str = "application/json"


def _text(about: str, most: int = MAX_TEXT) -> Schema:
    return {"type": "string", "maxLength": most, "description": about}


def _whole(about: str, most: int, least: int = 0) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "description": about}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _object(properties: Mapping[str, Schema], required: tuple[str, ...] = (), about: str = "") -> Schema:
    described = {"description": about} if about else {}
    names = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **names, "additionalProperties": False, **described}


def _list(items: Schema, about: str) -> Schema:
    return {"type": ["array", "null"], "items": items, "maxItems": MAX_ITEMS, "description": about}


def list_of(item: Schema | type) -> Schema:
    """Returns the schema of a page."""
    return {"type": "object", "properties": {"data": {"type": "array", "items": item}}}


_LIMITS: Final = _object(
    {
        "requests_per_minute": _or_null(_whole("Most requests per minute.", MAX_RATE)),
        "tokens_per_minute": _or_null(_whole("Most tokens per minute.", MAX_RATE)),
        "max_in_flight": _or_null(_whole("Most requests at the same time.", MAX_IN_FLIGHT)),
    },
    about="Null, or left out, limits nothing.",
)
_BUDGET: Final = _object(
    {
        "usd": {"type": ["string", "number"], "description": 'Dollars, such as `"10.50"`; nine decimals at most.'},
        "window": {"type": "string", "enum": [each.value for each in Window], "description": "`total` if left out."},
    },
    ("usd",),
)
_OF_ALL: Final[Mapping[str, Schema]] = {
    "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME, "description": "What people call it."},
    "limits": _or_null(_LIMITS),
    "budgets": _list(_BUDGET, "How much money may be spent in each window, each window once."),
}
_TEAM_ID: Final = _or_null(_text("The team that it belongs to.", MAX_NAME))
_FIELDS: Final[Mapping[str, Mapping[str, Schema]]] = {
    "teams": _OF_ALL,
    "projects": {**_OF_ALL, "team_id": _TEAM_ID},
    "keys": {
        **_OF_ALL,
        "team_id": _TEAM_ID,
        "project_id": _or_null(_text("The project that it belongs to.", MAX_NAME)),
        "tags": _list(_text("A tag."), "What `rules` of routes may ask for."),
        "routes": _list(_text("A public name."), "Models that it is for, `*` at the end for all that begin so."),
        "expires_at_ms": _or_null(_whole("When it ends, in milliseconds since 1970.", _MAX_MOMENT_MS)),
        "keeps_content": {
            "type": ["boolean", "null"],
            "description": "Whether what it asks and is answered is kept for `storage.content_days`.",
        },
    },
}
_OWNER: Final[Mapping[str, Schema]] = {
    path: {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            **fields,
            **(
                {
                    "hint": {"type": "string"},
                    "status": {"type": "string", "enum": ["active", "disabled", "expired"]},
                    "created_at_ms": {"type": "integer"},
                    "disabled_at_ms": {"type": ["integer", "null"]},
                    "former_until_ms": {"type": ["integer", "null"]},
                    "key": {"type": "string", "description": "The key itself: once, where it is made or rotated."},
                }
                if path == "keys"
                else {}
            ),
        },
    }
    for path, fields in _FIELDS.items()
}
_PAGE: Final[Mapping[str, Schema]] = {
    "after": _text("The id of the last one of the page before."),
    "limit": _whole("How many at most; 100 if left out.", MAX_PAGE, 1),
}
_FILTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "keys": ("team_id", "project_id"),
    "projects": ("team_id",),
    "teams": (),
}
_DELETED: Final[Schema] = {"type": "object", "properties": {"id": {"type": "string"}, "deleted": {"type": "boolean"}}}


def _owner_routes(path: str, word: str) -> tuple[AdminRoute, ...]:
    fields, owner = _FIELDS[path], _OWNER[path]
    one = f"/admin/{path}/{{id}}"
    named = {name: _text(f"Of this {name.removesuffix('_id')} alone.") for name in _FILTERS[path]}
    query = {"prefix": _text("What the name begins with.", MAX_PREFIX), **named, **_PAGE}
    return (
        AdminRoute("POST", f"/admin/{path}", f"Make a {word}.", body=_object(fields, ("name",)), answer=owner),
        AdminRoute("GET", f"/admin/{path}", f"List {path}, in the order of their ids.", query, answer=list_of(owner)),
        AdminRoute("GET", one, f"Show a {word}.", answer=owner),
        AdminRoute(
            "PATCH",
            one,
            f"Change the fields that are sent of a {word}; null is the default.",
            body=_object(fields),
            answer=owner,
        ),
    )


_KEY_ACTIONS: Final = (
    AdminRoute(
        "POST",
        "/admin/keys/{id}/rotate",
        "Give out another key in the place of one.",
        body=_object({"overlap_seconds": _whole("How long the old one works on.", MAX_OVERLAP_SECONDS)}),
        is_body_optional=True,
        answer=_OWNER["keys"],
    ),
    *(
        AdminRoute(
            "POST",
            f"/admin/keys/{{id}}/{action}",
            summary,
            body=_object({}),
            is_body_optional=True,
            answer=_OWNER["keys"],
        )
        for action, summary in (("disable", "Have a key work no more."), ("enable", "Have it work again."))
    ),
)
_GROUP_ACTIONS: Final = tuple(
    AdminRoute("DELETE", f"/admin/{path}/{{id}}", f"Take away a {word} that nothing belongs to.", answer=_DELETED)
    for path, word in (("teams", "team"), ("projects", "project"))
)
_EXPLAIN: Final = AdminRoute(
    "POST",
    "/admin/explain",
    "Say what would become of a request.",
    body=_object(
        {
            "model": {"type": "string", "description": "A route, an alias or `provider/model`."},
            "body": {"description": "The request, an object; without it, a chat of one word."},
            "fail": {"type": ["string", "null"], "description": "How attempts fail: `0=429:20,1=timeout`."},
            "seed": _or_null(_whole("Where chance begins.", MAX_SEED)),
        },
        ("model",),
    ),
    answer=Explanation,
)
_ANY_OF: Final[Mapping[str, Schema]] = {
    name: {"type": "array", "items": {"type": "string"}, "description": "Any of these."}
    for name in get_args(Dimension)
    if name not in ("day", "hour")
}
_USAGE: Final = (
    AdminRoute(
        "GET",
        "/admin/usage",
        "Sums of what requests used and cost.",
        {
            "by": _text("Dimensions, with commas between them."),
            "from": _text("A date or a full hour."),
            "to": _text("The first one that does not count."),
            "format": {"type": "string", "enum": ["json", "csv"]},
            **_ANY_OF,
        },
        answer=list_of({"type": "object"}),
    ),
    AdminRoute(
        "GET",
        "/admin/usage/snapshot",
        "Counters of now.",
        {"from": _text("Since when models are told apart."), **{name: _ANY_OF[name] for name in _OWNER_WORDS}},
        answer=Snapshot,
    ),
)
"""Read where they are answered: some parameters may be there several times."""
_LIVE: Final = (
    AdminRoute("GET", "/admin/routes", "List the routes of the file.", answer=list_of(RouteState)),
    AdminRoute("GET", "/admin/deployments", "List deployments and how they are.", answer=list_of(DeploymentState)),
    AdminRoute(
        "POST",
        "/admin/deployments/{id:path}/reset",
        "End the rest of a deployment, and of its keys with it.",
        body=_object({}),
        is_body_optional=True,
        answer=DeploymentState,
    ),
    AdminRoute(
        "GET", "/admin/keys/upstream", "List the keys that providers are called with.", answer=list_of(UpstreamKey)
    ),
    AdminRoute(
        "POST",
        "/admin/reload",
        "Read the configuration again.",
        body=_object({}),
        is_body_optional=True,
        answer=Reloaded,
    ),
    AdminRoute(
        "GET",
        "/admin/events",
        "What happens, from now on.",
        {"types": _text(f"Only these, with commas between them: {', '.join(KINDS)}.")},
        answer={"type": "string"},
        media="text/event-stream",
    ),
)
_AUDIT: Final = AdminRoute(
    "GET",
    "/admin/audit",
    "Who changed what, the newest first.",
    {
        "subject": _text("What was changed, such as `key:ID`."),
        "before": _whole("The sequence number of the last one of the page before.", MAX_SEQUENCE),
        "limit": _PAGE["limit"],
    },
    answer=list_of({"type": "object"}),
)
_VERDICT: Final = AdminRoute(
    "GET",
    "/admin/audit/verdict",
    "Whether the audit log is what was written: up to which entry, and with which digest.",
    answer={"type": "object"},
)
_REQUESTS: Final = (
    AdminRoute(
        "GET",
        "/admin/requests",
        "Single requests, the newest first.",
        {
            "key": _text("Of this key alone: its id, or the name of a key of the file."),
            "from": _text("A date or a time."),
            "to": _text("The first moment that does not count."),
            "errors": {"type": "string", "enum": ["true", "false"], "description": "Only those that failed."},
            **_PAGE,
        },
        answer=list_of({"type": "object"}),
    ),
    AdminRoute(
        "GET",
        "/admin/requests/{id:path}",
        "One request, with what it asked and was answered if its key keeps that.",
        answer={"type": "object"},
    ),
)
_OPENAPI: Final = AdminRoute("GET", "/admin/openapi.json", "This description.")

ROUTES: Final[tuple[AdminRoute, ...]] = (
    _EXPLAIN,
    *_LIVE,  # before /admin/keys/{id}, which would take `upstream` for an id
    *_owner_routes("keys", "key"),
    *_owner_routes("projects", "project"),
    *_owner_routes("teams", "team"),
    *_KEY_ACTIONS,
    *_GROUP_ACTIONS,
    _AUDIT,
    _VERDICT,
    *_USAGE,
    *_REQUESTS,
    _OPENAPI,
)


def route_of(method: str, path: str) -> AdminRoute:
    """Returns an entry of the table; raises KeyError."""
    for route in ROUTES:
        if (route.method, route.path) == (method, path):
            return route
    raise KeyError(f"{method} {path}")
