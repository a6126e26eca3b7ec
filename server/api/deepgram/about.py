"""What Deepgram's answers tell of themselves: who answered, when, and to which request."""

import uuid
from datetime import UTC, datetime
from typing import Any


def new_request_id() -> str:
    return str(uuid.uuid4())


class About:
    """One request, and the model that answers it."""

    def __init__(self, engine: str) -> None:
        self.request_id = new_request_id()
        self.created = datetime.now(UTC)
        self._model_uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, engine))
        self._model_info = {"name": engine, "version": "unknown", "arch": "sotto"}

    def of_result(self) -> dict[str, Any]:
        """`metadata` in each live result."""
        return {"request_id": self.request_id, "model_info": self._model_info, "model_uuid": self._model_uuid}

    def of_all(self, sha256: str, duration: float, channels: int = 1) -> dict[str, Any]:
        """The metadata of a whole stream or file; `sha256` is of all its bytes, `duration` in seconds."""
        return {
            "transaction_key": "deprecated",
            "request_id": self.request_id,
            "sha256": sha256,
            "created": self.created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(duration, 3),
            "channels": channels,
            "models": [self._model_uuid],
            "model_info": {self._model_uuid: self._model_info},
        }
