"""The files that are made from the provider table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from docs.generate import __main__ as generate
from docs.generate import providers
from gateway.registry.builtin import load_builtin


def test_every_generated_file_is_as_it_is_committed() -> None:
    assert generate.main(["--check"]) == 0


def test_a_file_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "GENERATED", (("a/one.md", lambda: "1"), ("two.md", lambda: "2")))
    monkeypatch.setattr(generate, "CHECKS", (lambda: ["three: wrong"],))
    assert generate.main([]) == 0
    (tmp_path / "two.md").write_text("changed")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == ["two.md differs; run `make docs`", "three: wrong"]


def test_a_wrong_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


def test_every_provider_has_a_line_with_its_names() -> None:
    lines = {line.split("`")[1]: line for line in providers.providers_page().splitlines() if line.startswith("| `")}
    rows = load_builtin()
    assert set(lines) == set(rows)
    for name, row in rows.items():
        assert lines[name].count(" | ") == 8
        for text in (*(row.aliases or ()), *(row.base_url_envs or ()), str(row.base_url)):
            assert f"`{text}`" in lines[name]


def test_the_schema_accepts_the_table_and_refuses_a_wrong_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert providers.providers_faults() == []
    text = yaml.safe_dump({"providers": {"x": {"base_url": "http://h", "category": "Nowhere"}}})
    monkeypatch.setattr(providers, "_text", lambda: text)
    faults = providers.providers_faults()
    assert len(faults) == 1
    assert faults[0].startswith("config/providers.yaml: $.providers.x.category: ")


def test_the_schema_is_json_schema_of_a_known_draft() -> None:
    assert json.loads(providers.providers_schema())["$schema"].endswith("2020-12/schema")
