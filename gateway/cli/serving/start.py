"""What `serve` says when it starts: what is ready, what was found, what to try, or what to do first."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.serving.route_summary import summaries
from gateway.registry.provider import DEMO_MODEL, Provider
from gateway.runtime import Runtime
from gateway.state.memory import MemoryState

MAX_SHOWN_MODELS = 3


def print_start(console: Console, runtime: Runtime, url: str) -> None:
    """Prints the table of providers and a curl line that works; called once the first look around is over."""
    ready = [provider for provider in runtime.catalogue.ready()]
    listing = runtime.catalogue.listing.models
    local = [provider for provider in runtime.catalogue.local() if provider.spec.id in listing]
    rows = [*local, *(provider for provider in ready if provider not in local)]
    console.print(f"[bold]Anyport[/bold] listens on [bold]{url}/v1[/bold]")
    if rows or runtime.settings.routes:
        console.print(_table(runtime, rows, local))
    else:
        _say_what_to_do(console)
    if not isinstance(runtime.state, MemoryState):
        console.print(
            Text(f"Replicas count limits together, and tell each other which keys rest: {runtime.state.status}")
        )
    if kept := _place_of_records(runtime):
        console.print(Text(f"Keys and usage are kept in {kept}"))
    for warning in runtime.warnings:
        console.print(Text(warning, style="yellow"))
    console.print("Try it:")
    console.print(Text(curl_line(url, _model_to_try(runtime, local, ready), has_key=not runtime.keys.is_open)))


def _place_of_records(runtime: Runtime) -> str:
    """Says where what must not be lost is, "" if it is nowhere."""
    if runtime.books.ledger is None:
        return ""
    stored = runtime.shared.stored.thing
    return str(stored.directory) if runtime.settings.storage.url is None else stored.storage.place


def _table(runtime: Runtime, rows: Sequence[Provider], local: Sequence[Provider]) -> Table:
    listing = runtime.catalogue.listing.models
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("served as", "provider", "credential", "models"):
        table.add_column(title)
    for route in summaries(runtime):
        left = f" ({share} left out)" if (share := route.share_left_out) else ""
        then = f"; then {', '.join(route.fallbacks)}" if route.fallbacks else ""
        table.add_row(route.name, f"route, {route.strategy}", "", ", ".join(route.deployments) + left + then)
    for provider in rows:
        spec = provider.spec
        where = provider.base_url if provider in local else spec.display_name
        credential = "none needed" if provider.key_ring.is_empty else provider.source
        table.add_row(f"{spec.id}/...", where, credential, _models(listing.get(spec.id)))
    return table


def _models(ids: Sequence[str] | None) -> str:
    if ids is None:
        return ""
    shown = ", ".join(ids[:MAX_SHOWN_MODELS])
    return f"{shown}, ... ({len(ids)})" if len(ids) > MAX_SHOWN_MODELS else shown


def _say_what_to_do(console: Console) -> None:
    console.print("No provider's key is in the environment and no model server was found on this machine.")
    console.print("  Export a key and start again:  export OPENAI_API_KEY=...  (or GROQ_API_KEY, MISTRAL_API_KEY, ...)")
    console.print("  Or start a server here, it is found within 30 s:  ollama serve  (or LM Studio, vLLM, llama.cpp)")
    console.print(f"  Until then {DEMO_MODEL} says back what it is told. `anyport providers` lists every provider.")


def _model_to_try(runtime: Runtime, local: Sequence[Provider], ready: Sequence[Provider]) -> str:
    for route in runtime.settings.routes:
        if runtime.is_served(route):
            return route
    for provider in (*local, *ready):
        models = runtime.catalogue.listing.models.get(provider.spec.id) or provider.spec.example_models
        if models:
            return f"{provider.spec.id}/{models[0]}"
    return DEMO_MODEL


def curl_line(url: str, model: str, *, has_key: bool) -> str:
    """Returns a command line that talks to `model` through the gateway at `url`."""
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]})
    key = " -H 'authorization: Bearer YOUR_KEY'" if has_key else ""
    return f"  curl -N {url}/v1/chat/completions -H 'content-type: application/json'{key} -d '{body}'"
