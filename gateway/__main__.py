"""`python -m gateway`: the same as the command `anyport`."""

from __future__ import annotations

from gateway.cli.main import run

if __name__ == "__main__":
    run()
