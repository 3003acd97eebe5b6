"""Deployments are found again by what names them among replicas."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.registry import live
from gateway.registry.assembly import build_catalogue
from gateway.registry.routes import RouteBook, fingerprint_of
from gateway.routing.deployment import Deployment
from gateway.routing.route import Route
from gateway.settings.model import Settings

ENVIRON = {"OPENAI_API_KEY": "sk-openai-0001"}
LIMITED = {"model": "openai/gpt-4.1", "limits": {"max_in_flight": 2}}


def book(deployments: list[dict[str, Any]]) -> RouteBook:
    settings = Settings.model_validate({"routes": {"r": {"deployments": deployments}}})
    return RouteBook(settings, build_catalogue(settings, ENVIRON), show=lambda name: name)


def only(found: Route | str) -> Deployment:
    assert isinstance(found, Route), found
    (deployment,) = found.deployments
    return deployment


def test_all_states_of_one_deployment_are_found_with_and_without_limits() -> None:
    made = book([LIMITED, {"model": LIMITED["model"]}])
    route = made.route("r", "")
    assert not isinstance(route, str)
    limited, free = route.deployments
    assert limited.vitals is not free.vitals
    assert fingerprint_of(limited) == fingerprint_of(free)
    assert list(made.find(fingerprint_of(limited))) == [limited.vitals, free.vitals]


def test_another_replica_has_the_same_fingerprints() -> None:
    here, there = (only(book([LIMITED]).route("r", "")) for _ in range(2))
    assert fingerprint_of(here) == fingerprint_of(there)


def test_what_was_never_asked_for_is_not_found() -> None:
    made = book([LIMITED])
    other = only(book([{"model": "openai/gpt-5"}]).route("r", ""))
    assert list(made.find(fingerprint_of(other))) == []


def test_names_that_clients_make_up_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_SINGLES", 50)
    made = book([LIMITED])
    singles = [only(made.single(f"openai/made-up-{number}")) for number in range(500)]
    found = [single for single in singles if made.find(fingerprint_of(single))]
    assert len(found) <= 50
    assert singles[-1] in found
    assert all(single.vitals in made.deployments() for single in found)
