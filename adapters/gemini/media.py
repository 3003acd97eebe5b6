"""Images, sounds, videos and files as Gemini's `inlineData` and `fileData`."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from adapters.conversation import Media
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.gemini.models import Model

Object = dict[str, Any]
_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
_GOOGLES: Final = ("generativelanguage.googleapis.com", "www.youtube.com", "youtube.com", "youtu.be")
"""Hosts whose addresses every model takes: the Files API, and videos."""
_DEFAULT_TYPES: Final = {"image": "image/jpeg", "audio": "audio/mpeg", "video": "video/mp4", "file": "application/pdf"}
_TYPES: Final = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "bmp": "image/bmp", "mp3": "audio/mpeg", "wav": "audio/wav",
    "flac": "audio/flac", "ogg": "audio/ogg", "m4a": "audio/m4a", "aac": "audio/aac", "mp4": "video/mp4",
    "mov": "video/quicktime", "webm": "video/webm", "mpeg": "video/mpeg", "mpg": "video/mpeg", "pdf": "application/pdf",
    "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html", "json": "application/json",
}  # fmt: skip


def media_part(media: Media, model: Model, report: Report, *, is_vertex: bool) -> Object:
    """Returns the part; raises Unsupported for what cannot be sent to this model."""
    if media.detail not in ("", "auto"):
        report.drop("messages.content.image_url.detail")
    if media.url or media.file_id:
        return _addressed(media, model, report, is_vertex=is_vertex)
    made: Object = {"mimeType": media.media_type or _DEFAULT_TYPES[media.kind], "data": media.data}
    if media.name:
        if is_vertex:
            made["displayName"] = media.name
        else:
            report.drop("messages.content.file.filename")
    return {"inlineData": made}


def _addressed(media: Media, model: Model, report: Report, *, is_vertex: bool) -> Object:
    address = media.url or _address_of_id(media)
    parts = _split(address)
    if parts is None:
        raise Unsupported(media.where, f"{media.where}: addresses must begin with https://, http:// or gs://")
    scheme, host, path = parts
    if not is_vertex and not model.takes_addresses and scheme != "gs" and host not in _GOOGLES:
        raise Unsupported(
            media.where, f"{media.where}: this model fetches no addresses; send a base64 data URL instead"
        )
    if media.name:
        report.drop("messages.content.file.filename")
    made: Object = {"fileUri": address}
    media_type = media.media_type or _TYPES.get(path.rpartition(".")[2].lower(), "")
    if not media_type and is_vertex:
        media_type = _DEFAULT_TYPES[media.kind]  # Vertex demands one
    return {"fileData": {"mimeType": media_type, **made} if media_type else made}


def _address_of_id(media: Media) -> str:
    if media.file_id.startswith("files/"):
        return _FILES + media.file_id
    if "://" in media.file_id:
        return media.file_id
    raise Unsupported(
        f"{media.where}.file_id",
        f"{media.where}: file ids of other providers are not known here; send the data, or `files/...` of Google's",
    )


def _split(address: str) -> tuple[str, str, str] | None:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme.lower() not in ("https", "http", "gs") or not host:
        return None
    return parts.scheme.lower(), host, parts.path
