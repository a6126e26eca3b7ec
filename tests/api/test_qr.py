"""The QR code of a room leads to the page of this server, as the browser has it, and nowhere else."""

import io

import pytest
import segno

from .conftest import serving

pytestmark = pytest.mark.anyio


def leads_to(address: str) -> str:
    """The shapes of the code for this address."""
    svg = io.BytesIO()
    segno.make_qr(address, error="m").save(svg, kind="svg", light="#fff", lineclass=None)
    return svg.getvalue().decode().partition(' d="M4')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("", "http://localhost:8000/watch?room=keynote"),
        ("http://localhost:8000/", "http://localhost:8000/watch?room=keynote"),
        ("https://LOCALHOST:8000/captions/", "https://LOCALHOST:8000/captions/watch?room=keynote"),  # before a proxy
    ],
)
async def test_the_code_leads_to_the_page_to_read_along(base, address):
    async with serving() as site:
        url = "/api/rooms/keynote/qr.svg"
        answer = await site.client.get(url, params={"base": base}, headers={"host": "localhost:8000"})
    assert answer.headers["content-type"] == "image/svg+xml"
    shapes = leads_to(address)
    assert shapes and shapes in answer.text and "<script" not in answer.text


@pytest.mark.parametrize(
    "base",
    [
        "https://evil.example/", "http://localhost@evil.example/", "http://localhost:80@evil.example/", "//localhost/",
        "javascript:alert(1)//localhost", "ftp://localhost/", "http://[", "nonsense", "http://localhost/" + 500 * "a",
    ],
)  # fmt: skip
async def test_no_code_leads_elsewhere(base):
    async with serving() as site:
        answer = await site.client.get("/api/rooms/keynote/qr.svg", params={"base": base})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "base"


async def test_a_room_that_cannot_be_has_no_code():
    async with serving() as site:
        answer = await site.client.get("/api/rooms/a%20b/qr.svg")
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "room"
