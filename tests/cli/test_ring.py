"""What the client keeps until the server has acknowledged it."""

from server.cli import ring
from server.cli.ring import Ring


def kept(*chunks: bytes) -> Ring:
    ring = Ring()
    for chunk in chunks:
        ring.add(chunk)
    return ring


def test_bytes_are_read_from_any_place_and_as_many_as_wanted():
    ring = kept(b"HHHabc", b"def")
    assert (ring.read(0, 4), ring.read(4, 100), ring.read(9, 100)) == (b"HHHa", b"bcdef", b"")


def test_what_was_acknowledged_is_gone_but_for_the_header():
    ring = kept(b"HHHabc", b"def")
    ring.trim(6, 3)
    assert (ring.header(3), ring.read(6, 100)) == (b"HHH", b"def")
    ring.add(b"ghi")
    assert ring.read(8, 100) == b"fghi"


def test_an_older_acknowledgement_takes_nothing_more():
    ring = kept(b"HHHabcdef")
    ring.trim(6, 3)
    ring.trim(3, 3)
    assert ring.read(6, 100) == b"def"


def test_a_session_that_knows_nothing_begins_with_the_header():
    ring = kept(b"HHHabcdef")
    ring.trim(6, 3)
    anew = ring.anew()
    assert anew.read(0, 100) == b"HHHdef" and anew.header(3) == b"HHH"


def test_it_is_full_until_something_is_acknowledged(monkeypatch):
    monkeypatch.setattr(ring, "MOST", 6)
    full = kept(b"HHHabc")
    assert full.full
    full.trim(4, 3)
    assert not full.full
