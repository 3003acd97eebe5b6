"""Images and documents as the protocol's blocks.

(platform.claude.com: vision, PDF support, files; 2026-08-22.)
"""

from __future__ import annotations

import base64
from typing import Any, Final

from adapters.anthropic.host import Host
from adapters.conversation import Media
from adapters.errors import Unsupported
from adapters.fidelity import Report

Block = dict[str, Any]
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF: Final = "application/pdf"
_TEXTS: Final = ("text/", "application/json", "application/xml", "application/yaml")
FILES_BETA: Final = "files-api-2025-04-14"


def media_block(media: Media, host: Host, report: Report) -> Block:
    """Returns the block of an image or a file; raises Unsupported naming the part that cannot be sent."""
    if media.kind == "image":
        if media.detail not in ("", "auto"):
            report.drop("messages.content.image_url.detail")
        return {"type": "image", "source": _source(media, host)}
    if media.kind == "file":
        block: Block = {"type": "document", "source": _document_source(media, host)}
        if media.name:
            block["title"] = media.name[:500]
        return block
    raise Unsupported(media.where, f"{media.where}: Claude takes no {media.kind}; send its text")


def _source(media: Media, host: Host) -> Block:
    if media.file_id or media.url:
        return _elsewhere(media, host)
    kind = "image/jpeg" if media.media_type == "image/jpg" else media.media_type
    if kind not in _IMAGES:
        raise Unsupported(media.where, f"{media.where}: {kind or 'an unnamed type'} is not one of {sorted(_IMAGES)}")
    return {"type": "base64", "media_type": kind, "data": media.data}


def _document_source(media: Media, host: Host) -> Block:
    if media.file_id or media.url:
        return _elsewhere(media, host)
    if media.media_type == _PDF:
        return {"type": "base64", "media_type": _PDF, "data": media.data}
    if media.media_type.startswith(_TEXTS):
        try:
            text = base64.b64decode(media.data, validate=True).decode()
        except ValueError as error:
            raise Unsupported(media.where, f"{media.where} is not base64 of UTF-8 text") from error
        return {"type": "text", "media_type": "text/plain", "data": text}
    kind = media.media_type or "an unnamed type"
    raise Unsupported(media.where, f"{media.where}: {kind} is neither PDF nor text; send its text")


def _elsewhere(media: Media, host: Host) -> Block:
    if media.file_id:
        if not media.file_id.startswith("file_") or not host.has_files:
            raise Unsupported(
                media.where, f"{media.where}: {media.file_id[:64]!r} is no file of this provider; send its data"
            )
        return {"type": "file", "file_id": media.file_id}
    if not host.takes_urls or not media.url.startswith(("https://", "http://")):
        raise Unsupported(media.where, f"{media.where}: this provider fetches nothing from there; send the data inline")
    return {"type": "url", "url": media.url}
