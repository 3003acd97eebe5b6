"""Where the configuration of a serving process is from: file, environment, and what the command line says instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.configuration import Configuration, load_configuration, located

if TYPE_CHECKING:
    from gateway.reload.reloader import Built
    from gateway.runtime import Runtime
    from gateway.settings.model import ServerSettings


@dataclass(frozen=True, slots=True)
class Source:
    """Reads the configuration, once and again."""

    config: Path | None
    host: str | None = None
    port: int | None = None
    allow_unauthenticated: bool = False

    def pinned(self) -> Source:
        """Returns the same, but held to the file that is there now: that it vanishes must not mean all defaults."""
        import os
        from dataclasses import replace

        from gateway.settings.load import find_config

        return replace(self, config=find_config(self.config, os.environ, Path()))

    @property
    def watched(self) -> Path:
        """The file to look at; it need not be there."""
        from gateway.settings.load import CONFIG_NAME

        return self.config or Path(CONFIG_NAME)

    def read(self) -> bytes | None:
        """Returns what the file says, None without one; raises ConfigError."""
        from gateway.settings.load import read_file

        path = self.pinned().config
        return None if path is None else read_file(path)

    def load(self, data: bytes | None = None) -> Configuration:
        """Returns the configuration, of the text `data` if it is given; raises ConfigError."""
        configuration = load_configuration(self.config, data)
        given = {name: value for name, value in (("host", self.host), ("port", self.port)) if value is not None}
        if not given:
            return configuration
        from gateway.settings.load import with_server

        return Configuration(configuration.path, with_server(configuration.settings, given), configuration.environ)

    def first(self, data: bytes | None = None) -> Runtime:
        """Returns the runtime that a process starts with; raises ConfigError."""
        from gateway.runtime import Runtime

        configuration = self.load(data)
        _refuse_open_doors(configuration.settings.server, self.allow_unauthenticated)
        with located(configuration.path, data):
            return Runtime(configuration.settings, configuration.environ)

    def build(self, before: Runtime, data: bytes | None = None) -> Built:
        """Returns a runtime to take the place of `before`; raises ConfigError."""
        from gateway.reload.changes import with_fixed
        from gateway.reload.reloader import Built
        from gateway.runtime import Runtime

        source = self.pinned() if data is None else self
        data = source.read() if data is None else data
        configuration = source.load(data)
        settings = with_fixed(before.settings, configuration.settings)
        _refuse_open_doors(settings.server, self.allow_unauthenticated)
        with located(configuration.path, data):
            runtime = Runtime(settings, configuration.environ, before=before)
        return Built(runtime, configuration.settings)


def _refuse_open_doors(server: ServerSettings, allow_unauthenticated: bool) -> None:
    """Without keys the gateway spends its owner's money for everyone who reaches the port."""
    from gateway.errors import ConfigError, Fault
    from gateway.http.server import is_loopback

    if server.api_keys or allow_unauthenticated or is_loopback(server.host):
        return
    message = (
        f"no API key is configured, and other machines can reach {server.host}: set server.api_keys, "
        "listen on 127.0.0.1, or start with --allow-unauthenticated"
    )
    raise ConfigError([Fault("anyport", 0, 0, "server.api_keys", message)])
