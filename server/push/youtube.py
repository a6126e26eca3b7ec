"""Captions in a YouTube live stream, by the ingestion URL that the stream's settings show ("Post captions to URL").

After YouTube's "Closed Captions over HTTP": lines of UTC time and text by POST, `<br>` for a new line, `seq` one higher
for each new post and the same for each retry.
"""

from datetime import UTC, datetime

import httpx2

from ..speech.cues import cues
from .address import with_query
from .courier import Post, Told

AGAIN = frozenset({408, 425, 429})  # what may be otherwise the next time, besides faults of the server


class YouTube:
    """One stream. Counts with the offset in the room, so that it goes on where another server stood."""

    name = "YouTube"

    def __init__(self, url: str) -> None:
        self._url = url

    async def begin(self, http: httpx2.AsyncClient) -> None:
        pass

    def post(self, told: Told) -> Post:
        zero = told.at - told.caption.start
        lines = [
            line for cue in cues([told.caption]) for line in (_time(zero + cue.start / 1000), "<br>".join(cue.lines))
        ]
        body = "".join(f"{line}\n" for line in lines).encode()
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return Post(with_query(self._url, {"seq": str(told.offset)}), body, headers)

    def hopeless(self, status: int) -> bool:
        return status < 500 and status not in AGAIN


def _time(seconds: float) -> str:
    """YYYY-MM-DDTHH:MM:SS.mmm, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
