"""Sotto: a realtime WebSocket captions server."""

import os

__version__ = "0.1.0"

# onnxruntime's wheels tell its makers how they are used, unless they find this when they are first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# numpy would start a thread for each core, for products that are made nowhere here; it is a part of the start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
