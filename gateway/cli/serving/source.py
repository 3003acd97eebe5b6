"""Where the configuration of a serving process is from: file, environment, and what the command line says instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.configuration import Configuration, files_of_secrets, load_configuration, located

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.access.premises import Standing
    from gateway.reload.reloader import Built
    from gateway.runtime import Runtime
    from gateway.settings.model import ServerSettings
    from gateway.settings.references import SecretFile


@dataclass(frozen=True, slots=True)
class Source:
    """Reads the configuration, once and again."""

    config: Path | None
    host: str | None = None
    port: int | None = None
    allow_unauthenticated: bool = False
    workers: int = 1
    """Processes that serve as one."""

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

    def secret_files(self) -> Sequence[SecretFile]:
        """Returns the files that secrets stand in, by what the settings say now; raises ConfigError."""
        return files_of_secrets(self.config)

    def load(self, data: bytes | None = None) -> Configuration:
        """Returns the configuration, of the text `data` if it is given; raises ConfigError."""
        configuration = load_configuration(self.config, data)
        given = {name: value for name, value in (("host", self.host), ("port", self.port)) if value is not None}
        if not given:
            return configuration
        from gateway.settings.load import with_server

        return Configuration(configuration.path, with_server(configuration.settings, given), configuration.environ)

    def examine(self, configuration: Configuration) -> None:
        """Looks into storage, and refuses settings that what is there must not be served with; raises ConfigError."""
        from gateway.cli.serving.premises import refuse, stock_of

        settings = configuration.settings
        with located(configuration.path):
            refuse(settings, self.standing(settings.server), stock_of(settings, configuration.environ))

    def first(self) -> Runtime:
        """Returns the runtime that a process starts with, once storage was examined; raises ConfigError."""
        configuration = self.load()
        runtime = self._runtime(configuration, None)
        with located(configuration.path):
            runtime.books.open()
        self.examine(configuration)
        return runtime

    def examined(self, data: bytes | None) -> Runtime:
        """Returns the runtime that a worker starts with, by the text that its parent has read; raises ConfigError."""
        return self._runtime(self.load(data), data)

    def build(self, before: Runtime, data: bytes | None = None) -> Built:
        """Returns a runtime to take the place of `before`; raises ConfigError."""
        from gateway.cli.serving.premises import Stock, refuse, refuse_half_written
        from gateway.reload.changes import with_fixed
        from gateway.reload.reloader import Built
        from gateway.runtime import Runtime

        source = self.pinned() if data is None else self
        data = source.read() if data is None else data
        configuration = source.load(data)
        settings = with_fixed(before.settings, configuration.settings)
        standing = self.standing(settings.server)
        picture = before.shared.stored.thing.picture
        with located(configuration.path, data):
            refuse(settings, standing, Stock(not picture.is_empty, next(picture.limited(), "")))
            refuse_half_written(before.settings, settings, data, has_keys=not picture.is_empty)
            runtime = Runtime(settings, configuration.environ, before=before, standing=standing)
        return Built(runtime, configuration.settings)

    def standing(self, server: ServerSettings) -> Standing:
        """Returns what becomes of requests without a key, and how many processes serve."""
        from gateway.access.premises import Standing
        from gateway.http.server import is_loopback

        # Without keys the gateway spends its owner's money for everyone who reaches the port.
        return Standing(self.workers, not (self.allow_unauthenticated or is_loopback(server.host)))

    def _runtime(self, configuration: Configuration, data: bytes | None) -> Runtime:
        from gateway.runtime import Runtime

        settings = configuration.settings
        with located(configuration.path, data):
            return Runtime(settings, configuration.environ, standing=self.standing(settings.server))
