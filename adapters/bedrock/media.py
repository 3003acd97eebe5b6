"""Images, sounds, films and files of a message -> the blocks that Converse has for them.

All of them travel inside the request, or lie in S3; Bedrock fetches nothing from the web.
(Formats: `ImageFormat`, `DocumentFormat`, `VideoFormat`, `AudioFormat` of botocore 1.44.5.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.bedrock.names import document_name
from adapters.conversation import Media
from adapters.distinct import Distinct
from adapters.errors import Unsupported
from adapters.fidelity import Report

Object = dict[str, Any]
_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_SOUNDS: Final = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/opus": "opus",
    "audio/ogg": "ogg",
    "audio/mp4": "mp4",
    "audio/m4a": "m4a",
    "audio/webm": "webm",
    "audio/pcm": "pcm",
}
_FILMS: Final = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/x-matroska": "mkv",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/mpg": "mpg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_FILES: Final = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/html": "html",
    "application/msword": "doc",
    f"{_OFFICE}.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx",
}
_KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "image": _IMAGES,
    "audio": _SOUNDS,
    "video": _FILMS,
    "file": _FILES,
}
_EXTENSIONS: Final = frozenset(
    {*_IMAGES.values(), *_SOUNDS.values(), *_FILMS.values(), *_FILES.values(), "jpg", "3gp"} - {"three_gp"}
)
_SYNONYMS: Final = {"jpg": "jpeg", "3gp": "three_gp"}


def media_block(media: Media, names: Distinct, report: Report) -> Object:
    """Returns the block for a part; raises Unsupported for one that cannot be sent.

    `names` are those of the request's files so far: Bedrock wants each only once.
    """
    if media.detail not in ("", "auto"):
        report.drop("messages.content.image_url.detail")
    source = _source(media)
    kind = "image" if media.media_type in _IMAGES else media.kind
    if kind == "file":
        name = document_name(media.name or _stem(media.url) or "document", names)
        return {"document": {"format": _format(media, "file"), "name": name, "source": source}}
    if kind == "audio" and media.url:
        raise Unsupported(media.where, f"{media.where}: sounds must be sent as base64 to this provider")
    return {kind: {"format": _format(media, kind), "source": source}}


def _source(media: Media) -> Object:
    if media.url.startswith("s3://"):
        return {"s3Location": {"uri": media.url}}
    if media.url:
        raise Unsupported(
            media.where,
            f"{media.where}: Bedrock fetches nothing from the web; send a `data:` URL, or an s3:// URI",
        )
    if media.file_id:
        raise Unsupported(media.where, f"{media.where}: files kept by another provider cannot be sent; send their data")
    if not media.data:
        raise Unsupported(media.where, f"{media.where} has no data")
    return {"bytes": media.data}


def _format(media: Media, kind: str) -> str:
    known = _KINDS[kind]
    if found := known.get(media.media_type):
        return found
    extension = (media.name or media.url).rpartition(".")[2].lower()
    if not media.media_type and extension in _EXTENSIONS:
        extension = _SYNONYMS.get(extension, extension)
        if extension in known.values():
            return extension
    said = media.media_type or "an unknown type"
    raise Unsupported(media.where, f"{media.where}: {said} is not one of {', '.join(dict.fromkeys(known.values()))}")


def _stem(url: str) -> str:
    return url.rpartition("/")[2]
