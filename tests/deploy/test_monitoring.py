"""The dashboard and the alerts ask for figures that a gateway gives, by labels that those have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from gateway.telemetry.families import FAMILIES, Family
from tests.deploy.files import DEPLOY, ROOT, read_yaml
from tests.e2e.process import start_gateway

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "anyport.json").read_text())
ALERTS: list[dict[str, Any]] = [
    rule for group in read_yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"] for rule in group["rules"]
]
BY_NAME = {family.name: family for family in FAMILIES}
SLACK_SECONDS = 20
SCRAPE_LABELS = {"job", "instance"}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


class Used(NamedTuple):
    """One selector of an expression: the metric, the labels between its braces, and whether a range follows."""

    metric: str
    labels: set[str]
    has_range: bool


def expressions() -> Iterator[tuple[str, str]]:
    """Yields what asks, and its expression."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for note in DASHBOARD["annotations"]["list"]:
        yield note["name"], note["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())
_SELECTOR = re.compile(r"\b((?:anyport|gen_ai|process)_\w+|up)\b(?:\{([^}]*)\})?(\[[^\]]*\])?")


def used(expression: str) -> list[Used]:
    return [
        Used(match[1], set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', match[2] or "")), bool(match[3]))
        for match in _SELECTOR.finditer(without_groups(expression))
    ]


def without_groups(expression: str) -> str:
    """Returns the expression without its `by (...)`, where labels look like metrics."""
    return re.sub(r"\bby \([^)]*\)", "", expression)


def family_of(metric: str) -> Family | None:
    """Returns the family of what a scrape has under this name."""
    if metric in BY_NAME:
        return BY_NAME[metric] if BY_NAME[metric].kind != "histogram" else None
    base, _, suffix = metric.rpartition("_")
    family = BY_NAME.get(base)
    return family if family and family.kind == "histogram" and suffix in ("bucket", "sum", "count") else None


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a real gateway answers to Prometheus after one request."""
    directory = tmp_path_factory.mktemp("gateway")
    config = {"discovery": {"enabled": False}, "storage": {"directory": str(directory / "data")}}
    gateway = start_gateway(directory, config=config)
    gateway.wait_until_ready()
    question = {"model": "demo/echo", "messages": [{"role": "user", "content": "Hello!"}]}
    assert httpx2.post(f"{gateway.url}/v1/chat/completions", json=question, timeout=SLACK_SECONDS).status_code == 200
    text = httpx2.get(f"{gateway.url}/metrics", timeout=SLACK_SECONDS).text
    assert gateway.stop() == 0, gateway.errors
    return text


def test_there_are_expressions_to_look_at() -> None:
    assert len(PANELS) > 40
    assert len(ALERTS) > 10
    assert all(used(expression) for _, expression in EXPRESSIONS)


@pytest.mark.parametrize(("asker", "expression"), EXPRESSIONS, ids=[f"{who}" for who, _ in EXPRESSIONS])
def test_an_expression_asks_for_what_there_is(asker: str, expression: str, scrape: str) -> None:
    known = SCRAPE_LABELS | {"le"}
    for metric, labels, has_range in used(expression):
        if metric == "up":
            continue
        if metric.startswith("process_"):
            assert f"# TYPE {metric} " in scrape
            assert labels <= SCRAPE_LABELS
            continue
        family = family_of(metric)
        assert family is not None, f"{asker}: no gateway has {metric}"
        assert labels <= {*family.labels, *SCRAPE_LABELS}, asker
        known |= {*family.labels}
        is_growing = family.kind in ("counter", "histogram")
        assert has_range or not is_growing or "label_values" in expression, f"{asker}: {metric} only ever grows"
    grouped = {name.strip() for names in re.findall(r"\bby \(([^)]*)\)", expression) for name in names.split(",")}
    assert grouped <= known, asker


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['id']}")
def test_a_legend_names_labels_that_its_expression_has(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        grouped = {
            name.strip() for names in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for name in names.split(",")
        }
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped


def test_parentheses_and_braces_are_balanced() -> None:
    for asker, expression in EXPRESSIONS:
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), asker


def test_every_figure_of_the_gateway_that_can_mean_trouble_has_a_panel() -> None:
    shown = {metric for _, expression in EXPRESSIONS for metric in (each.metric for each in used(expression))}
    missing = {
        family.name
        for family in FAMILIES
        if family.name.startswith("anyport_")
        and not any(metric.startswith(family.name) for metric in shown)
        and not family.name.startswith("anyport_discovery_")
    }
    # How long pauses were is in the overhead.
    assert missing == {"anyport_retry_pause_seconds"}, "give these a panel in deploy/grafana/anyport.json"


def test_a_gateway_tells_of_its_ledger_before_anything_has_gone_wrong(scrape: str) -> None:
    for name in ("anyport_ledger_pending_records", "anyport_storage_up", "anyport_ledger_refusing", "anyport_workers"):
        assert re.search(rf"^{name}[ {{]", scrape, re.MULTILINE), name


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_settings_and_pages_that_alerts_name_exist() -> None:
    text = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    settings = (ROOT / "docs" / "configuration.md").read_text()
    for section, name in re.findall(r"(?<!/)\b(storage|server|state)\.(\w+)", text):
        assert f"### `{section}`" in settings
        assert f"| `{name}` |" in settings
    for page in re.findall(r"docs/[\w.]+\.md", text + json.dumps(DASHBOARD)):
        assert Path(ROOT, page).is_file()
