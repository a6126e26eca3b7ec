"""A TCP proxy on loopback that treats lines as bad networks do: cut, swallowed without a word, in single bytes."""

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

RESET = struct.pack("ii", 1, 0)  # a linger of no time: the socket is closed with RST
SIZE = 65_536
NOWHERE = 0  # a port at which nobody listens


class Proxy:
    """`async with Proxy(server.port) as proxy:`; a line goes to what `target` was when it was opened."""

    def __init__(self, target: int) -> None:
        self.target = target  # a port of loopback
        self.sliced = False  # every byte is sent by itself
        self._lines: dict[asyncio.Task[None], Line] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._lines:
            task.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def cut(self) -> None:
        """End every line with RST."""
        for line in self._lines.values():
            line.cut()

    def swallow(self) -> None:
        """A black hole: the lines stay open, nothing passes any more, and neither end is told when the other leaves."""
        for line in self._lines.values():
            line.dark = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        line = self._lines[task] = Line(self)
        try:
            await line.carry(reader, writer, self.target)
        except asyncio.CancelledError:
            pass  # the proxy ends; asyncio would log it
        finally:
            line.cut()
            del self._lines[task]


class Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.dark = False  # nothing passes
        self._proxy = proxy
        self._ends: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        """Until both ends have closed; a target that refuses the line closes it."""
        self._ends.append(writer)
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", target)
            self._ends.append(back)
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    def cut(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(SIZE):
            for piece in (data[at : at + 1] for at in range(len(data))) if self._proxy.sliced else (data,):
                if not self.dark:
                    writer.write(piece)
                    await writer.drain()
        if not self.dark:
            writer.close()
