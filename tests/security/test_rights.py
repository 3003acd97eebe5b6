"""Whatever the operator does to keys, teams and projects, each key may do what was last said of it, and nothing else.

A model of the rules plays against a real gateway: after every step a key is asked for something, and what it gets must
be what the model says. Clients try the operator's door all the time, and change nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from tests.security.house import ADMIN_KEY, House, house

ROUTES = ("r", "s", "s-two", "demo/echo")
PATTERNS = ("r", "s", "s-two", "demo/echo", "s*", "demo/*", "nothing*", "*")
LONG_AGO, FAR_AWAY = 1, 10**13
UNKNOWN = "sk-anyport-" + "u" * 43
# What a client who has found the door would write there.
WISHES: tuple[dict[str, Any], ...] = (
    {"name": "mine"},
    {"name": "mine", "routes": []},
    {"name": "mine", "routes": ["*"], "limits": None, "budgets": None},
    {"name": "mine", "user_role": "admin"},
    {"expires_at_ms": None},
    {"routes": None},
    {"limits": None, "budgets": []},
    {"team_id": None, "project_id": None},
)
MODES = ("POST keys", "POST teams", "POST projects", "PATCH", "rotate", "enable", "disable", "GET", "DELETE team")


@dataclass
class Known:
    """What the rules say of one key."""

    id: str
    secret: str
    routes: tuple[str, ...] = ()
    expires_at_ms: int | None = None
    is_disabled: bool = False
    former: str | None = None
    """A secret before the last rotation that still works."""
    dead: list[str] = field(default_factory=list)
    """Secrets that will never work again."""

    def refusal(self) -> str | None:
        if self.is_disabled:
            return "key_revoked"
        return "key_expired" if self.expires_at_ms == LONG_AGO else None

    def may_use(self, model: str) -> bool:
        fits = (model.startswith(each[:-1]) if each.endswith("*") else model == each for each in self.routes)
        return not self.routes or any(fits)


class Rights(RuleBasedStateMachine):
    """The steps; `one` is the gateway of the whole test."""

    one: House
    numbers: Iterator[int] = itertools.count()
    keys = Bundle("keys")
    teams = Bundle("teams")
    fields = st.fixed_dictionaries(
        {},
        optional={
            "routes": st.none() | st.lists(st.sampled_from(PATTERNS), max_size=3),
            "expires_at_ms": st.sampled_from([None, LONG_AGO, FAR_AWAY]),
            "limits": st.sampled_from([None, {}, {"requests_per_minute": 10**6}]),
            "budgets": st.sampled_from([None, [], [{"usd": "1000", "window": "day"}]]),
            "tags": st.sampled_from([None, ["gold"]]),
        },
    )

    @rule(target=teams)
    def make_team(self) -> str:
        return self.one.made("teams", name=f"t{next(self.numbers)}")["id"]

    @rule(target=keys, fields=fields)
    def make_key(self, fields: dict[str, Any]) -> Known:
        made = self.one.made("keys", name=f"k{next(self.numbers)}", **fields)
        known = Known(made["id"], made["key"])
        self._takes(known, fields)
        return known

    @rule(key=keys, fields=fields)
    def change(self, key: Known, fields: dict[str, Any]) -> None:
        assert self.one.admin("PATCH", f"/admin/keys/{key.id}", fields).status == 200
        self._takes(key, fields)

    @rule(key=keys, team=teams)
    def join(self, key: Known, team: str) -> None:
        assert self.one.admin("PATCH", f"/admin/keys/{key.id}", {"team_id": team}).json["team_id"] == team

    @rule(key=keys)
    def disable(self, key: Known) -> None:
        assert self.one.admin("POST", f"/admin/keys/{key.id}/disable").status == 200
        key.is_disabled = True

    @rule(key=keys)
    def enable(self, key: Known) -> None:
        assert self.one.admin("POST", f"/admin/keys/{key.id}/enable").status == 200
        key.is_disabled = False

    @rule(key=keys, overlaps=st.booleans())
    def rotate(self, key: Known, overlaps: bool) -> None:
        wishes = {"overlap_seconds": 3600 if overlaps else 0}
        made = self.one.admin("POST", f"/admin/keys/{key.id}/rotate", wishes).json["key"]
        if key.former:
            key.dead.append(key.former)
        key.former = key.secret if overlaps else None
        key.dead += [] if overlaps else [key.secret]
        key.secret = made

    @rule(target=keys, key=consumes(keys), fields=fields)
    def refuse_what_is_wrong(self, key: Known, fields: dict[str, Any]) -> Any:
        wrong = {**fields, "user_role": "admin"}
        assert self.one.admin("PATCH", f"/admin/keys/{key.id}", wrong).code == "unknown_parameter"
        return multiple(key)  # nothing of it was taken

    @rule(key=keys, victim=keys, mode=st.sampled_from(MODES), wishes=st.sampled_from(WISHES))
    def reach_for_more(self, key: Known, victim: Known, mode: str, wishes: dict[str, Any]) -> None:
        method, _, what = mode.partition(" ")
        if method in ("rotate", "enable", "disable"):
            path, method = f"keys/{victim.id}/{method}", "POST"
        else:
            path = what if method == "POST" else f"keys/{victim.id}"
        reply = self.one.admin(
            method, f"/admin/{path}", None if method in ("GET", "DELETE") else wishes, key=key.secret
        )
        assert reply.status == (401 if key.refusal() else 403)
        assert victim.id.encode() not in reply.body

    @rule(key=keys, model=st.sampled_from(ROUTES))
    def call(self, key: Known, model: str) -> None:
        for secret in (key.secret, key.former):
            if secret:
                reply = self.one.chat(secret, model)
                self._agrees(key, model, reply.status, reply.code)

    @rule(key=keys)
    def list_models(self, key: Known) -> None:
        reply = self.one.client("GET", "/v1/models", key=key.secret)
        if key.refusal():
            assert (reply.status, reply.code) == (401, key.refusal())
        else:
            named = [each for each in ("r", "s", "s-two") if key.may_use(each)]
            assert [each["id"] for each in reply.json["data"]] == named
        for model in ROUTES:
            reply = self.one.client("GET", f"/v1/models/{model}", key=key.secret)
            self._agrees(key, model, reply.status, reply.code)

    @rule(key=keys)
    def use_what_is_over(self, key: Known) -> None:
        for secret in (*key.dead[-2:], UNKNOWN, key.secret[:-1], f"{key.secret}x", key.id, key.secret.upper()):
            assert self.one.chat(secret).status == 401

    @rule(key=keys)
    def ask_what_was_used(self, key: Known) -> None:
        reply = self.one.client("GET", "/v1/usage", key=key.secret)
        if key.refusal():
            assert reply.status == 401
        else:
            assert reply.json["key"]["id"] == key.id

    def _takes(self, key: Known, fields: dict[str, Any]) -> None:
        if "routes" in fields:
            key.routes = tuple(fields["routes"] or ())
        if "expires_at_ms" in fields:
            key.expires_at_ms = fields["expires_at_ms"]

    def _agrees(self, key: Known, model: str, status: int, code: str | None) -> None:
        if key.refusal():
            assert (status, code) == (401, key.refusal())
        elif key.may_use(model):
            assert (status, code) == (200, None)
        else:
            assert (status, code) == (404, "model_not_found")


@pytest.mark.timeout(300)
def test_every_key_may_do_what_was_last_said_of_it_and_nothing_else(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        machine = type("Played", (Rights,), {"one": one})
        few = settings(max_examples=15, stateful_step_count=40, suppress_health_check=list(HealthCheck), deadline=None)
        run_state_machine_as_test(machine, settings=few)
        assert "sk-anyport-" not in one.process.errors


def test_a_restricted_key_hears_the_same_of_what_it_may_not_use_and_of_what_is_not_there(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        narrow = one.made("keys", name="narrow", routes=["r", "demo/*"])["key"]
        names = ("s", "s-two", "t", "demon", "openai/gpt-4.1", "demo/nothing", "rr")

        def heard(name: str) -> set[tuple[int, bytes]]:
            replies = [one.chat(narrow, name), one.client("GET", f"/v1/models/{name}", key=narrow)]
            return {(reply.status, reply.body.replace(f"'{name}'".encode(), b"NAME")) for reply in replies}

        found = {answer for name in names for answer in heard(name)}
        ((status, body),) = found
        assert status == 404
        assert b"model_not_found" in body
        assert b"s-two" not in body, "no other name is suggested"
        assert one.chat(narrow, "r").status == one.chat(narrow, "demo/echo").status == 200


def test_one_tenant_never_hears_of_another(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        tenants = []
        for name in ("alpha", "beta"):
            team = one.made("teams", name=f"team of {name}")
            project = one.made("projects", name=f"project of {name}", team_id=team["id"])
            tenants.append((name, one.made("keys", name=f"key of {name}", project_id=project["id"])))
        for name, key in tenants:
            one.chat(key["key"], "r", idempotency_key="1", x_request_id=f"id-of-{name}")
        (_, mine), (other, theirs) = tenants
        for path in (
            "/v1/usage",
            "/v1/usage/snapshot",
            f"/v1/usage?key={theirs['id']}",
            f"/v1/usage?from=2020-01-01&key={theirs['id']}",
            f"/v1/usage/snapshot?key={theirs['id']}&team={theirs['team_id']}",
            f"/v1/usage/{theirs['id']}",
            "/v1/models",
            "/metrics",
            "/openapi.json",
        ):
            said = one.client("GET", path, key=mine["key"]).body.decode()
            for word in (other, theirs["project_id"], f"id-of-{other}"):
                assert word not in said, path
            assert theirs["id"] not in said or theirs["id"] in path, path
        for id in ("../keys", "..%2fkeys", "%2e%2e", "*", "%", "' OR 1=1--", "none", "key_", "a" * 600):
            for what in ("keys", "projects", "teams"):
                reply = one.admin("GET", f"/admin/{what}/{id.replace(' ', '%20')}", key=ADMIN_KEY)
                assert reply.status in (400, 404), (id, reply.body)
