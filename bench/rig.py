"""What every benchmark stands on: the speech, its stream, and servers with or without an upstream behind them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from . import recorded
from .clip import Speech, speech
from .process import Process, free_port
from .stream import Chunk, Session, play, record
from .words import Latency, latency


@dataclass(slots=True)
class Bench:
    """What all measurements of one run share."""

    speech: Speech
    chunks: list[Chunk]
    folder: Path  # the speech for upstreams that know it by its sound
    packets: Path  # … and for those that know it by its packets: cheap enough for hundreds of sessions
    runs: int = 3
    quick: bool = False
    url: str | None = None  # a server that runs already
    results: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # for the plot

    def note(self, key: str, value: float) -> None:
        self.results[key] = value
        print(f"  {key:34} {value:10.3f}", flush=True)


@contextmanager
def bench(*, runs: int, quick: bool, url: str | None, recording: Path | None = None) -> Iterator[Bench]:
    """Prepare the speech; the folders are gone afterwards."""
    if recording:
        said, chunks = recorded.load(recording)
    else:
        said = speech(quick)
        chunks = record(said)
    with tempfile.TemporaryDirectory(prefix="sotto-bench-") as root:
        yield prepare(said, chunks, Path(root), runs, quick, url)


def prepare(
    said: Speech, chunks: list[Chunk], root: Path, runs: int = 1, quick: bool = True, url: str | None = None
) -> Bench:
    """Write the speech into folders of `root`, for the upstreams."""
    folder, packets = root / "sound", root / "packets"
    for each in (folder, packets):
        each.mkdir()
        said.write(each)
    (packets / "speech.webm").write_bytes(b"".join(chunk.data for chunk in chunks))
    return Bench(said, chunks, folder, packets, runs, quick, url)


@asynccontextmanager
async def embedded(**settings: str) -> AsyncIterator[Process]:
    """A server with its embedded engine."""
    port = _port()
    env = {"SOTTO_ENGINE": "moonshine", "SOTTO_PORT": port}
    async with Process("server", env=env | settings, port=int(port)) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Remote:
    """A server, and the upstream it asks."""

    server: Process
    upstream: Process


@asynccontextmanager
async def remote(folder: Path, *manners: str, **settings: str) -> AsyncIterator[Remote]:
    """A server with an oracle behind it; `manners` are options of bench.upstream."""
    async with upstream(folder, int(_port()), *manners) as behind, node(behind, **settings) as server:
        yield Remote(server, behind)


def node(upstream: Process, **settings: str) -> Process:
    """A server that asks this upstream."""
    port = _port()
    env = {
        "OPENAI_API_KEY": "bench",
        "OPENAI_BASE_URL": f"{upstream.url}/v1",
        "WHISPER_MODEL": "whisper-1",
        "SOTTO_ENGINE": "openai",
        "SOTTO_PORT": port,
    }
    return Process("server", env=env | settings, port=int(port))


def upstream(folder: Path, port: int, *manners: str) -> Process:
    return Process("bench.upstream", str(folder), "--port", str(port), *manners, port=port)


async def repeat(url: str, it: Bench, runs: int | None = None, query: str = "") -> list[Session]:
    """One session after the other."""
    return [await play(url, it.chunks, query=query) for _ in range(runs or it.runs)]


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians over sessions of each session's percentiles; seconds."""

    shown: tuple[float, float]  # p50, p95
    settled: tuple[float, float]
    final: tuple[float, float]
    share: float  # of the words, those read right
    cost: float


def summary(sessions: list[Session], it: Bench) -> Summary:
    parts = [latency(s, it.speech.words) for s in sessions if s.done]
    if not parts:
        nan = (float("nan"), float("nan"))
        return Summary(nan, nan, nan, 0.0, float("nan"))

    def middle(pick: Callable[[Latency], list[float]]) -> tuple[float, float]:
        values = [pick(p) for p in parts]
        return median(percentile(v, 50) for v in values), median(percentile(v, 95) for v in values)

    return Summary(
        middle(lambda p: list(p.shown.values())),
        middle(lambda p: list(p.settled.values())),
        middle(lambda p: p.final_lag),
        median(p.share for p in parts),
        median(s.cost for s in sessions if s.done),
    )


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share / 100 * len(ordered)))] if ordered else float("nan")


def curve(sessions: list[Session], it: Bench, pick: str) -> list[tuple[float, float]]:
    """The share of words after so many seconds."""
    parts: list[Latency] = [latency(s, it.speech.words) for s in sessions if s.done]
    values = sorted(v for p in parts for v in getattr(p, pick).values())
    return [(v, (i + 1) / len(values)) for i, v in enumerate(values)]


async def settle() -> None:
    """Let a process come to rest before it is measured."""
    await asyncio.sleep(1.0)


_given: set[int] = set()


def _port() -> str:
    """A free port nobody was told of before."""
    while (port := free_port()) in _given:
        pass
    _given.add(port)
    return str(port)
