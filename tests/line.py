"""A TCP line to a server on loopback, which a test can cut and mend."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.from_thread import BlockingPortal, start_blocking_portal


class Line:
    """The server is reached at `url` too. While the line is cut every connection breaks off, also one that begins."""

    def __init__(self, portal: BlockingPortal, port: int) -> None:
        self._portal = portal
        self._port = port
        self._whole = True
        self._carrying: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        self._portal.call(self._cut)

    def mend(self) -> None:
        self._whole = True

    async def listen(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            self.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
            task_status.started()
            await listener.serve(self._carry)

    def _cut(self) -> None:
        self._whole = False
        for connection in self._carrying:
            connection.cancel()

    async def _carry(self, client: SocketStream) -> None:
        """One connection, in both directions, until one side ends it or the line is cut."""
        async with client, anyio.create_task_group() as both:
            if not self._whole:
                return
            self._carrying.add(both.cancel_scope)
            try:
                async with await anyio.connect_tcp("127.0.0.1", self._port) as server:
                    both.start_soon(copy, client, server, both.cancel_scope)
                    await copy(server, client, both.cancel_scope)
            except OSError:
                pass  # no server there: the client is hung up on
            finally:
                self._carrying.discard(both.cancel_scope)


async def copy(source: SocketStream, target: SocketStream, connection: anyio.CancelScope) -> None:
    try:
        async for data in source:
            await target.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # as good as an end
    connection.cancel()


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """Whole at first; gone with the block."""
    with start_blocking_portal() as portal:
        line = Line(portal, port)
        listening, _ = portal.start_task(line.listen)
        try:
            yield line
        finally:
            listening.cancel()
