"""Cohere's citations -> OpenAI's annotations, and `citations` with all that those have no place for.

A citation marks text by the characters of one content block, and names the documents and tool results that it rests
on. OpenAI knows citations of web pages only, so that a source becomes an annotation if it has an address.
"""

from __future__ import annotations

from typing import Any

from adapters.codec import as_list, as_object, as_text

Object = dict[str, Any]


def is_of_text(citation: Object) -> bool:
    """True for a citation in the answer itself, not in reasoning or a tool plan."""
    return citation.get("type") in (None, "TEXT_CONTENT")


def annotations_of(citation: Object, offset: int = 0) -> list[Object]:
    """Returns one annotation for each source with an address; `offset` is where its block begins in the answer."""
    start, end = citation.get("start"), citation.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        return []
    return [
        {
            "type": "url_citation",
            "url_citation": {"start_index": start + offset, "end_index": end + offset, "url": url, "title": title},
        }
        for url, title in map(_address, as_list(citation.get("sources")))
        if url
    ]


def _address(source: object) -> tuple[str, str]:
    """Returns the address and the title of a source, each empty if it has none."""
    members = as_object(source)
    content = as_object(members.get("document")) or as_object(members.get("tool_output"))
    url, title = content.get("url"), content.get("title")
    return (as_text(url), as_text(title))
