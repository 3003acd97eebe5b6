"""`anyport top`: what the running gateway is doing, as it does it."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.configuration import load_configuration
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption

if TYPE_CHECKING:
    from gateway.cli.admin_client import Feed
    from gateway.settings.model import AdminSettings

OnceOption = Annotated[bool, typer.Option("--once", help="Listen for two seconds, print one picture and end.")]
ONCE_SECONDS: Final = 2.0
_DRAW_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25
"""How often keys and the size of the terminal are looked at."""
_AGAIN_SECONDS: Final = 1.0
_TYPES: Final = "request,trouble,trouble_ended"
_PLAIN_WIDTH: Final = 120


def top(once: OnceOption = False, config: ConfigOption = None) -> None:
    """Show what the running gateway is doing: rates, latencies, cost, what rests, the last errors; q ends it."""
    from gateway.cli.admin_client import AdminRefusal, AdminUnavailable

    admin = load_configuration(config).settings.admin
    if not once and not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(
            "anyport top draws on a terminal, and this is none; `anyport top --once` prints one picture",
            file=sys.stderr,
        )
        raise typer.Exit(Exit.USAGE)
    watch = Watch(admin)
    try:
        watch.start()
    except (AdminUnavailable, AdminRefusal) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(Exit.FAILURE) from None
    try:
        _print_once(watch) if once else _show(watch)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    finally:
        watch.close()


class Watch:
    """Follows a gateway in the background, and goes back to it when it is there again."""

    def __init__(self, admin: AdminSettings) -> None:
        from gateway.cli.top.board import Board

        self.board = Board(time.monotonic())
        self.lock = threading.Lock()
        """Whoever looks at the board holds it."""
        self.status = ""
        self._admin = admin
        self._feed: Feed | None = None
        self._is_over = threading.Event()

    def start(self) -> None:
        """Begins; raises AdminUnavailable and AdminRefusal if there is nothing to follow."""
        from gateway.cli.admin_client import Feed

        self._look()
        self._feed = Feed(self._admin, _TYPES)
        for work in (self._listen, self._look_on):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._is_over.set()
        if self._feed is not None:
            self._feed.end()

    def _listen(self) -> None:
        from gateway.cli.admin_client import AdminRefusal, AdminUnavailable, Feed

        while not self._is_over.is_set():
            try:
                if self._feed is None:
                    self._feed = Feed(self._admin, _TYPES)
                for kind, data in self._feed.events():
                    with self.lock:
                        self.board.hear(kind, data, time.monotonic())
                self.status = "the gateway has ended; waiting for it"
            except (AdminUnavailable, AdminRefusal) as error:
                self.status = f"{error}; trying again"
            self._feed = None
            self._is_over.wait(_AGAIN_SECONDS)

    def _look_on(self) -> None:
        from gateway.cli.admin_client import AdminRefusal, AdminUnavailable

        while not self._is_over.wait(_AGAIN_SECONDS):
            try:
                self._look()
                self.status = "" if self._feed is not None else self.status
            except (AdminUnavailable, AdminRefusal) as error:
                self.status = f"{error}; trying again"

    def _look(self) -> None:
        from gateway.cli.admin_client import ask_admin

        deployments = ask_admin(self._admin, "GET", "/admin/deployments")["data"]
        keys = ask_admin(self._admin, "GET", "/admin/keys/upstream")["data"]
        with self.lock:
            self.board.deployments, self.board.keys = deployments, keys


def _print_once(watch: Watch) -> None:
    import shutil

    from gateway.cli.top.picture import picture

    time.sleep(ONCE_SECONDS)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    with watch.lock:
        lines = picture(watch.board, time.monotonic(), width=width, height=None, status=watch.status)
    print("\n".join(line.rstrip() for line in lines))


def _show(watch: Watch) -> None:
    from gateway.cli.top.picture import picture
    from gateway.cli.top.terminal import Terminal

    with Terminal() as terminal:
        drawn_at, drawn_size = 0.0, (0, 0)
        while True:
            now, size = time.monotonic(), terminal.size
            if now >= drawn_at + _DRAW_SECONDS or size != drawn_size:
                drawn_at, drawn_size = now, size
                status = watch.status or "q ends it"
                with watch.lock:
                    lines = picture(watch.board, now, width=size[0], height=size[1], status=status)
                terminal.draw(lines)
            if "q" in terminal.key(_LOOK_SECONDS).lower():
                return
