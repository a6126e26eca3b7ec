"""Sotto: a realtime WebSocket captions server."""

__version__ = "0.1.0"
