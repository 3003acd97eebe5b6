"""Discord: a command of a bot is a request of a key, and its answer is written into messages while it comes.

Facts of Discord are of its own documentation (github.com/discord/discord-api-docs, `developers/`, read 2026-11-21),
unless another place is named.
"""
