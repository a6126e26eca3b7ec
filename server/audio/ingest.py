"""Bytes of a live stream in, frames with their probability of speech out: spool, demux, decode, detect."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import AudioCorrupt
from ..speech.types import FRAME, FRAME_S, RATE, Frame, Samples
from . import probe
from .clip import Clip, mux
from .decoder import Decoder
from .packet import Damage, Packet, Track
from .reader import ByteReader, Demuxer, Parser
from .spool import Spool
from .vad import Vad


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

    track: Track
    packets: list[tuple[float, bytes]]
    frames: list[Samples]

    def samples(self) -> Samples:
        return np.concatenate(self.frames) if self.frames else np.zeros(0, np.float32)

    def clip(self) -> Clip:
        return mux(self.track, self.packets)


@dataclass(slots=True)
class Recording:
    """One recorder's stream and its file."""

    begin: float  # session seconds
    demuxer: Demuxer
    head: bytes = b""  # bytes before the container is known
    spool: Spool | None = None
    track: Track | None = None
    decoder: Decoder | None = None
    offset: float = 0.0  # session seconds at which the decoder began

    def close(self) -> None:
        if self.spool:
            self.spool.close()


class Ingest:
    """Everything between a session's bytes and its frames. `feed` is CPU work: run it in a thread, one call at a time.

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
        keep_recording: bool = False,
    ) -> None:
        self._vad = Vad(vad)
        self._folder = folder
        self._parse = parse
        self._suffix = suffix  # of the spool file; empty: the first bytes tell
        self._keep_samples = keep_samples
        self._keep_recording = keep_recording
        self._count = 0  # frames so far: the session's clock
        self._pcm: list[Samples] = []  # decoded, not yet made into frames
        self._kept: deque[Frame] = deque()
        self._recordings = [Recording(0.0, Demuxer(parse))]

    @property
    def time(self) -> float:
        """Seconds of audio so far."""
        return self._count * FRAME_S + sum(map(len, self._pcm)) / RATE

    def feed(self, data: bytes) -> list[Heard]:
        """The next bytes, cut anywhere."""
        recording = self._recordings[-1]
        self._spool(recording, data)
        heard: list[Heard] = []
        for item in recording.demuxer.feed(data):
            match item:
                case Packet():
                    heard += self._decode(recording, item)
                case Track():
                    heard += self._begin(recording, item)
                case Damage():
                    heard.append(Gap(self.time, 0.0))
        return heard + self._detect()

    def splice(self) -> list[Heard]:
        """The client says that a new recorder begins: its header comes next."""
        heard = self._end(self._recordings[-1])
        self._recordings.append(Recording(self.time, Demuxer(self._parse)))
        return heard

    def finish(self) -> list[Heard]:
        """No more bytes will come: the tail, filled up with silence to a whole frame."""
        self._flush(self._recordings[-1])
        missing = -sum(map(len, self._pcm)) % FRAME
        self._pcm.append(np.zeros(missing, np.float32))
        return self._detect()

    def cut(self, start: float, end: float) -> Cut:
        """Everything that sounds between two times (session seconds)."""
        recording = next((r for r in reversed(self._recordings) if r.begin < end), self._recordings[0])
        assert recording.track is not None and recording.spool is not None
        kept = tuple(self._kept)  # in one step: `feed` may be adding to it in its thread
        frames = [f.samples for f in kept if start - FRAME_S / 2 <= f.time < end - FRAME_S / 2]
        return Cut(recording.track, recording.spool.cut(start, end), frames)

    def forget(self, before: float) -> None:
        """Nothing before this time (session seconds) will be asked for again."""
        while self._kept and self._kept[0].time < before - FRAME_S:
            self._kept.popleft()
        while len(self._recordings) > 1 and self._recordings[1].begin <= before:
            self._recordings.pop(0).close()
        if self._recordings[0].spool:
            self._recordings[0].spool.forget(before)

    def close(self) -> None:
        """Delete the session's files."""
        for recording in self._recordings:
            recording.close()

    def _spool(self, recording: Recording, data: bytes) -> None:
        if recording.spool is None:
            recording.head += data
            suffix = self._suffix or probe.suffix(recording.head)
            if suffix is None:
                return
            recording.spool = Spool(self._folder, suffix, keep=self._keep_recording)
            data, recording.head = recording.head, b""
        recording.spool.write(data)

    def _begin(self, recording: Recording, track: Track) -> list[Heard]:
        # A second header in the same stream: the browser restarted its recorder without a word.
        heard = self._end(recording) if recording.track else []
        recording.track, recording.decoder, recording.offset = track, Decoder(track), self.time
        if not heard and recording.spool:
            recording.spool.keep_header(track.header)
        return heard

    def _decode(self, recording: Recording, packet: Packet) -> list[Heard]:
        if recording.decoder is None or recording.spool is None:
            raise AudioCorrupt("expected a header before the first packet", param="file")
        time = self.time
        pcm = recording.decoder.decode(packet)
        recording.spool.note(packet, recording.offset + pcm.start)
        self._pcm.append(pcm.samples)
        return [Gap(time, pcm.gap)] if pcm.gap else []

    def _end(self, recording: Recording) -> list[Heard]:
        self._flush(recording)
        return [*self._detect(), Splice(self.time)]

    def _flush(self, recording: Recording) -> None:
        if recording.decoder:
            self._pcm.append(recording.decoder.flush())

    def _detect(self) -> list[Heard]:
        """Make whole frames of what was decoded; the probability of all of them is one call."""
        pcm = np.concatenate(self._pcm) if self._pcm else np.zeros(0, np.float32)
        whole = len(pcm) // FRAME * FRAME
        self._pcm = [pcm[whole:]]
        windows = pcm[:whole].reshape(-1, FRAME)
        frames = [
            Frame((self._count + i) * FRAME_S, window, float(speech))
            for i, (window, speech) in enumerate(zip(windows, self._vad.push(pcm[:whole]), strict=True))
        ]
        self._count += len(frames)
        if self._keep_samples:
            self._kept += frames
        return list(frames)
