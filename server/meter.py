"""How late one session's captions are: when its sound came, and when the captions of it went out."""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable

from .metrics import Metrics
from .speech.types import Caption

ARRIVALS = 1200  # chunks whose coming is remembered: five minutes, and the longest wait for a final is two
NEW_WORDS = 60  # words of one caption that are counted; more at once are no captions


class Meter:
    """Tells `metrics`; `now` gives wall-clock seconds."""

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._metrics = metrics
        self.now = now
        self._arrived: deque[tuple[float, float]] = deque(maxlen=ARRIVALS)  # (media time, wall-clock time)
        self._shown: dict[int, int] = {}  # words of each utterance that is not final
        self._audio = metrics.audio.labels("live")

    def heard(self, time: float, came: float) -> None:
        """All sound before this media time is here, the last of it since `came`. First: where the session begins."""
        if self._arrived:
            self._audio.inc(max(0.0, time - self._arrived[-1][0]))
        if not self._arrived or time > self._arrived[-1][0]:
            self._arrived.append((time, came))

    def told(self, caption: Caption) -> None:
        """It goes out now."""
        kind = "final" if caption.final else "partial"
        self._metrics.captions.labels(kind).inc()
        words = len(caption.text.split())
        new = words - self._shown.get(caption.utterance, 0)
        if caption.final:
            self._shown.pop(caption.utterance, None)
        else:
            self._shown[caption.utterance] = max(words, words - new)
        at = bisect_left(self._arrived, (caption.end, 0.0))
        if at == len(self._arrived) or (at == 0 and len(self._arrived) == ARRIVALS):
            return  # its sound came too long ago
        age = self.now() - self._arrived[at][1]
        self._metrics.caption_age.labels(kind).observe(age)
        for _ in range(min(new, NEW_WORDS)):
            self._metrics.word_age.observe(age)
