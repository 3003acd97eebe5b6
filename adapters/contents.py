"""The content of one message: text, images, sounds, videos and files, in all the forms in which clients write them."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from adapters.codec import JSON, as_list, as_object, as_text
from adapters.errors import Unsupported

Object = dict[str, Any]


class Text(Struct, frozen=True):
    """A piece of text."""

    text: str
    cache: JSON = None
    """`cache_control`, as the client wrote it on the part; OpenAI's `prompt_cache_breakpoint` in the same words."""


class Media(Struct, frozen=True):
    """An image, a sound, a video or a file: inline data, an address, or an id at some provider."""

    kind: Literal["image", "audio", "video", "file"]
    where: str
    """Path of the part, for errors: `messages[2].content[0]`."""
    data: str = ""
    """Base64, without the `data:` head."""
    media_type: str = ""
    """Lower case, such as `image/png`; empty if nobody said."""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""
    """OpenAI's `image_url.detail`."""
    cache: JSON = None


Part = Text | Media


def read_parts(content: JSON, where: str) -> tuple[Part, ...]:
    """Returns the parts of a message's content; raises Unsupported naming the one that cannot be read."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),) if content else ()
    found = [_part(as_object(item), f"{where}[{index}]") for index, item in enumerate(as_list(content))]
    return tuple(part for part in found if part is not None)


_BREAKPOINT: Final = {"type": "ephemeral"}


def _part(item: Object, where: str) -> Part | None:
    kind = item.get("type")
    cache: JSON = item.get("cache_control") or (_BREAKPOINT if item.get("prompt_cache_breakpoint") else None)
    if kind in ("text", "input_text", "output_text"):
        return Text(as_text(item.get("text")), cache)
    if kind == "refusal":
        return Text(as_text(item.get("refusal")), cache)
    if kind in ("thinking", "redacted_thinking", "reference"):
        return None  # reasoning is read from the message; references point into a document that is not sent back
    reader = _MEDIA.get(str(kind))
    if reader is None:
        raise Unsupported(where, f"{where}: parts of type {kind!r} cannot be sent to this provider")
    return msgspec.structs.replace(reader(item, where), cache=cache)


def _image(item: Object, where: str) -> Media:
    inner: JSON = item.get("image_url") or item.get("image") or item.get("url")
    members = as_object(inner)
    url = as_text(inner) or as_text(members.get("url"))
    detail = as_text(members.get("detail")) or as_text(item.get("detail"))
    return _addressed(Media("image", where, detail=detail, file_id=as_text(item.get("file_id"))), url)


def _video(item: Object, where: str) -> Media:
    inner: JSON = item.get("video_url") or item.get("video")
    return _addressed(Media("video", where), as_text(inner) or as_text(as_object(inner).get("url")))


def _audio(item: Object, where: str) -> Media:
    inner = as_object(item.get("input_audio") or item.get("audio") or item.get("audio_url"))
    if url := as_text(inner.get("url")):
        return _addressed(Media("audio", where), url)
    format = as_text(inner.get("format")).lower() or "wav"
    return Media("audio", where, data=as_text(inner.get("data")), media_type=_SOUNDS.get(format, f"audio/{format}"))


def _file(item: Object, where: str) -> Media:
    inner = as_object(item.get("file")) or item
    url = as_text(inner.get("file_url")) or as_text(inner.get("url")) or as_text(inner.get("document_url"))
    data = as_text(inner.get("file_data"))
    name = as_text(inner.get("filename")) or as_text(inner.get("name")) or as_text(inner.get("document_name"))
    file = Media("file", where, file_id=as_text(inner.get("file_id")), name=name)
    if data and not data.startswith("data:"):
        return msgspec.structs.replace(file, data=data, media_type=_type_of_name(name))
    return _addressed(file, data or url)


_MEDIA: Final = {
    "image_url": _image,
    "input_image": _image,
    "image": _image,
    "video_url": _video,
    "video": _video,
    "input_audio": _audio,
    "audio": _audio,
    "audio_url": _audio,
    "file": _file,
    "input_file": _file,
    "file_url": _file,
    "document_url": _file,
}
_SOUNDS: Final = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_TYPES: Final = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
}


def _type_of_name(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2].lower(), "application/pdf" if not name else "")


def _addressed(media: Media, url: str) -> Media:
    """Returns `media` at an address, or with the data that a `data:` URL holds."""
    if not url and not media.file_id:
        raise Unsupported(media.where, f"{media.where} has neither data nor an address")
    if not url.startswith("data:"):
        return msgspec.structs.replace(media, url=url)
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or not encoding.endswith("base64"):
        raise Unsupported(media.where, f"{media.where}: a data URL must be `data:TYPE;base64,DATA`")
    return msgspec.structs.replace(media, data=data, media_type=media_type.strip().lower())
