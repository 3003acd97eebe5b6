"""Writes a language model of 40 kilobytes that llama.cpp serves: `tiny_model.py FILE.gguf`.

Nothing is learnt. Hidden dimension 0 is 1 for every token and nothing in the network writes to it, so the first
column of the output matrix is a bias: it makes words likely, JSON's closing signs fairly likely (a grammar then
comes to its end), and the end of the text likely enough that answers are short. The rest is noise with a seed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

NAME = "tiny-salad"
HIDDEN, HEADS, FEED_FORWARD, CONTEXT = 32, 2, 32, 4096
WORDS = [
    "a",
    "and",
    "answer",
    "are",
    "blue",
    "bread",
    "cloud",
    "door",
    "every",
    "fish",
    "garden",
    "green",
    "hello",
    "house",
    "in",
    "is",
    "it",
    "lamp",
    "long",
    "more",
    "morning",
    "never",
    "of",
    "on",
    "or",
    "over",
    "paper",
    "quick",
    "rain",
    "red",
    "river",
    "road",
    "salt",
    "she",
    "small",
    "snow",
    "some",
    "stone",
    "sun",
    "the",
    "then",
    "they",
    "to",
    "tree",
    "under",
    "very",
    "was",
    "water",
    "we",
    "wind",
    "with",
    "word",
    "yellow",
    "yes",
    "you",
]
CONTROL = ("<unk>", "<s>", "</s>")
CALL = "<tool_call>\n"
CALL_TOKEN = len(CONTROL) + 256
"""Id of the token that begins a function call; the model says it only to requests with a `logit_bias` for it, unless
it was written with another bias."""
BIAS_WORD, BIAS_END, BIAS_CLOSING, BIAS_ALPHANUMERIC, BIAS_OTHER = 5.0, 6.2, 6.0, 0.0, -14.0
_NOISE = 0.05

TEMPLATE = """\
{%- if tools -%}
<|system|>
Functions, one JSON object each:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
Call one with <tool_call>, a line with {"name": NAME, "arguments": OBJECT}, and </tool_call>.</s>
{% endif -%}
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' -}}
{%- if message.content -%}{{- message.content -}}{%- endif -%}
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{%- if call.function.arguments is string -%}
{{- call.function.arguments -}}
{%- else -%}
{{- call.function.arguments | tojson -}}
{%- endif -%}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '</s>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\\n' -}}
{%- endif -%}
"""


def write_model(path: Path, *, seed: int = 1, call_bias: float = BIAS_OTHER) -> Path:
    """Writes the model to `path` and returns it; with a `call_bias` like a word's it calls functions unasked."""
    pieces = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), CALL, *("\u2581" + word for word in WORDS)]
    writer = gguf.GGUFWriter(str(path), "llama")
    _add_shape(writer, len(pieces))
    _add_tokenizer(writer, pieces)
    for name, tensor in _tensors(len(pieces), np.random.default_rng(seed), call_bias).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_shape(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    writer.add_name(NAME)
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_tokenizer(writer: gguf.GGUFWriter, pieces: list[str]) -> None:
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.USER_DEFINED] + [gguf.TokenType.NORMAL] * len(WORDS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([0.0] * len(pieces))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _bias(piece: int, call_bias: float) -> float:
    byte = piece - len(CONTROL)
    if piece == CONTROL.index("</s>"):
        return BIAS_END
    if byte < 0:
        return -60.0
    if piece == CALL_TOKEN:
        return call_bias
    if byte >= 256:
        return BIAS_WORD
    sign = chr(byte)
    if sign in '"}]':
        return BIAS_CLOSING
    return BIAS_ALPHANUMERIC if sign.isascii() and sign.isalnum() else BIAS_OTHER


def _tensors(vocabulary: int, random: np.random.Generator, call_bias: float) -> dict[str, np.ndarray]:
    def noise(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * _NOISE).astype(np.float32)

    embedding = noise(vocabulary, HIDDEN)
    embedding[:, 0] = 1.0
    # After the last normalisation dimension 0 holds nearly the whole length, sqrt(HIDDEN).
    head = noise(vocabulary, HIDDEN) * 6
    head[:, 0] = np.array([_bias(piece, call_bias) for piece in range(vocabulary)]) / np.sqrt(HIDDEN)
    into_stream = {
        "blk.0.attn_output.weight": noise(HIDDEN, HIDDEN),
        "blk.0.ffn_down.weight": noise(HIDDEN, FEED_FORWARD),
    }
    for matrix in into_stream.values():
        matrix[0] = 0
    ones = np.ones(HIDDEN, np.float32)
    return {
        "token_embd.weight": embedding,
        "blk.0.attn_norm.weight": ones,
        "blk.0.attn_q.weight": noise(HIDDEN, HIDDEN),
        "blk.0.attn_k.weight": noise(HIDDEN, HIDDEN),
        "blk.0.attn_v.weight": noise(HIDDEN, HIDDEN),
        "blk.0.ffn_norm.weight": ones,
        "blk.0.ffn_gate.weight": noise(FEED_FORWARD, HIDDEN),
        "blk.0.ffn_up.weight": noise(FEED_FORWARD, HIDDEN),
        **into_stream,
        "output_norm.weight": ones,
        "output.weight": head,
    }


if __name__ == "__main__":
    write_model(Path(sys.argv[1]))
