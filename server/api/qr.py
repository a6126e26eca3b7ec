"""GET /api/rooms/{room}/qr.svg: the address at which a room is watched, for the camera of a phone."""

import io
from urllib.parse import urljoin, urlsplit

import segno
from fastapi import APIRouter, Request
from fastapi.responses import Response

from ..errors import RequestInvalid
from . import messages

LONGEST = 500  # characters of the address; a denser code is hard to read from the back of a hall

router = APIRouter()


@router.get("/api/rooms/{room}/qr.svg")
def qr(request: Request, room: str, base: str = "") -> Response:
    """`base`: the server's address as the browser has it, which alone knows the scheme and path in front of a proxy."""
    base = base or str(request.base_url)
    if len(base) > LONGEST or not _is_here(base, request.headers.get("host", "")):
        raise RequestInvalid("base: expected the http or https address of this server, as in Host", param="base")
    address = urljoin(base, f"watch?room={messages.room_name(room)}")
    image = io.BytesIO()
    # A white ground, dark mode or not: many cameras do not read a code that is light on dark. Four modules around it
    # are the standard's (ISO/IEC 18004).
    code = segno.make_qr(address, error="m")
    code.save(image, kind="svg", border=4, light="#fff", omitsize=True, svgclass=None, lineclass=None, xmldecl=False)
    return Response(image.getvalue(), media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})


def _is_here(base: str, host: str) -> bool:
    """A code that a server gives out must not lead elsewhere."""
    try:
        parts = urlsplit(base)
    except ValueError:  # [ without ]
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
