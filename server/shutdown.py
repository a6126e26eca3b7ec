"""uvicorn's server with an end of our own: tell everybody, give them time to finish, then leave whatever happens."""

import asyncio
import logging
from socket import socket
from types import FrameType

import anyio
import uvicorn
from fastapi import FastAPI

from .api.service import Service

GOODBYE_S = 0.5  # seconds after the time to finish is over, for the errors that say so
END_S = 1.4  # seconds in which uvicorn closes what is open and the engines give back what they hold
LOOK_S, LOOKS = 0.01, 10  # seconds between two looks whether everybody has finished, and how many for a tick

log = logging.getLogger("sotto")


class Server(uvicorn.Server):
    """Drains the app's service first. It ends for certain: at most 2 s after the time that `Limits.drain_s` gives."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._latest = 0.0  # on the loop's clock

    def run(self, sockets: list[socket] | None = None) -> None:
        """The loop is left as it is: closing it would wait for the tasks in which engines still work."""
        loop = (self.config.get_loop_factory() or asyncio.new_event_loop)()
        loop.run_until_complete(self.serve(sockets))

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """uvicorn's own does not tell the address of sockets that it was given."""
        await super().startup(sockets)
        if sockets and self.started:
            host, port = self.config.host, sockets[0].getsockname()[1]
            log.info("running on http://%s:%d (Press CTRL+C to quit)", f"[{host}]" if ":" in host else host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's own raises the signal again at the end, before anything around the server could clean up."""
        self.force_exit = self.should_exit  # the second one means: at once
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; True when a signal has come, or the app has failed, and everybody has finished since."""
        service: Service = self._app.state.service
        if not await super().on_tick(counter) and not service.draining:
            return False
        if not self._latest:
            service.drain()
            self._latest = anyio.current_time() + service.limits.drain_s + GOODBYE_S
        for _ in range(LOOKS):  # more often than uvicorn: who was sent away waits for the next server
            if self.force_exit or not service.busy or anyio.current_time() > self._latest:
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Close every connection. What does not let itself be closed is left behind with the process."""
        service: Service = self._app.state.service
        service.rooms.dismiss()
        with anyio.move_on_after(END_S):
            if self.server_state.connections or self.force_exit:
                await super().shutdown(sockets)
            else:  # uvicorn's own would give them 0.1 s, and the next server waits for the port
                await self.lifespan.shutdown()
