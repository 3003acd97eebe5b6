"""Cutting byte streams into messages: server-sent events."""
