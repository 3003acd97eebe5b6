"""Ollama's lines -> OpenAI's stream (docs.ollama.com/api/streaming, read 2026-08-21).

One JSON object a line. A tool call comes whole; reasoning and text may share a line where the one turns into the
other; the last line says `done`. An error in the middle is a line of its own under status 200.
"""

from __future__ import annotations

from adapters.chunks import EMPTY_STRINGS, TextChunks
from adapters.codec import decode, encode
from adapters.errors import UpstreamSaid
from adapters.failures import describe
from adapters.framing.ndjson import LineSplitter
from adapters.ollama.failures import said_failure
from adapters.ollama.generation import echoed, wanted_logprobs
from adapters.ollama.reply import arguments_for, call_id, read_answer
from adapters.ollama.toolset import custom_names
from adapters.ollama.wire import (
    Line,
    Message,
    ToolCall,
    completion_logprobs,
    finish_of,
    name_of,
    read_line,
    said_error,
    text_of,
    token_list,
    usage_of,
)
from adapters.translated import TranslatedStream, json_string, raw_string
from adapters.types import MAX_EVENT_BYTES, Call, Head, Operation, Target


class OllamaStream(TranslatedStream[bytes]):
    """Decodes one stream of a chat or of a text completion."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, LineSplitter(MAX_EVENT_BYTES), whole=read_answer)
        is_text = call.operation is Operation.COMPLETIONS
        self._echo = echoed(call.fields) if is_text else ""
        self._wants_logprobs = is_text and wanted_logprobs(call.fields) > 0
        self._offset = 0
        self._customs: frozenset[str] | None = None

    def event(self, event: bytes) -> None:
        """Reads one line."""
        if not event.isascii():
            event.decode()
        line = read_line(event)
        if self.model is None:
            self.begin(line.model)
        if line.message is not None:
            self._message(line.message)
        elif line.response:
            self._text(line)
        if line.error and said_error(line):
            raise UpstreamSaid(said_failure(self._target, self._head, describe({"error": decode(line.error)})))
        if line.logprobs and line.message is not None:
            tokens = token_list(line.logprobs)
            if tokens:
                self.add_logprobs({"content": tokens, "refusal": None})
        if line.done:
            self.usage = usage_of(line)
            self.end(finish_of(line, has_tools=self.tool_count > 0))
            self.complete()

    def _message(self, message: Message) -> None:
        if message.thinking:
            self.think(raw_string(message.thinking))
        if message.content:
            self.say(raw_string(message.content))
        for call in message.tool_calls or ():
            self._tool(call)

    def _tool(self, found: ToolCall) -> None:
        name = name_of(found)
        if self._customs is None:
            self._customs = custom_names(self._call.fields)
        is_custom = name in self._customs
        arguments = arguments_for(found, is_custom=is_custom)
        index = self.open_tool(found.id or call_id(self._call, self.tool_count), name, is_custom=is_custom)
        self.add_arguments(index, json_string(arguments), is_custom=is_custom)

    def _text(self, line: Line) -> None:
        raw = raw_string(line.response)
        if self._echo:
            self.say(encode(self._echo))
            self._offset, self._echo = len(self._echo), ""
        tokens = token_list(line.logprobs) if self._wants_logprobs else []
        chunks = self._started() if tokens and raw not in EMPTY_STRINGS else None
        if isinstance(chunks, TextChunks):
            self._out.append(chunks.text(raw, encode(completion_logprobs(tokens, self._offset))))
        else:
            self.say(raw)
        if self._wants_logprobs:
            self._offset += len(text_of(line.response))
