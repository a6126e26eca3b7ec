"""From captions to items. An item is what one commit holds, whether the client commits or the server finds the turns.

Deltas only ever grow a text, so they are made of what is stable; a final that corrects it has the last word.
"""

from collections import deque
from dataclasses import dataclass, field

from ...live import Cleared, Finalized, Output, Passed, Settled
from ...speech.agreement import beyond, join
from ...speech.session import Ended, Started, Unheard
from ...speech.types import FRAME_S, Caption
from ..service import new_id
from .events import Event, event

SHORTEST = 0.1 - FRAME_S  # seconds; OpenAI wants 100 ms for an item, and less than a frame may still be unheard
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Empty(Exception):
    """There is no sound to commit."""


@dataclass(slots=True)
class Text:
    """Of one utterance: what was told of it, and its final."""

    told: str = ""
    final: str | None = None
    language: str | None = None
    missing: bool = False


@dataclass(slots=True)
class Item:
    start: float  # seconds
    id: str = field(default_factory=lambda: new_id("item"))
    texts: dict[int, Text] = field(default_factory=dict)  # by utterance
    told: str = ""  # all deltas
    seconds: float | None = None  # of sound, once it is committed

    @property
    def complete(self) -> bool:
        return all(text.final is not None for text in self.texts.values())


class Items:
    """One session's. `detects`: the server finds the turns; `lead`: seconds that a turn begins before its voice."""

    def __init__(self, detects: bool, lead: float) -> None:
        self.detects = detects
        self.lead = lead
        self._open: Item | None = None  # not committed yet
        self._committed: deque[Item] = deque()  # in order, up to the first that is not complete
        self._of: dict[int, Item] = {}  # by utterance
        self._last: str | None = None  # the id of the item committed last
        self._since = 0.0  # seconds; what was heard after it is in no item
        self._turned = False  # a turn has ended, and nothing was heard since

    def tell(self, told: Output) -> list[Event]:
        """What the client is told of this."""
        match told:
            case Started(utterance, time):
                return self._start(utterance, time)
            case Ended(utterance, time):
                return self._end(utterance, time)
            case Settled(final=Caption() as final):
                return self._settle(final.utterance, Text(final=final.text, language=final.language))
            case Unheard(utterance, missing):
                return self._settle(utterance, Text(final="", missing=missing))
            case Caption():
                return self._grow(told.utterance, told.text[: told.stable])
            case Passed(time) | Finalized(time, asked=False):
                if self._turned and self._open is None:
                    self._since = time
                self._turned = False
            case Cleared(time):
                return self._clear(time)
        return []

    def commit(self, time: float) -> list[Event]:
        """The client commits what was heard until now. Raises Empty."""
        if self._turned and self._open is None:  # its wish ended the turn, which is what it wished
            self._turned, self._since = False, time
            return []
        if time - self._since < SHORTEST:
            raise Empty
        return self._commit(self._open or Item(self._since), time)

    def _start(self, utterance: int, time: float) -> list[Event]:
        start = max(self._since, time - self.lead) if self.detects else self._since
        self._open = item = self._open or Item(start)
        item.texts[utterance] = Text()
        self._of[utterance] = item
        if not self.detects:
            return []
        return [event("input_audio_buffer.speech_started", audio_start_ms=_ms(start), item_id=item.id)]

    def _end(self, utterance: int, time: float) -> list[Event]:
        item = self._of.get(utterance)
        if not self.detects or item is None or item is not self._open:
            return []
        self._turned = True
        stopped = event("input_audio_buffer.speech_stopped", audio_end_ms=_ms(time), item_id=item.id)
        return [stopped, *self._commit(item, time)]

    def _commit(self, item: Item, time: float) -> list[Event]:
        previous, self._last = self._last, item.id
        item.seconds = time - item.start
        self._open, self._since = None, time
        self._committed.append(item)
        around = {"previous_item_id": previous}
        content = {"type": "input_audio", "transcript": None}
        message = {
            "id": item.id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
            "content": [content],
        }  # fmt: skip
        return [
            event("input_audio_buffer.committed", **around, item_id=item.id),
            event("conversation.item.added", **around, item=message),
            event("conversation.item.done", **around, item=message),
            *self._complete(),
        ]

    def _grow(self, utterance: int, text: str) -> list[Event]:
        """Tell what is new in a text that nothing will be put before."""
        item = self._of.get(utterance)
        if item is None:
            return []
        mine, text = item.texts[utterance], text.rstrip()
        earlier = (other for number, other in item.texts.items() if number < utterance)
        delta = beyond(mine.told, text)
        if not delta or any(other.final is None for other in earlier):
            return []
        if not mine.told:
            delta = join([item.told, delta])[len(item.told) :]
        mine.told = text
        item.told += delta
        return [event(f"{TRANSCRIPTION}.delta", item_id=item.id, content_index=0, delta=delta)]

    def _settle(self, utterance: int, text: Text) -> list[Event]:
        item = self._of.get(utterance)
        if item is None:
            return []
        told = self._grow(utterance, text.final or "")
        item.texts[utterance] = text
        return told + self._complete()

    def _complete(self) -> list[Event]:
        told = []
        while self._committed and self._committed[0].complete:
            item = self._committed.popleft()
            for utterance in item.texts:
                del self._of[utterance]
            told.append(_transcribed(item))
        return told

    def _clear(self, time: float) -> list[Event]:
        if self._open:
            for utterance in self._open.texts:
                del self._of[utterance]
        self._open, self._since, self._turned = None, time, False
        return [event("input_audio_buffer.cleared")]


def _transcribed(item: Item) -> Event:
    about = {"item_id": item.id, "content_index": 0}
    text = join([text.final or "" for text in item.texts.values()])
    if not text and any(text.missing for text in item.texts.values()):
        why = "the engine has no text for what was said"
        error = {"type": "transcription_error", "code": "audio_unintelligible", "message": why, "param": None}
        return event(f"{TRANSCRIPTION}.failed", **about, error=error)
    languages = [{"code": code} for code in dict.fromkeys(text.language for text in item.texts.values()) if code]
    usage = {"type": "duration", "seconds": round(item.seconds or 0.0, 3)}
    return event(f"{TRANSCRIPTION}.completed", **about, transcript=text, languages=languages, usage=usage)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
