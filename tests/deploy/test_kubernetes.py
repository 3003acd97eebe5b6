"""The manifests parse, name only what is there, and agree with each other and with a real gateway."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from gateway.cli.configuration import known_providers
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from tests.deploy.files import KUBERNETES, LAST_SECONDS, ROOT, environ_for, read_yaml, variables_of
from tests.e2e.process import start_gateway

KUSTOMIZATION = read_yaml(KUBERNETES / "kustomization.yaml")
MANIFESTS: dict[str, Any] = {name: read_yaml(KUBERNETES / name) for name in KUSTOMIZATION["resources"]}
DEPLOYMENT = MANIFESTS["deployment.yaml"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
(GATEWAY,) = POD["containers"]
(TABLES,) = POD["initContainers"]
LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
CONFIGURATION = MANIFESTS["configmap.yaml"]["data"]["anyport.yaml"]
SECRETS = re.findall(r"^([A-Z_]+)=", (KUBERNETES / "secret.env.example").read_text(), re.MULTILINE)


@pytest.fixture
def environ() -> dict[str, str]:
    urls = {
        "ANYPORT_DATABASE_URL": "postgresql://anyport:secret@database:5432/anyport",
        "ANYPORT_REDIS_URL": "rediss://:secret@cache:6379/0",
    }
    return {**environ_for(CONFIGURATION), **urls}


@pytest.fixture
def settings(tmp_path: Path, environ: dict[str, str]) -> Settings:
    file = tmp_path / "anyport.yaml"
    file.write_text(CONFIGURATION)
    return load_settings(file, environ, known_providers())


def patched(manifest: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a manifest after the operations of a JSON patch."""
    made = copy.deepcopy(manifest)
    for operation in operations:
        *parents, last = operation["path"].strip("/").split("/")
        place: Any = made
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        key: Any = int(last) if isinstance(place, list) else last
        match operation["op"]:
            case "test":
                assert place[key] == operation["value"], operation
            case "remove":
                del place[key]
            case "replace":
                assert key in place, operation
                place[key] = operation["value"]
            case _:
                assert operation["op"] == "add", operation
                place[key] = operation["value"]
    return made


def named(node: object, key: str) -> Iterator[Any]:
    """Yields every value of this key, however deep it stands."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from named(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from named(value, key)


def probes() -> dict[str, dict[str, Any]]:
    return {name: GATEWAY[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}


def test_every_manifest_is_one_that_the_kustomization_takes() -> None:
    files = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert files == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    kinds = [each["kind"] for each in MANIFESTS.values()]
    assert len(set(kinds)) == len(kinds) == 8
    assert all(each["apiVersion"] and each["metadata"]["name"] == "anyport" for each in MANIFESTS.values())
    assert MANIFESTS["namespace.yaml"]["metadata"]["name"] == KUSTOMIZATION["namespace"]


def test_every_selector_finds_the_pods() -> None:
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["pdb.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ]
    assert len(selectors) == 6
    assert all(selector.items() <= LABELS.items() for selector in selectors)


def test_the_autoscaler_scales_the_deployment_which_names_no_number_itself() -> None:
    scaled = MANIFESTS["hpa.yaml"]["spec"]
    target = scaled["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"]) == (DEPLOYMENT["apiVersion"], DEPLOYMENT["kind"])
    assert target["name"] == DEPLOYMENT["metadata"]["name"]
    assert "replicas" not in DEPLOYMENT["spec"]
    assert scaled["minReplicas"] > MANIFESTS["pdb.yaml"]["spec"]["maxUnavailable"]
    assert "cpu" in GATEWAY["resources"]["requests"]


def test_every_port_that_is_named_is_one_of_the_pods_and_the_gateway_listens_there(settings: Settings) -> None:
    ports = {each["name"]: each["containerPort"] for each in GATEWAY["ports"]}
    assert ports == {"http": settings.server.port}
    assert MANIFESTS["service.yaml"]["spec"]["ports"][0]["targetPort"] in ports
    assert MANIFESTS["networkpolicy.yaml"]["spec"]["ingress"][0]["ports"][0]["port"] in ports
    assert {probe["httpGet"]["port"] for probe in probes().values()} <= set(ports)


def test_account_configuration_secret_and_volumes_are_those_that_are_there() -> None:
    assert POD["serviceAccountName"] == MANIFESTS["serviceaccount.yaml"]["metadata"]["name"]
    assert POD["automountServiceAccountToken"] is False
    assert MANIFESTS["serviceaccount.yaml"]["automountServiceAccountToken"] is False
    maps = [volume["configMap"]["name"] for volume in POD["volumes"] if "configMap" in volume]
    assert maps == [MANIFESTS["configmap.yaml"]["metadata"]["name"]]
    (secret,) = KUSTOMIZATION["secretGenerator"]
    assert [each["name"] for each in named(POD, "secretRef")] == [secret["name"]] * 2
    assert secret["envs"] == ["secret.env"]
    volumes = {volume["name"] for volume in POD["volumes"]}
    for container in (GATEWAY, TABLES):
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    assert TABLES["args"] == ["db", "upgrade"]


def test_what_is_mounted_is_where_the_image_looks() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    mounted = {mount["name"]: mount["mountPath"] for mount in GATEWAY["volumeMounts"]}
    assert f"WORKDIR {mounted['configuration']}\n" in dockerfile
    assert f"ANYPORT_DATA_DIR={mounted['data']}\n" in dockerfile
    user = re.search(r"USER (\d+):(\d+)", dockerfile)
    assert user is not None
    context = POD["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user.groups()
    assert context["fsGroup"] == context["runAsGroup"]


def test_the_configuration_is_one_and_its_variables_are_in_the_secret(settings: Settings) -> None:
    assert variables_of(CONFIGURATION) <= set(SECRETS)
    assert settings.server.host == "0.0.0.0"
    assert settings.admin.host == "127.0.0.1"
    assert settings.storage.url is not None
    assert settings.access.pepper is not None


def test_the_secret_has_no_values_and_is_kept_out_of_the_repository() -> None:
    lines = (KUBERNETES / "secret.env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#") and not line.endswith("=")] == []
    assert "deploy/kubernetes/secret.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert not list(KUBERNETES.glob("secret.yaml"))


def test_no_pod_is_killed_before_its_grace_is_over(settings: Settings) -> None:
    server = settings.server
    (container,) = POD["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pause + server.drain_delay_seconds + server.grace_seconds + LAST_SECONDS
    assert POD["terminationGracePeriodSeconds"] >= needed
    assert pause + server.drain_delay_seconds >= 10


def test_the_journal_fits_into_its_volume(settings: Settings) -> None:
    (size,) = [volume["emptyDir"]["sizeLimit"] for volume in POD["volumes"] if "emptyDir" in volume]
    # As much again for what was rejected, and for the file that is just being filled.
    assert int(size.removesuffix("Gi")) * 2**30 >= 2 * settings.storage.journal_max_bytes


def test_a_pod_can_do_nothing_but_serve() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (GATEWAY, TABLES):
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert "cpu" not in container["resources"]["limits"]


def test_every_path_that_is_probed_is_one_of_a_running_gateway(tmp_path: Path, environ: dict[str, str]) -> None:
    configuration = yaml.safe_load(CONFIGURATION)
    for section in ("state", "storage"):  # no server of this test
        del configuration[section]
    configuration["admin"]["port"] = 0
    configuration["server"]["drain_delay_seconds"] = 0
    gateway = start_gateway(
        tmp_path, config=yaml.safe_dump(configuration), environ={**environ, "ANYPORT_DATA_DIR": str(tmp_path / "data")}
    )
    gateway.wait_until_ready()
    url = gateway.url.replace("0.0.0.0", "127.0.0.1")
    with httpx2.Client(base_url=url, timeout=20) as client:
        for probe in probes().values():
            asked = probe["httpGet"]
            headers = {each["name"]: each["value"] for each in asked["httpHeaders"]}
            assert client.get(asked["path"], headers=headers).status_code == 200
        key = environ["ANYPORT_METRICS_KEY"]
        assert client.get("/metrics", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert client.get("/metrics").status_code == 401
    assert gateway.stop() == 0, gateway.errors


def test_a_pod_that_is_busy_is_not_ready_long_before_it_is_killed() -> None:
    readiness, liveness = probes()["readiness"], probes()["liveness"]
    assert readiness["httpGet"]["path"] == "/health/ready"
    assert liveness["httpGet"]["path"] == probes()["startup"]["httpGet"]["path"] == "/health/live"
    killed = liveness["periodSeconds"] * liveness["failureThreshold"]
    assert killed >= 5 * readiness["periodSeconds"] * readiness["failureThreshold"]


def test_with_disks_of_their_own_the_pods_are_the_same_but_for_the_volume(settings: Settings) -> None:
    overlay = read_yaml(KUBERNETES.parent / "kubernetes-durable" / "kustomization.yaml")
    assert overlay["resources"] == ["../kubernetes"]
    assert overlay["namespace"] == KUSTOMIZATION["namespace"]
    by_kind = {each["target"]["kind"]: yaml.safe_load(each["patch"]) for each in overlay["patches"]}
    made = patched(DEPLOYMENT, by_kind["Deployment"])
    assert made["kind"] == "StatefulSet"
    assert made["spec"]["serviceName"] == MANIFESTS["service.yaml"]["metadata"]["name"]
    (claim,) = made["spec"]["volumeClaimTemplates"]
    pod = made["spec"]["template"]["spec"]
    volumes = {claim["metadata"]["name"], *(volume["name"] for volume in pod["volumes"])}
    assert volumes == {volume["name"] for volume in POD["volumes"]}
    assert pod["containers"] == [GATEWAY]
    size = claim["spec"]["resources"]["requests"]["storage"]
    assert int(size.removesuffix("Gi")) * 2**30 >= 2 * settings.storage.journal_max_bytes
    scaler = patched(MANIFESTS["hpa.yaml"], by_kind["HorizontalPodAutoscaler"])
    assert scaler["spec"]["scaleTargetRef"]["kind"] == made["kind"]
