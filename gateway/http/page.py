"""GET /docs: the OpenAPI description as one page that loads nothing from anywhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{margin-bottom:0}h2{margin-top:2.2rem;font-size:1.05rem;font-family:ui-monospace,monospace}
pre{background:#f4f4f2;padding:.8rem 1rem;overflow:auto;border-radius:6px}.verb{color:#0a6}.sub{color:#666}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}pre{background:#222}.sub{color:#999}}
"""


def docs_page(document: dict[str, Any], host: str) -> str:
    """Returns the page; `host` is the name under which the reader reached the gateway."""
    sections = [
        _section(verb, path, operation, host)
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
    ]
    version = escape(str(document["info"]["version"]))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Anyport</title><style>{_STYLE}</style><h1>Anyport</h1>"
        f"<p class=sub>version {version} &middot; <a href=openapi.json>openapi.json</a></p>"
        "<p>Point any OpenAI SDK at this address, with <code>/v1</code> behind it, and name a model as "
        "<code>provider/model</code> or by a route of the configuration.</p>" + "".join(sections)
    )


def _section(verb: str, path: str, operation: dict[str, Any], host: str) -> str:
    title = f"<h2><span class=verb>{escape(verb.upper())}</span> {escape(path)}</h2>"
    return (
        f"{title}<p>{escape(operation.get('summary', ''))}</p><pre>{escape(_curl(verb, path, operation, host))}</pre>"
    )


def _curl(verb: str, path: str, operation: dict[str, Any], host: str) -> str:
    url = f"http://{host}{path}"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if verb != "post" or not content:
        return f"curl {url}"
    body = json.dumps(content["example"])
    return f"curl {url} \\\n  -H 'content-type: application/json' \\\n  -d '{body}'"
