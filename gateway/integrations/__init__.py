"""Chats whose people ask as clients do: each integration is a package of its own."""
