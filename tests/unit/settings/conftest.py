"""A place for a file of settings."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual file of the working directory, which has none yet."""
    monkeypatch.chdir(tmp_path)
    return Path("anyport.yaml")
