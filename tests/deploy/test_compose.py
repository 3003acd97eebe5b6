"""compose.yaml, and all that it names, fits together."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from gateway.cli.configuration import known_providers
from gateway.settings.load import load_settings
from tests.deploy.files import CONFIGURATION, DEPLOY, LAST_SECONDS, ROOT, environ_for, read_yaml, variables_of

COMPOSE: dict[str, Any] = read_yaml(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REPLICAS = [name for name in SERVICES if re.fullmatch(r"anyport-\d+", name)]


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def example() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_configuration_of_the_replicas_is_one() -> None:
    settings = load_settings(CONFIGURATION, environ_for(CONFIGURATION.read_text()), known_providers())
    assert settings.storage.url is not None
    assert settings.storage.url.reveal().startswith("postgresql://anyport:")
    assert settings.access.pepper is not None
    assert settings.admin.host == "127.0.0.1"


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert len(mounted) >= 7
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_every_volume_that_is_mounted_is_declared_and_each_replica_has_its_own() -> None:
    named = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    ]
    assert set(named) == set(COMPOSE["volumes"])
    assert len(set(named)) == len(named)
    assert all(any(volume.endswith(":/data") for volume in SERVICES[name]["volumes"]) for name in REPLICAS)


def test_the_example_has_every_variable_and_no_secret() -> None:
    text = CONFIGURATION.read_text()
    given = example()
    required = variables_of(text)
    assert required <= set(given)
    assert {name: given[name] for name in given if given[name]} == {"ANYPORT_LISTEN": "127.0.0.1:8484"}
    compose = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{([A-Z_]+)", compose)) <= set(given)
    assert {each["environment"] for each in COMPOSE["secrets"].values()} <= set(given)


def test_the_file_with_the_secrets_is_kept_out_of_the_repository() -> None:
    assert "deploy/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_replicas_begin_after_the_tables_and_those_after_the_database() -> None:
    assert len(REPLICAS) == 2
    for name in REPLICAS:
        assert SERVICES[name]["depends_on"]["tables"] == {"condition": "service_completed_successfully"}
    assert SERVICES["tables"]["command"] == ["db", "upgrade"]
    assert SERVICES["tables"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert SERVICES["tables"]["restart"] == "no"
    assert {"postgres", "redis"} <= {name for name, service in SERVICES.items() if "healthcheck" in service}


def test_everything_that_something_waits_for_is_a_service() -> None:
    waited = {each for service in SERVICES.values() for each in service.get("depends_on", [])}
    assert waited <= set(SERVICES)


@pytest.mark.parametrize("name", ["tables", *REPLICAS])
def test_a_gateway_can_do_nothing_but_serve(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service


def test_no_container_is_killed_before_its_grace_is_over() -> None:
    server = load_settings(CONFIGURATION, environ_for(CONFIGURATION.read_text())).server
    for name in REPLICAS:
        needed = server.drain_delay_seconds + server.grace_seconds + LAST_SECONDS
        assert seconds(SERVICES[name]["stop_grace_period"]) >= needed


def test_nothing_is_open_to_other_machines_unless_somebody_says_so() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "balancer": ["${ANYPORT_LISTEN:-127.0.0.1:8484}:8484"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_the_balancer_and_prometheus_know_each_replica() -> None:
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    servers = re.findall(r"^    server (\S+) (\S+)$", text, re.MULTILINE)
    assert servers == [(name, f"{name}:8484") for name in REPLICAS]
    scraped = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == [f"{name}:8484" for name in REPLICAS]
    secret = scraped["authorization"]["credentials_file"].rpartition("/")[2]
    assert secret in SERVICES["prometheus"]["secrets"]
    key = COMPOSE["secrets"][secret]["environment"]
    assert f'{{key: "${{{key}}}", name: metrics}}' in CONFIGURATION.read_text()


def test_the_balancer_looks_away_before_a_replica_stops_accepting_and_waits_longer_than_it() -> None:
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    settings = load_settings(CONFIGURATION, environ_for(CONFIGURATION.read_text()))
    every, fall = re.search(r"inter (\d+)s fall (\d+)", text).groups()  # type: ignore[union-attr]
    assert int(every) * int(fall) * 2 <= settings.server.drain_delay_seconds
    for side in ("client", "server"):
        waits = int(re.search(rf"timeout {side} +(\d+)s", text)[1])  # type: ignore[index]
        assert waits > settings.upstream.total_seconds


def test_grafana_reads_the_prometheus_that_is_there_and_the_dashboard_that_is_mounted() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = read_yaml(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read_yaml(provisioning / "dashboards" / "anyport.yaml")["providers"]
    assert any(f":{provider['options']['path']}/" in volume for volume in SERVICES["grafana"]["volumes"])


def test_every_file_of_a_deployment_is_yaml_without_tabs() -> None:
    for path in sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")]):
        text = path.read_text(encoding="utf-8")
        assert "\t" not in text, path
        assert list(yaml.safe_load_all(text)), path
