"""Finals to a webhook, signed so that the receiver can tell they are ours, after standardwebhooks.com (v1).

The signature is over id, time and body. The id is the same for each attempt: who has seen it need not take it twice.
"""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Callable

import httpx2

from .courier import Post, Told

PREFIX = "whsec_"
AGAIN = frozenset({408, 409, 425, 429})  # what may be otherwise the next time, besides faults of the server


class Webhook:
    """One address of the operator's. Raises ValueError for a secret that is not `whsec_` and base64."""

    name = "the webhook"

    def __init__(self, url: str, secret: str, now: Callable[[], float] = time.time) -> None:
        self._url = url
        self._now = now
        try:
            self._secret = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("expected whsec_ and base64") from None

    async def begin(self, http: httpx2.AsyncClient) -> None:
        pass

    def post(self, told: Told) -> Post:
        caption = told.caption
        words = [{"text": w.text, "start": round(w.start, 3), "end": round(w.end, 3)} for w in caption.words]
        data = {
            "room": told.room, "session": told.session, "offset": told.offset, "utterance": caption.utterance,
            "start": round(caption.start, 3), "end": round(caption.end, 3), "text": caption.text, "words": words,
            "language": caption.language,
        }  # fmt: skip
        event = {"type": "caption.final", "timestamp": round(told.at, 3), "data": data}
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        id, now = f"{told.session}.{caption.utterance}", str(round(self._now()))
        signature = base64.b64encode(hmac.digest(self._secret, f"{id}.{now}.".encode() + body, "sha256")).decode()
        headers = {"webhook-id": id, "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
        return Post(self._url, body, headers | {"Content-Type": "application/json"})

    def hopeless(self, status: int) -> bool:
        return status < 500 and status not in AGAIN
