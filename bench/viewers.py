"""`python -m bench.viewers keynote http://127.0.0.1:8000 … --count 5000`: many who follow a room, in one cheap process.

Every second one follows by WebSocket, the others by server-sent events. They parse no more than the offsets of finals,
so that the processor is left to the server. It prints a line when all are told of the room; when it is given the
offset of the last final on its standard input, it waits for that, and prints what came as JSON.
"""

import argparse
import json
import re
import resource
import selectors
import socket
import sys
from collections import defaultdict
from time import monotonic, process_time
from urllib.parse import urlsplit

CONNECTING = 100  # at once: fewer than a listening socket keeps waiting
PATIENCE_S = 60.0  # for the last final
SIZE = 65_536
EVENTS = "GET /api/rooms/{room}/events HTTP/1.1\r\nHost: {host}\r\n\r\n"
SOCKET = (
    "GET /api/rooms/{room} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c290dG8ncyB2aWV3ZXJzIQ==\r\n\r\n"
)
FINAL = re.compile(rb'"type":"final","offset":(\d+),')
LONGEST = 60  # bytes of what FINAL and PING find
PING = re.compile(rb"\x89\x04(.{4})", re.DOTALL)  # as uvicorn's; the first two bytes are nowhere else beside JSON
PONG = b"\x8a\x84\0\0\0\0"  # masked with zeros


class Viewer:
    """One connection. Nothing of it is trusted to come in one piece."""

    def __init__(self, url: str, room: str, by_socket: bool, crowd: "Crowd") -> None:
        self.last = 0  # the newest offset
        self.told = False
        self._crowd = crowd
        self._rest = b""
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname or "", address.port or 80))
        self.socket.sendall((SOCKET if by_socket else EVENTS).format(room=room, host=address.netloc).encode())
        self.socket.setblocking(False)

    def read(self) -> bool:
        """What has come; False at the end."""
        try:
            data = self.socket.recv(SIZE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        now = monotonic()
        if not data:
            return False
        data = self._rest + data
        if not self.told and b'"type":"room"' in data:
            self.told = True
        for ping in PING.finditer(data):
            self.socket.sendall(PONG + ping[1])
        end = 0
        for found in FINAL.finditer(data):
            end = found.end()
            self._crowd.came(self, int(found[1]), now)
        self._rest = data[max(end, len(data) - LONGEST) :]
        return True


class Crowd:
    """All of them, and when each final came to the first and to all."""

    def __init__(self) -> None:
        self.gone = self.disordered = 0
        self._times: dict[int, list[float]] = defaultdict(list)
        self._viewers: list[Viewer] = []
        self._selector = selectors.DefaultSelector()

    def came(self, viewer: Viewer, offset: int, now: float) -> None:
        self.disordered += offset != viewer.last + 1
        viewer.last = offset
        self._times[offset].append(now)

    def connect(self, urls: list[str], room: str, count: int) -> None:
        """One after the other, and all are told of the room."""
        for number in range(count):
            url, by_socket = urls[number % len(urls)], number // len(urls) % 2 == 1
            viewer = Viewer(url, room, by_socket, self)
            self._viewers.append(viewer)
            self._selector.register(viewer.socket, selectors.EVENT_READ, viewer)
            if number % CONNECTING == CONNECTING - 1:
                self._read_until_told()
        self._read_until_told()

    def _read_until_told(self) -> None:
        while not all(viewer.told for viewer in self._viewers[-CONNECTING:]):
            if self.gone:
                sys.exit(f"{self.gone} viewers were not let in")
            self._read(None)

    def follow(self) -> None:
        """Until all have the final whose offset is said on standard input, or for a minute after that."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        last, until = 0, float("inf")
        while monotonic() < until and not (last and len(self._times[last]) >= len(self._viewers) - self.gone):
            if self._read(1.0):
                last, until = int(sys.stdin.readline()), monotonic() + PATIENCE_S
                self._selector.unregister(sys.stdin)

    def _read(self, patience_s: float | None) -> bool:
        """Whether standard input has something, too."""
        spoken = False
        for key, _ in self._selector.select(patience_s):
            if key.data is None:
                spoken = True
            elif not key.data.read():
                self.gone += 1
                self._selector.unregister(key.fileobj)
        return spoken

    def report(self) -> dict[str, object]:
        """Times on the clock of monotonic(), which all processes of the machine share."""
        times = {offset: sorted(times) for offset, times in self._times.items()}
        missing = sum(len(self._viewers) - len(each) for each in times.values())
        return {"times": times, "missing": missing, "disordered": self.disordered, "gone": self.gone}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.viewers")
    parser.add_argument("room")
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--count", type=int, default=5000)
    args = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    crowd.connect(args.urls, args.room, args.count)
    print("ready", flush=True)
    before = process_time()
    crowd.follow()
    print(json.dumps(crowd.report() | {"cpu_s": process_time() - before}), flush=True)


if __name__ == "__main__":
    main()
