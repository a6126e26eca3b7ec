"""Headerless PCM."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio import raw
from server.audio.packet import Packet, Track
from server.audio.reader import Demuxer
from server.errors import RequestInvalid


@given(st.lists(st.binary(max_size=50)))
def test_every_whole_sample_frame_comes_out_at_once_with_its_time(chunks: list[bytes]) -> None:
    demuxer = Demuxer(raw.parse("pcm_s16le", 16_000, 2))
    assert demuxer.feed(b"") == [Track("pcm_s16le", 16_000, 2)]
    fed = heard = b""
    for chunk in chunks:
        fed += chunk
        for packet in demuxer.feed(chunk):
            assert isinstance(packet, Packet)
            assert packet == Packet(len(heard) / 64_000, packet.data, len(heard), len(heard))
            heard += packet.data
        assert heard == fed[: len(fed) // 4 * 4]


def test_a_packet_is_at_most_100_ms() -> None:
    track, *packets = Demuxer(raw.parse("mulaw", 8000, 1)).feed(bytes(2000))
    assert track == Track("pcm_mulaw", 8000, 1)
    assert [len(packet.data) for packet in packets if isinstance(packet, Packet)] == [800, 800, 400]


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "expected"),
    [
        ("mp3", 16_000, 1, "encoding pcm_s16le"),
        ("pcm_s16le", 7999, 1, "8000 to 192000 Hz"),
        ("pcm_s16le", 192_001, 1, "8000 to 192000 Hz"),
        ("pcm_s16le", 16_000, 0, "1 to 8 channels"),
        ("pcm_s16le", 16_000, 9, "1 to 8 channels"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(encoding: str, rate: int, channels: int, expected: str) -> None:
    with pytest.raises(RequestInvalid, match=expected) as refused:
        raw.parse(encoding, rate, channels)
    assert refused.value.param == "audio"
