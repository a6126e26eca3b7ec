"""Bytes of a live stream in, frames with their probability of speech out: spool, demux, decode, detect."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..speech.types import FRAME, FRAME_S, RATE, Frame, Samples
from . import probe
from .clip import Clip, mux
from .decoder import Decoder
from .packet import Damage, Packet, Place, Track
from .reader import ByteReader, Demuxer, Parser
from .spool import Spool
from .vad import Vad

WARM_S = 0.5  # seconds heard again before what is new: Opus needs 80 ms (RFC 7845, 4.6), the detector more


@dataclass(frozen=True, slots=True)
class Gap:
    """Audio was lost at `time`; `seconds` of silence stand for it (0: bytes were damaged, but no time is missing)."""

    time: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Splice:
    """Another recorder begins at `time`; what was said before does not go on in it."""

    time: float


Heard = Frame | Gap | Splice


@dataclass(frozen=True, slots=True)
class Cut:
    """A stretch of the session, as an engine may want it (engines.base.Stretch)."""

    track: Track | None
    packets: list[tuple[float, bytes]]
    frames: list[Samples]

    def samples(self) -> Samples:
        return np.concatenate(self.frames) if self.frames else np.zeros(0, np.float32)

    def clip(self) -> Clip:
        if self.track is None:
            raise LookupError("no packet of this stretch was heard")
        return mux(self.track, self.packets)


@dataclass(slots=True)
class Recording:
    """One recorder's stream and its file."""

    origin: Place  # its first byte that came here
    demuxer: Demuxer
    head: bytes = b""  # bytes before the container is known
    spool: Spool | None = None
    track: Track | None = None
    decoder: Decoder | None = None
    offset: float = 0.0  # session seconds at which the decoder began

    @property
    def begin(self) -> float:
        """Session seconds."""
        return self.origin.time

    def place(self, time: float) -> Place:
        """Where to begin to read, in the client's count of bytes, for what sounds from `time` on."""
        found = self.spool.place(time) if self.spool else None
        if found is None:
            return self.origin
        at = found.bytes - self.origin.header + self.origin.bytes
        return Place(self.origin.recording, at, found.header, found.time)

    def close(self) -> None:
        if self.spool:
            self.spool.close()


class Ingest:
    """Everything between a session's bytes and its frames. `feed` is CPU work: run it in a thread, one call at a time.

    `origin` is where the bytes begin, if that is not the beginning: the header comes first, then what follows there.

    Raises UnsupportedFormat or AudioCorrupt. `close` deletes every file, whatever happened.
    """

    def __init__(
        self,
        vad: ort.InferenceSession,
        folder: Path,
        *,
        parse: Callable[[ByteReader], Parser] = probe.parse,
        suffix: str = "",
        keep_samples: bool = True,
        keep: Path | None = None,
        origin: Place | None = None,
    ) -> None:
        self._vad = Vad(vad)
        self._folder = folder
        self._parse = parse
        self._suffix = suffix  # of the spool file; empty: the first bytes tell
        self._keep_samples = keep_samples
        self._keep = keep  # where the recording stays, without its suffix
        self._files = 0
        origin = origin or Place()
        # Frames stay where they were on the time line; the first one begins with as much silence as that takes.
        self._count, rest = divmod(round(origin.time * RATE), FRAME)  # frames so far, and samples
        self._rest = np.zeros(rest, np.float32)  # decoded, and less than a frame
        self._heard: list[Heard] = []  # not yet given out; after a fault `finish` does it
        # These two are replaced, never changed: `cut` reads them while `feed` and `forget` run in another thread.
        self._kept: list[Frame] = []
        self._recordings = [Recording(origin, Demuxer(parse))]

    @property
    def time(self) -> float:
        """Seconds of audio so far: the session's clock."""
        recording = self._recordings[-1]
        return recording.offset + recording.decoder.time if recording.decoder else recording.begin

    def feed(self, data: bytes) -> list[Heard]:
        """The next bytes, cut anywhere."""
        recording = self._recordings[-1]
        self._spool(recording, data)
        for item in recording.demuxer.feed(data):
            match item:
                case Packet():
                    self._decode(recording, item)
                case Track():
                    self._begin(recording, item)
                case Damage():
                    self._heard.append(Gap(self.time, 0.0))
                    if recording.decoder:
                        recording.decoder.lose()
        if recording.decoder:
            self._detect(recording.decoder.take())
        return self._give()

    def splice(self) -> list[Heard]:
        """The client says that a new recorder begins: its header comes next."""
        self._end(self._recordings[-1])
        *earlier, last = self._recordings
        if last.begin < self._clock():
            earlier.append(last)
        else:  # nothing was heard in it, so nothing will be asked of it
            last.close()
        origin = Place(last.origin.recording + 1, time=self._clock())
        self._recordings = [*earlier, Recording(origin, Demuxer(self._parse))]
        return self._give()

    def flush(self) -> list[Heard]:
        """What the resampler holds back; less than a frame still waits. The recording goes on."""
        self._flush(self._recordings[-1])
        return self._give()

    def finish(self) -> list[Heard]:
        """No more bytes will come: the tail, filled up with silence to a whole frame. Also what a fault held back."""
        self._flush(self._recordings[-1])
        self._detect(np.zeros(-len(self._rest) % FRAME, np.float32))
        return self._give()

    def cut(self, start: float, end: float) -> Cut:
        """Everything that sounds between two times (session seconds); `clip` may begin a packet earlier.

        It never goes beyond one recorder: what was said before a `Splice` does not go on after it.
        """
        heard = (r.spool for r in reversed(self._recordings) if r.decoder and r.begin < end)
        spool = next(heard, None)
        track, packets = spool.cut(start, end) if spool else (None, [])
        frames = [f.samples for f in self._kept if start - FRAME_S / 2 <= f.time < end - FRAME_S / 2]
        return Cut(track, packets, frames)

    def place(self, time: float) -> Place:
        """Where a client that comes back is to begin, so that everything from `time` (session seconds) on is heard."""
        recordings = self._recordings
        # What is left of a recording after its last frame was not heard by anybody.
        recording = next((r for r in reversed(recordings) if r.begin <= time + FRAME_S), recordings[0])
        return recording.place(time - WARM_S)

    def forget(self, before: float) -> None:
        """Nothing before this time (session seconds) will be asked for again."""
        self._kept = [frame for frame in self._kept if frame.time >= before - FRAME_S]
        while len(self._recordings) > 1 and self._recordings[1].begin <= before:
            old, *self._recordings = self._recordings
            old.close()
        if spool := self._recordings[0].spool:
            spool.forget(before)

    def close(self) -> None:
        """Delete the session's files, but for those to be kept."""
        for recording in self._recordings:
            recording.close()

    def _spool(self, recording: Recording, data: bytes) -> None:
        if recording.spool is None:
            recording.head += data
            suffix = self._suffix or probe.suffix(recording.head)
            if suffix is None:
                return
            recording.spool = Spool(self._folder, suffix, keep=self._place())
            data, recording.head = recording.head, b""
        recording.spool.write(data)

    def _place(self) -> Path | None:
        """Where the next file is kept; those after the first are numbered."""
        self._files += 1
        if self._keep is None or self._files == 1:
            return self._keep
        return self._keep.with_name(f"{self._keep.name}-{self._files}")

    def _begin(self, recording: Recording, track: Track) -> None:
        assert recording.spool is not None  # the container was known, or there would be no track
        decoder = Decoder(track, midway=recording.track is None and recording.origin.bytes > 0)
        if recording.decoder:  # a second header in the same stream: the browser restarted its recorder without a word
            self._end(recording)
        else:
            recording.spool.keep_header(track.header)
        recording.track, recording.decoder, recording.offset = track, decoder, self._clock()

    def _decode(self, recording: Recording, packet: Packet) -> None:
        track, decoder, spool = recording.track, recording.decoder, recording.spool
        assert track and decoder and spool  # every demuxer gives its track first
        decoded = decoder.decode(packet)
        if decoded is None:
            return
        start = recording.offset + decoded.start
        spool.note(track, packet, start)
        if decoded.gap:
            self._heard.append(Gap(start - decoded.gap, decoded.gap))

    def _end(self, recording: Recording) -> None:
        self._flush(recording)
        self._heard.append(Splice(self._clock()))

    def _flush(self, recording: Recording) -> None:
        if recording.decoder:
            self._detect(recording.decoder.finish())

    def _clock(self) -> float:
        """Seconds of the samples so far, to the sample; `time` runs ahead by what the resampler holds back."""
        return self._count * FRAME_S + len(self._rest) / RATE

    def _detect(self, pcm: Samples) -> None:
        """Make whole frames of what was decoded; the probability of all of them is one call."""
        pcm = np.concatenate([self._rest, pcm])
        whole = len(pcm) // FRAME * FRAME
        self._rest = pcm[whole:]
        windows = pcm[:whole].reshape(-1, FRAME)
        frames = [
            Frame((self._count + i) * FRAME_S, window, float(speech))
            for i, (window, speech) in enumerate(zip(windows, self._vad.push(pcm[:whole]), strict=True))
        ]
        self._count += len(frames)
        self._heard += frames
        if self._keep_samples:
            self._kept = [*self._kept, *frames]

    def _give(self) -> list[Heard]:
        heard, self._heard = self._heard, []
        return heard
