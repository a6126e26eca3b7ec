"""A session's captions as Deepgram's messages: Results, SpeechStarted and UtteranceEnd.

Deepgram parts time into ranges. An interim result says what is in a range so far, one with `is_final` freezes it, and
the ranges of final ones follow on each other without a gap and without an overlap. Here a range is an utterance with
the short silence before it; a long silence is a range of its own, without a text. Results of an utterance wait for the
final one of the utterance before.
"""

from dataclasses import dataclass
from typing import Any

from ...live import Finalized, Output, Passed, Settled
from ...speech.session import Ended, Started, Unheard
from ...speech.types import Caption
from .options import LiveOptions
from .words import alternative

QUIET_S = 1.0  # seconds; a shorter silence belongs to the result that follows
CHANNELS = [0, 1]  # the first of one: all are mixed

Message = dict[str, Any]


@dataclass(slots=True)
class Span:
    """An utterance without its final; seconds."""

    start: float
    end: float = 0.0  # once it has ended
    cut: bool = False
    shown: Caption | None = None  # its newest partial, which had to wait


class Results:
    """What a client is told of a session, in order; `about` is the metadata of each result."""

    def __init__(self, options: LiveOptions, about: Message) -> None:
        self._options = options
        self._about = about
        self._gap_s = options.utterance_end_ms and options.utterance_end_ms / 1000
        self._spans: dict[int, Span] = {}
        self._floor = 0.0  # everything before is frozen
        self._time = 0.0  # heard so far
        self._stalled = False
        self._flows = False  # the last utterance was cut in mid-speech
        self._word_end: float | None = None  # of the last final word, until its UtteranceEnd
        self._asked: list[int] = []  # for each Finalize the utterance whose final answers it

    def tell(self, told: Output) -> list[Message]:
        """The messages this makes."""
        match told:
            case Started(number, time):
                return self._start(number, time)
            case Ended(number, time, cut):
                span = self._spans[number]
                span.end, span.cut, self._flows = time, cut, cut
            case Caption():
                self._spans[told.utterance].shown = told
                return self._interim()
            case Settled(final=Caption() as final):
                return self._final(final.utterance, final)
            case Unheard(number):
                return self._final(number, None)
            case Passed(time):
                self._time, self._stalled = time, False
                return self._utterance_end()
            case Finalized(time, asked):
                self._time = time
                return self._answer() if asked else self._stall()
        return []

    def finish(self, time: float) -> list[Message]:
        """The session is over, and all its finals are told."""
        return self._silence(time)

    def _start(self, number: int, time: float) -> list[Message]:
        self._spans[number] = Span(time)
        messages = self._utterance_end()
        if self._options.vad_events and not self._flows:
            messages.append({"type": "SpeechStarted", "channel": CHANNELS[:1], "timestamp": round(time, 3)})
        self._flows = False
        return messages

    def _interim(self) -> list[Message]:
        span = next(iter(self._spans.values()), None)
        if span is None or span.shown is None or not self._options.interim_results:
            return []
        shown, span.shown = span.shown, None
        return [*self._silence(span.start), self._result(span.start, shown.end, shown)]

    def _final(self, number: int, final: Caption | None) -> list[Message]:
        """An utterance without a text has a final result too: its interim ones may have had some."""
        span = self._spans.pop(number)
        answers, self._asked = self._asked.count(number), [n for n in self._asked if n != number]
        messages = self._silence(span.start)
        result = self._frozen(span.start, span.end, final, pause=not span.cut, asked=answers > 0)
        if words := result["channel"]["alternatives"][0]["words"]:
            self._word_end = words[-1]["end"]
        messages.append(result)
        messages += [self._frozen(span.end, span.end, pause=True, asked=True) for _ in range(answers - 1)]
        return [*messages, *self._utterance_end(), *self._interim()]

    def _answer(self) -> list[Message]:
        """A Finalize is answered by the final of what was said, and at once where nothing is open."""
        if self._spans:
            self._asked.append(max(self._spans))
            return []
        return [self._frozen(self._time, self._time, pause=True, asked=True)]

    def _stall(self) -> list[Message]:
        """No sound comes any more: a silence that nobody can measure."""
        self._stalled = True
        return self._utterance_end()

    def _silence(self, until: float) -> list[Message]:
        return [self._frozen(until, until, pause=False)] if until - self._floor >= QUIET_S else []

    def _utterance_end(self) -> list[Message]:
        """When no word has followed the last final one for long enough."""
        if self._gap_s is None or self._word_end is None:
            return []
        first = next(iter(self._spans.values()), None)
        follows = first.start if first else float("inf") if self._stalled else self._time
        if follows - self._word_end < self._gap_s:
            return []
        word_end, self._word_end = self._word_end, None
        return [{"type": "UtteranceEnd", "channel": CHANNELS, "last_word_end": word_end}]

    def _frozen(
        self, start: float, end: float, final: Caption | None = None, *, pause: bool, asked: bool = False
    ) -> Message:
        """A final result; the next one begins where it ends."""
        result = self._result(start, end, final) | {
            "is_final": True,
            "speech_final": pause and self._options.endpointing != 0,
            "from_finalize": asked,
        }
        self._floor = max(self._floor, round(end, 3))
        return result

    def _result(self, start: float, end: float, caption: Caption | None) -> Message:
        """What is in the range from the floor to `end`; somebody speaks in it from `start` on."""
        end = max(round(end, 3), self._floor)
        text, words = (caption.text, caption.words) if caption else ("", ())
        said = alternative(text, words, start, end, self._floor)
        if self._options.language == "multi" and caption and caption.language:
            said["languages"] = [caption.language]
        return {
            "type": "Results",
            "channel_index": CHANNELS,
            "start": self._floor,
            "duration": round(end - self._floor, 3),
            "is_final": False,
            "speech_final": False,
            "from_finalize": False,
            "channel": {"alternatives": [said]},
            "metadata": self._about,
        }
