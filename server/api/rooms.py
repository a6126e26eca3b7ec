"""GET /api/rooms/{room}/events, WS /api/rooms/{room}, GET /api/rooms/{room}/transcript.*: who follows, now or later."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import anyio
from anyio import to_thread
from fastapi import APIRouter, Header, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ..batch.transcribe import Segment
from ..errors import SottoError
from ..rooms.base import Kept, Page
from ..rooms.room import Frame, Gap, News, Room, State, Viewer
from ..rooms.rooms import Rooms
from ..speech import subtitles
from ..speech.types import Word
from . import messages
from .errors import new_request_id, response
from .events import HEADERS
from .service import service

CLOSE_S = 5.0  # seconds to say goodbye
PAGE = 500  # finals of a transcript read at once
PIECE = 50  # messages a viewer is sent before others get their turn: about 2 ms
RETRY_MS = 1000  # after which a browser's EventSource comes back

router = APIRouter(prefix="/api/rooms/{room}")


@router.get("/events")
async def events(
    request: Request, room: str, after: str = "", last_event_id: Annotated[str, Header()] = ""
) -> Response:
    """Server-sent events; see docs/protocol.md."""
    name = messages.room_name(room)
    place = messages.place(last_event_id or after, "Last-Event-ID" if last_event_id else "after")
    return Events(service(request).rooms, name, place, comes_back=bool(last_event_id))


class Events(Response):
    """The captions of a room for as long as somebody reads them and it is not over."""

    def __init__(self, rooms: Rooms, name: str, place: tuple[int, str | None], comes_back: bool) -> None:
        super().__init__()
        self._rooms = rooms
        self._name = name
        self._place = place
        self._comes_back = comes_back

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._rooms.follow(self._name) as room:
                viewer = Viewer(room, self._rooms.read, *self._place)
                if self._comes_back and room.over and viewer.at_end:
                    return await Response(status_code=204)(scope, receive, send)  # EventSource comes back no more
                first = [b"retry: %d\n\n" % RETRY_MS]

                async def write(news: News) -> None:
                    body = b"".join([*first, *map(_event, news)]) or b":\n\n"
                    if first:
                        first.clear()
                        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                    await send({"type": "http.response.body", "body": body, "more_body": True})

                async def gone() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass

                fault = await watch(self._rooms, room, viewer, write, gone)
                if first and fault:
                    raise fault
                last = b"" if fault is None else _data(messages.error(fault, new_request_id()))
                with anyio.move_on_after(CLOSE_S):
                    await send({"type": "http.response.body", "body": last, "more_body": False})
        except SottoError as fault:  # before anything was sent
            await response(fault)(scope, receive, send)


@router.websocket("")
async def follow(socket: WebSocket, room: str) -> None:
    """The same over a WebSocket. What a viewer says is not listened to."""
    await socket.accept()
    rooms = service(socket).rooms
    fault: SottoError | None = None

    async def gone() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    try:
        place = messages.place(socket.query_params.get("after", ""), "after")
        async with rooms.follow(messages.room_name(room)) as found:
            viewer = Viewer(found, rooms.read, *place)

            async def write(news: News) -> None:
                for item in news or [viewer.state]:  # a browser's socket shows no ping to its page
                    await socket.send_text(item.text if isinstance(item, Frame) else _told(item))

            fault = await watch(rooms, found, viewer, write, gone)
    except SottoError as error:
        fault = error
    try:
        with anyio.move_on_after(CLOSE_S):
            if fault:
                await socket.send_text(messages.error(fault, new_request_id()))
            await socket.close(*((fault.close, fault.code) if fault else (1000,)))
    except (WebSocketDisconnect, RuntimeError):
        pass


async def watch(
    rooms: Rooms,
    room: Room,
    viewer: Viewer,
    write: Callable[[News], Awaitable[None]],
    gone: Callable[[], Awaitable[None]],
) -> SottoError | None:
    """Write what is new until the room is over, or the viewer is `gone` or too slow; why it ended, if by a fault."""
    fault: SottoError | None = None
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            await gone()
            tasks.cancel_scope.cancel()

        viewer.drop = tasks.cancel_scope.cancel
        room.viewers.add(viewer)
        tasks.start_soon(listen)
        try:
            while (news := await viewer.next()) is not None:
                for begin in range(0, len(news) or 1, PIECE):
                    if len(news) > PIECE:
                        await rooms.turn()
                    viewer.sending_since = anyio.current_time()
                    await write(news[begin : begin + PIECE])
                    viewer.sending_since = None
        except SottoError as error:
            fault = error
        except (WebSocketDisconnect, RuntimeError):
            pass  # it left while it was written to
        finally:
            room.viewers.discard(viewer)
            tasks.cancel_scope.cancel()
    return fault


def _event(item: Frame | State | Gap) -> bytes:
    return item.event if isinstance(item, Frame) else _data(_told(item))


def _data(message: str) -> bytes:
    return f"data: {message}\n\n".encode()


def _told(item: State | Gap) -> str:
    return messages.room(item) if isinstance(item, State) else messages.gap(item)


# -- later ---------------------------------------------------------------------------------------------------------


@router.get("/transcript.{form}")
async def transcript(request: Request, room: str, form: Literal["json", "txt", "srt", "vtt"]) -> Response:
    """All that was said and is kept, so far."""
    rooms = service(request).rooms
    page = await rooms.find(messages.room_name(room))
    finals: list[Kept] = []
    while found := await rooms.read(room, finals[-1].offset if finals else 0, PAGE):
        finals += found.finals
        if len(found.finals) < PAGE:
            break
    return await to_thread.run_sync(FORMS[form], room, page, finals)


def _as_json(room: str, page: Page, finals: list[Kept]) -> Response:
    about = {"room": room, "epoch": page.epoch, "live": page.left > 0}
    listed = [{"offset": kept.offset, **messages.members(kept.shown)} for kept in finals]
    return JSONResponse({**about, "finals": listed})


def _as_text(_room: str, _page: Page, finals: list[Kept]) -> Response:
    return PlainTextResponse("".join(f"{messages.members(kept.shown)['text']}\n" for kept in finals))


def _as_srt(_room: str, _page: Page, finals: list[Kept]) -> Response:
    return PlainTextResponse(subtitles.srt(_segments(finals)), media_type="application/x-subrip")


def _as_vtt(_room: str, _page: Page, finals: list[Kept]) -> Response:
    return PlainTextResponse(subtitles.vtt(_segments(finals)), media_type="text/vtt")


FORMS: dict[str, Callable[[str, Page, list[Kept]], Response]] = {
    "json": _as_json, "txt": _as_text, "srt": _as_srt, "vtt": _as_vtt,
}  # fmt: skip


def _segments(finals: list[Kept]) -> list[Segment]:
    """All sessions on one time line, which begins with the first of them."""
    said = [messages.members(kept.shown) for kept in finals]
    begin = min((one["at"] - one["start"] for one in said), default=0.0)
    return sorted((_segment(one, one["at"] - one["start"] - begin) for one in said), key=lambda s: s.start)


def _segment(one: dict[str, Any], later: float) -> Segment:
    words = tuple(Word(w["text"], w["start"] + later, w["end"] + later) for w in one["words"])
    return Segment(one["start"] + later, one["end"] + later, one["text"], words, one["language"])
