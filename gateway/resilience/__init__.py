"""Decisions about attempts, as pure functions."""
