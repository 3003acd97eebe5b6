"""`anyport explain MODEL`: what would become of a request, without making it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption

if TYPE_CHECKING:
    from gateway.engine.explanation import Explanation

_MAX_SEED = 2**32 - 1


def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A route, an alias or `provider/model`.")],
    fail: Annotated[
        str, typer.Option(metavar="SCRIPT", help="How attempts fail, such as `0=429:20,1=timeout`; others succeed.")
    ] = "",
    body: Annotated[
        str | None, typer.Option(metavar="FILE", help="The request as JSON, `-` for standard input; default: a chat.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=_MAX_SEED, help="Where chance begins, to get the same again.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the running gateway (admin.port), and count what it knows by now.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what would become of a request: names, candidates, attempts, timeouts, and the upstream request."""
    from gateway.cli.admin_client import AdminRefusal, AdminUnavailable
    from gateway.engine.script import BadScript, read_script
    from gateway.errors import GatewayError

    try:
        read_script(fail)
    except BadScript as error:
        typer.echo(f"--fail: {error}", err=True)
        raise typer.Exit(Exit.USAGE) from None
    content = None if body is None else _read(body)
    configuration = load_configuration(config)
    try:
        look = _ask if live else _play
        explanation = look(configuration, model, content, fail, seed)
    except (AdminUnavailable, AdminRefusal, GatewayError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(Exit.FAILURE) from None
    _show(explanation, as_json)


def _read(body: str) -> bytes:
    if body == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(body).read_bytes()
    except OSError as error:
        typer.echo(f"--body: {body} cannot be read: {(error.strerror or '').lower()}", err=True)
        raise typer.Exit(Exit.USAGE) from None


def _play(configuration: Configuration, model: str, body: bytes | None, fail: str, seed: int | None) -> Explanation:
    """Explains by the configuration alone, as if the gateway had just been started."""
    import asyncio
    from collections.abc import Callable

    from gateway.engine.script import read_script
    from gateway.http.admin.explained import MINIMAL, prepared, read_explained
    from gateway.runtime import Runtime

    async def prepare() -> Callable[[], Explanation]:
        runtime = Runtime(configuration.settings, configuration.environ)
        try:
            return prepared(runtime, read_explained(model, MINIMAL if body is None else body), read_script(fail), seed)
        finally:
            await runtime.aclose()

    with located(configuration.path):
        work = asyncio.run(prepare())
    return work()


def _ask(configuration: Configuration, model: str, body: bytes | None, fail: str, seed: int | None) -> Explanation:
    """Has the running gateway explain, by its live state."""
    import msgspec

    from adapters.codec import join_object, raw
    from gateway.cli.admin_client import AdminUnavailable, ask_admin
    from gateway.engine.explanation import Explanation
    from gateway.http.api.inbound import split

    members = {"model": raw(model), "fail": raw(fail)}
    if body is not None:
        split(body, unchecked="messages")  # what is no JSON object would break the one that it goes into
        members["body"] = msgspec.Raw(body)
    if seed is not None:
        members["seed"] = raw(seed)
    answer = ask_admin(configuration.settings.admin, "POST", "/admin/explain", join_object(members))
    try:
        return msgspec.convert(answer, Explanation)
    except msgspec.ValidationError:
        raise AdminUnavailable("the running gateway is of another version") from None


def _show(explanation: Explanation, as_json: bool) -> None:
    if as_json:
        import msgspec

        from gateway.cli.output import print_json

        print_json(msgspec.to_builtins(explanation))
    else:
        from gateway.cli.explanation import print_explanation

        print_explanation(explanation)
