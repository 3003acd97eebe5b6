"""Upstream secrets: where they come from, how they go on the wire, and how nothing else shows them."""
