"""The Anyport gateway: edge, routing, the attempt loop, transport, telemetry and the command line."""

__version__ = "0.1.0"
