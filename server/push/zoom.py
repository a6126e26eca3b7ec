"""Captions in a Zoom meeting, by the caption URL that its host copies ("API token").

After Zoom's article "Using a third-party closed captioning service": text/plain by POST, `seq` one higher for each new
caption and the same for each retry, `lang` as language and country; every failure may be tried again.
"""

import httpx2

from .address import with_query
from .courier import TIMEOUT_S, Post, Told

LANGUAGES = {
    "en": "en-US",
    "de": "de-DE",
    "ja": "jp-JP",
    "es": "es-ES",
    "fr": "fr-FR",
    "zh": "zh-CN",
}  # as Zoom has them


class Zoom:
    """One meeting. The count goes on where the meeting's stands, whoever wrote there before."""

    name = "Zoom"

    def __init__(self, url: str) -> None:
        self._url = url
        self._seq = 0  # of the newest caption

    async def begin(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get(_seq_url(self._url), timeout=TIMEOUT_S)
        if answer.status_code >= 500:
            answer.raise_for_status()
        text = answer.text.strip()
        self._seq = int(text) if answer.is_success and text.isascii() and text.isdigit() and len(text) < 10 else 0

    def post(self, told: Told) -> Post:
        self._seq += 1
        language = LANGUAGES.get((told.caption.language or "").split("-")[0])
        query = {"seq": str(self._seq)} | ({"lang": language} if language else {})
        body = f"{told.caption.text}\n".encode()
        return Post(with_query(self._url, query), body, {"Content-Type": "text/plain; charset=utf-8"})

    def hopeless(self, status: int) -> bool:
        return False


def _seq_url(url: str) -> str:
    """…/closedcaption/seq, where the newest count that was taken is told."""
    path, mark, query = url.partition("?")
    return f"{path.rstrip('/')}/seq{mark}{query}"
